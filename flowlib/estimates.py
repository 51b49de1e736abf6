"""A number and how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """A mean and its standard error; prints as ``0.303 +- 0.043``.

    Args:
        value: the mean.
        error: standard deviation of that mean; nan when one draw alone was made.
    """

    value: float
    error: float

    @classmethod
    def of(cls, draws: Tensor | Sequence[float]) -> Estimate:
        """Mean of independent draws, with standard error ``s / sqrt(n)`` and s the sample standard deviation."""
        x = torch.as_tensor(draws, dtype=torch.float64).flatten()
        error = float(x.std()) / math.sqrt(len(x)) if len(x) > 1 else math.nan
        return cls(float(x.mean()), error)

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return f"{self.value:.3g}" if math.isnan(self.error) else f"{self.value:.3g} +- {self.error:.1g}"
