"""Which times a loss looks at: densities on [0, 1], in our time (0 is noise, 1 is data).

Each is stated by its quantile, so that one even number u gives one time: independent draws, stratified draws and a grid
are the same function of different u. Chapter 08 derives and compares them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


class Timesteps(ABC):
    """A density on [0, 1] to draw times from."""

    @abstractmethod
    def quantile(self, u: Tensor) -> Tensor:
        """Inverse of ``cdf``: the time below which a share u of the draws lies, any shape."""

    @abstractmethod
    def density(self, t: Tensor) -> Tensor:
        """Density at t, any shape; 0 outside [0, 1]."""

    @abstractmethod
    def cdf(self, t: Tensor) -> Tensor:
        """Share of the draws below t, any shape."""

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``n`` times, (n,)."""
        device = generator.device if generator is not None else None
        return self.quantile(torch.rand(n, device=device, generator=generator))


@dataclass(frozen=True)
class Uniform(Timesteps):
    """Uniform times, ``t ~ U[0, 1)``."""

    def quantile(self, u: Tensor) -> Tensor:
        """``u``."""
        return u

    def density(self, t: Tensor) -> Tensor:
        """``1``."""
        return ((t >= 0) & (t <= 1)).to(t.dtype)

    def cdf(self, t: Tensor) -> Tensor:
        """``t``."""
        return t.clamp(0, 1)
