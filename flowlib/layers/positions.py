"""How a set of tokens learns where each of them is.

Attention does not see the order of its tokens. Positions enter in one of three places: added to the tokens (learned or
sinusoidal), added to the scores (a bias of the offset), or as a rotation of queries and keys (RoPE). Chapter 09
compares them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from flowlib.errors import InputError


def grid_ids(*sizes: int, device: torch.device | str | None = None) -> Int[Tensor, "N axes"]:
    """Coordinates of the cells of a grid, row by row, (N, axes) with N the product of the sizes.

    >>> grid_ids(2, 2).tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    axes = [torch.arange(size, device=device) for size in sizes]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2)


def sinusoidal(p: Num[Tensor, " N"], dim: int, *, max_period: float = 10_000.0) -> Float[Tensor, "N dim"]:
    """Sinusoids ``[sin(p f_i), cos(p f_i)]`` with ``f_i = max_period^(-i / (dim/2))``, i = 0 .. dim/2 - 1.

    The product of two rows is ``sum_i cos((p - p') f_i)``: it depends on the distance alone. Computed in float64,
    returned in the dtype of p, or in the default one for integers.

    Args:
        p: positions, (N,).
        dim: even number of features.
        max_period: base of the frequencies; the longest period is ``2 pi max_period^(1 - 2/dim)``.

    Raises:
        InputError: an odd number of features.

    Source: Vaswani et al. 2017, section 3.5, with sines and cosines in two halves as DiT has them. Chapter 09.
    """
    if dim % 2:
        raise InputError("dim", expected="an even number: a sine and a cosine for each frequency", got=dim)
    angle = p[:, None].double() * _frequencies(dim, max_period, p.device)
    return torch.cat([angle.sin(), angle.cos()], 1).to(p.dtype if p.is_floating_point() else torch.get_default_dtype())


def sinusoidal_2d(
    rows: Num[Tensor, " H"], columns: Num[Tensor, " W"], dim: int, *, max_period: float = 10_000.0
) -> Float[Tensor, "N dim"]:
    """Sinusoids of the cells of a grid, row by row: half of the features tell the column, the other half the row.

    The column comes first. In DiT's code, where this order is from, that half is called ``emb_h``.

    Args:
        rows: positions of the rows, (H,); plain indices in DiT, scaled and centred ones in SD3.
        columns: positions of the columns, (W,).
        dim: number of features, a multiple of 4.
        max_period: base of the frequencies; the longest period is ``2 pi max_period^(1 - 4/dim)``.

    Raises:
        InputError: a number of features that 4 does not divide.

    Source: He et al. 2022 (MAE) and Peebles and Xie 2023 (DiT), their code. Chapter 09.
    """
    if dim % 4:
        raise InputError("dim", expected="a multiple of 4: sine and cosine on two axes", got=dim)
    down, across = (sinusoidal(p, dim // 2, max_period=max_period) for p in (rows, columns))
    cells = [across[None].expand(len(rows), -1, -1), down[:, None].expand(-1, len(columns), -1)]
    return torch.cat(cells, 2).flatten(0, 1)


class LearnedPositions(nn.Module):
    """One learned vector for each of N places, added to the token there; it says nothing about place N + 1.

    Args:
        num_positions: N.
        dim: features of a token.

    Raises:
        InputError: more tokens than places.

    Source: Dosovitskiy et al. 2021 (ViT), section 3.1, equation 1. Chapter 09.
    """

    def __init__(self, num_positions: int, dim: int) -> None:
        super().__init__()
        self.table = nn.Parameter(0.02 * torch.randn(num_positions, dim))

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """Tokens (B, n, dim) with n <= N, each with the vector of its place added."""
        if x.shape[1] > len(self.table):
            raise InputError(
                "x",
                expected=f"at most {len(self.table)} tokens, as many as there are learned positions",
                got=x.shape[1],
                cure="learned positions do not reach beyond the length they were trained at",
            )
        return x + self.table[: x.shape[1]]


class RelativeBias(nn.Module):
    """Learned bias of a score, ``b_h(i - j)``: one number a head and offset, on any number of axes.

    Offsets beyond the reach are clipped to it, so that a longer sentence has no unknown ones.

    Args:
        heads: number of heads.
        reach: largest offset on each axis, (15,) for a line of 16 tokens, (3, 3) for a grid of 4 x 4.

    Raises:
        InputError: tokens with another number of coordinates.

    Source: Shaw et al. 2018, section 3.2 (clipping); Raffel et al. 2020 (T5), section 2.1 (one number a head);
    Liu et al. 2021 (Swin), equation 4 (two axes). Chapter 09.
    """

    def __init__(self, heads: int, reach: Sequence[int]) -> None:
        super().__init__()
        self.reach = tuple(reach)
        self.table = nn.Parameter(torch.zeros(heads, math.prod(2 * r + 1 for r in self.reach)))

    def forward(self, ids: Int[Tensor, "N axes"]) -> Float[Tensor, "heads N N"]:
        """Bias of each query (row) and key (column), (heads, N, N), of tokens at the coordinates ``ids``, (N, axes)."""
        if ids.shape[1] != len(self.reach):
            raise InputError("ids", expected=f"{len(self.reach)} coordinates a token", got=ids.shape[1])
        offset = ids[:, None] - ids[None]
        index = torch.zeros_like(offset[..., 0])
        for axis, reach in enumerate(self.reach):
            index = index * (2 * reach + 1) + offset[..., axis].clamp(-reach, reach) + reach
        return self.table[:, index]


def rotary_angles(
    ids: Num[Tensor, "*batch N axes"], dims: Sequence[int], *, theta: float = 10_000.0
) -> Float[Tensor, "*batch N pairs"]:
    """Angles of RoPE, ``p theta^(-2j/d)`` for the pair j = 0 .. d/2 - 1 of each axis, axes one after another.

    An axis of size d gives d/2 pairs; the sizes add up to that of a head. Float64: at p = 1000 the rounding of
    float32 would be seen in the scores.

    Args:
        ids: coordinates of the tokens, (N, axes) or (B, N, axes); (N, 1) for a sentence, (0, row, column) in Flux.
        dims: even number of features for each axis, such as (16, 56, 56).
        theta: base of the frequencies; the longest period of an axis is ``2 pi theta^(1 - 2/d)``.

    Raises:
        InputError: odd sizes, or not one for each coordinate.

    Source: Su et al. 2021 (RoFormer), equation 15; axes as in Flux. Chapters 09 and 14.
    """
    if ids.shape[-1] != len(dims) or any(d % 2 for d in dims):
        raise InputError(
            "dims", expected=f"{ids.shape[-1]} even numbers, one for each coordinate of ids", got=tuple(dims)
        )
    angles = [
        p[..., None].double() * _frequencies(d, theta, p.device) for p, d in zip(ids.unbind(-1), dims, strict=True)
    ]
    return torch.cat(angles, -1)


def rotate(x: Float[Tensor, "B heads N d"], angles: Float[Tensor, "*batch N pairs"]) -> Float[Tensor, "B heads N d"]:
    """Rotate the pairs of neighbours ``(x_2j, x_2j+1)`` of queries or keys by ``angles``.

    With ``R_p`` the rotation at position p, ``(R_p q) . (R_p' k) = q . (R_(p'-p) k)``: scores see offsets only. A
    rotation is done in float32 at least.

    Args:
        x: queries or keys, (B, heads, N, d).
        angles: from ``rotary_angles``, (N, d/2) or (B, N, d/2).

    Raises:
        InputError: angles of another number of tokens or pairs.

    Source: Su et al. 2021, equation 34. Other code pairs feature j with j + d/2; the two are never to be mixed.
    """
    if angles.shape[-2:] != (x.shape[2], x.shape[3] // 2):
        raise InputError(
            "angles", expected=f"shape (..., {x.shape[2]}, {x.shape[3] // 2})", got=f"shape {tuple(angles.shape)}"
        )
    dtype = torch.promote_types(x.dtype, torch.float32)
    angles = angles[:, None] if angles.ndim == 3 else angles
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
    even, odd = x.to(dtype).unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([cos * even - sin * odd, sin * even + cos * odd], -1).flatten(-2).to(x.dtype)


def _frequencies(dim: int, period: float, device: torch.device) -> Tensor:
    i = torch.arange(dim // 2, device=device, dtype=torch.float64)
    return torch.exp(-math.log(period) * i / (dim // 2))
