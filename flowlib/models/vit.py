"""ViT: a picture as a sentence.

What it changes from the U-Net: the picture is cut into patches, each of which is one token; no convolution and no way
down and up, every token sees every other from the first block on; and nothing in it knows that pictures are flat,
except the positions that it learns.

Source: Dosovitskiy et al. 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from flowlib.errors import InputError
from flowlib.layers import Attention, LearnedPositions, layer_norm, mlp, patch_grid, patchify, start_xavier
from flowlib.shapes import Batch

SIZES = {"Ti": (12, 192, 3), "S": (12, 384, 6), "B": (12, 768, 12), "L": (24, 1024, 16)}  # depth, width, heads


class ViTBlock(nn.Module):
    """Two branches around a skip: ``x + attention(norm(x))``, then ``x + mlp(norm(x))``.

    Args:
        width: features of a token.
        heads: of the attention.
        dropout: of what each branch returns.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm_1 = layer_norm(width, affine=True)
        self.attention = Attention(width, heads)
        self.norm_2 = layer_norm(width, affine=True)
        self.mlp = mlp([width, 4 * width, width], nn.GELU)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Tokens (B, N, width) to tokens; ``bias`` is that of the attention."""
        x = x + self.dropout(self.attention(self.norm_1(x), bias=bias))
        return x + self.dropout(self.mlp(self.norm_2(x)))


class ViT(nn.Module):
    """Class logits of pictures, read from a class token that attends to their patches.

    Args:
        channels: C of the pictures.
        num_classes: number of logits.
        size: height and width of the pictures, or one number for both.
        patch: side of a patch in pixels.
        width: features of a token.
        depth: number of blocks.
        heads: of each attention.
        dropout: of the branches.

    Raises:
        InputError: pictures of another shape, a patch that does not divide them, heads that do not divide the width.

    Source: Dosovitskiy et al. 2021, section 3.1. Chapter 10.
    """

    def __init__(
        self,
        channels: int = 3,
        num_classes: int = 1000,
        *,
        size: int | tuple[int, int] = 224,
        patch: int = 16,
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        height, breadth = (size, size) if isinstance(size, int) else size
        self.shape, self.patch = (channels, height, breadth), patch
        h, w = patch_grid(torch.empty(0, channels, height, breadth, device="meta"), patch)
        self.embed_patch = nn.Linear(channels * patch**2, width)
        self.class_token = nn.Parameter(0.02 * torch.randn(width))
        self.positions = LearnedPositions(1 + h * w, width)
        self.blocks = nn.ModuleList(ViTBlock(width, heads, dropout) for _ in range(depth))
        self.norm = layer_norm(width, affine=True)
        self.head = nn.Linear(width, num_classes)
        self.apply(start_xavier)
        nn.init.zeros_(self.head.weight)  # all classes are equal at first

    @classmethod
    def of(cls, name: str, **changes: Any) -> ViT:
        """Build a published size, such as ``ViT.of("B/16")``: Ti, S, B or L and the patch; ``changes`` win.

        Raises:
            InputError: no such size.
        """
        return cls(**(published_size(name, SIZES) | changes))

    def forward(self, x: Batch) -> Tensor:
        """Logits, (B, num_classes)."""
        return self.head(self.encode(x)[:, 0])

    def encode(self, x: Batch) -> Tensor:
        """Normalised tokens, (B, 1 + N, width): the class token, then the patches row by row."""
        tokens = self.embed(x)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def embed(self, x: Batch) -> Tensor:
        """Tokens before the first block, (B, 1 + N, width)."""
        if tuple(x.shape[1:]) != self.shape:
            raise InputError(
                "x",
                expected=f"pictures of shape {self.shape}",
                got=f"shape {tuple(x.shape)}",
                cure="ViT(size=(H, W)) builds one for another size; its positions are learned",
            )
        patches = self.embed_patch(patchify(x, self.patch))  # (B, N, width)
        first = self.class_token.expand(len(x), 1, -1)
        return self.positions(torch.cat([first, patches], 1))


def named_size(name: str, sizes: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """What a table has under a name.

    Raises:
        InputError: a size that the table does not have.
    """
    if name not in sizes:
        raise InputError("name", expected=f"a size: {', '.join(sizes)}", got=name)
    return sizes[name]


def published_size(name: str, sizes: dict[str, tuple[int, int, int]]) -> dict[str, int]:
    """Read a name such as "B/16" as depth, width, heads and patch.

    Raises:
        InputError: a name of another form, or a size that the table does not have.
    """
    size, _, patch = name.partition("/")
    if size not in sizes or not patch.isdecimal() or int(patch) < 1:
        raise InputError("name", expected=f"a size and a patch: {', '.join(f'{s}/2' for s in sizes)} ...", got=name)
    depth, width, heads = sizes[size]
    return {"depth": depth, "width": width, "heads": heads, "patch": int(patch)}
