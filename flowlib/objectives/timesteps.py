"""Which times a loss looks at."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Uniform:
    """Uniform times, ``t ~ U[0, 1)``. Chapter 08 compares other densities."""

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``n`` times, (n,)."""
        return torch.rand(n, generator=generator)

    def density(self, t: Tensor) -> Tensor:
        """Density 1 on [0, 1]."""
        return ((t >= 0) & (t <= 1)).to(t.dtype)

    def cdf(self, t: Tensor) -> Tensor:
        """Distribution function t on [0, 1]."""
        return t.clamp(0, 1)
