"""Pictures as sentences: a picture cut into patches, each of which is one token."""

from __future__ import annotations

from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from flowlib.errors import InputError

# The one order of flowlib: patches row by row, and in a patch its rows, its columns, its channels, as in DiT and SD3.
PICTURE, TOKENS = "b c (h p) (w q)", "b (h w) (p q c)"


def patchify(x: Float[Tensor, "B C H W"], patch: int) -> Float[Tensor, "B N D"]:
    """Cut pictures into tokens, ``b c (h p) (w q) -> b (h w) (p q c)``, with N = HW / patch^2 and D = C patch^2.

    Args:
        x: pictures, (B, C, H, W).
        patch: side of a patch in pixels.

    Raises:
        InputError: sides that the patch does not divide.

    Source: Dosovitskiy et al. 2021 (ViT), section 3.1. Chapter 10 takes it apart.

    >>> import torch
    >>> patchify(torch.arange(8.0).reshape(1, 1, 2, 4), 2)
    tensor([[[0., 1., 4., 5.],
             [2., 3., 6., 7.]]])
    """
    patch_grid(x, patch)
    return rearrange(x, f"{PICTURE} -> {TOKENS}", p=patch, q=patch)


def unpatchify(tokens: Float[Tensor, "B N D"], patch: int, grid: tuple[int, int]) -> Float[Tensor, "B C H W"]:
    """Put tokens back together to pictures, the inverse of ``patchify``.

    Args:
        tokens: (B, N, C patch^2).
        patch: side of a patch in pixels.
        grid: patches in a column and in a row, (H / patch, W / patch); a sentence does not know its own.

    Raises:
        InputError: tokens that do not fill the grid, or whose size is no multiple of patch^2.
    """
    h, w = grid
    if tokens.shape[1] != h * w or tokens.shape[2] % patch**2:
        raise InputError(
            "tokens",
            expected=f"shape (B, {h * w}, a multiple of {patch**2})",
            got=f"shape {tuple(tokens.shape)}",
            cure="the grid is (H / patch, W / patch), also for a picture that is not square",
        )
    return rearrange(tokens, f"{TOKENS} -> {PICTURE}", h=h, w=w, p=patch, q=patch)


def patch_grid(x: Tensor, patch: int) -> tuple[int, int]:
    """Patches in a column and in a row of pictures (B, C, H, W): (H / patch, W / patch).

    Raises:
        InputError: no pictures, or sides that the patch does not divide.
    """
    if x.ndim != 4 or x.shape[2] % patch or x.shape[3] % patch:
        raise InputError(
            "x",
            expected=f"shape (B, C, H, W) with H and W multiples of the patch, {patch}",
            got=f"shape {tuple(x.shape)}",
            cure="crop or pad the picture, or take another patch",
        )
    return x.shape[2] // patch, x.shape[3] // patch
