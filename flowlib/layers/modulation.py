"""Adaptive layer norm: a condition that shifts, scales and gates what a block does."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from flowlib.layers.mlp import start_at_zero


class Modulation(NamedTuple):
    """What a condition does to one branch: ``x + gate * branch((1 + scale) * norm(x) + shift)``.

    Attributes:
        shift: added to the normalised tokens, (B, 1, width) or (width,).
        scale: 1 + scale multiplies them.
        gate: multiplies what the branch returns; None for a branch without a gate.
    """

    shift: Tensor
    scale: Tensor
    gate: Tensor | None = None

    def into(self, x: Tensor) -> Tensor:
        """What goes into the branch, ``(1 + scale) x + shift``, for normalised tokens (B, N, width)."""
        return torch.addcmul(self.shift, x, 1 + self.scale)

    def out(self, y: Tensor) -> Tensor:
        """What comes out of it, ``gate y``."""
        return y if self.gate is None else self.gate * y


class AdaLN(nn.Module):
    """Modulations ``W silu(e) + b`` of the branches of a block, from a vector e of time and class; W = b = 0 at first.

    The rows of W stand in the order shift, scale, gate of the first branch, then of the second, as in DiT, SD3 and
    Flux. With gates the block starts as the identity (adaLN-Zero), without them as one that hears nothing (adaLN).

    Args:
        width: features of a token and of e.
        branches: number of branches.
        gate: whether each branch has one.

    Source: Peebles and Xie 2023 (DiT), section 3.2; Perez et al. 2018 (FiLM). Chapter 11.
    """

    def __init__(self, width: int, branches: int, *, gate: bool = True) -> None:
        super().__init__()
        self.branches, self.parts = branches, 3 if gate else 2
        self.linear = nn.Linear(width, branches * self.parts * width)
        start_at_zero(self.linear)

    def forward(self, e: Tensor) -> list[Modulation]:
        """One modulation a branch, from e, (B, width)."""
        rows = self.linear(nn.functional.silu(e))[:, None].chunk(self.branches * self.parts, -1)
        return [Modulation(*rows[i : i + self.parts]) for i in range(0, len(rows), self.parts)]


class Affine(nn.Module):
    """Modulations that hear nothing: learned constants shift and scale, which are a layer norm's own, and no gate."""

    def __init__(self, width: int, branches: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(branches, width))
        self.scale = nn.Parameter(torch.zeros(branches, width))

    def forward(self, e: Tensor) -> list[Modulation]:
        """One modulation a branch; e is not looked at."""
        return [Modulation(shift, scale) for shift, scale in zip(self.shift, self.scale, strict=True)]
