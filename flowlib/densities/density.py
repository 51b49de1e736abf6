"""What every known distribution offers."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import TypeVar

import torch
from torch import Tensor

from flowlib.shapes import Batch, PerSample

D = TypeVar("D", bound="Density")


class Density(ABC):
    """A distribution p(x) that is known: it can be sampled, and its log-density evaluated.

    Attributes:
        event_shape: shape of one sample, ``(2,)`` in the plane.
    """

    event_shape: tuple[int, ...]

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator | None = None) -> Batch:
        """Draw ``n`` independent samples, (n, *event)."""

    @abstractmethod
    def log_prob(self, x: Batch) -> PerSample:
        """Log-density ``log p(x)`` in nats, (B,)."""

    @abstractmethod
    def entropy(self) -> float:
        """Differential entropy ``-E[log p(x)]`` in nats: no model can have a smaller expected NLL on this density."""

    def to(self: D, like: Tensor) -> D:
        """The same density with its numbers in the dtype and on the device of ``like``."""
        moved = copy.copy(self)
        moved.__dict__.update({k: u.to(like) for k, u in vars(self).items() if isinstance(u, Tensor)})
        return moved
