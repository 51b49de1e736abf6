"""A number and how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """A mean and its standard error; prints as ``0.303 +- 0.043``, with two digits of the error.

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
        if not self.error > 0:
            return f"{self.value:.3g}"
        decimals = max(0, 1 - math.floor(math.log10(self.error)))  # two digits of the error, and no more of the value
        return f"{self.value:.{decimals}f} +- {self.error:.{decimals}f}"
