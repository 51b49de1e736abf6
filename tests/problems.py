"""Ordinary differential equations with known answers."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Problem:
    field: Callable
    x_0: Tensor
    span: tuple[float, float]
    exact: Callable[[float], Tensor]


def decay() -> Problem:
    """x' = -x, with x(t) = exp(-t)."""
    x_0 = torch.tensor([[1.0], [2.0]])
    return Problem(lambda x, t: -x, x_0, (0.0, 1.0), lambda t: x_0 * torch.tensor(-t).exp())


def logistic() -> Problem:
    """x' = x (1 - x), not linear."""
    x_0 = torch.tensor([[0.1], [0.7]])
    return Problem(
        lambda x, t: x * (1 - x), x_0, (0.0, 2.0), lambda t: x_0 / (x_0 + (1 - x_0) * torch.tensor(-t).exp())
    )


def driven_rotation() -> Problem:
    """A rotation with a frequency that depends on time: x(t) = (cos t^2, sin t^2)."""

    def field(x: Tensor, t: Tensor) -> Tensor:
        return 2 * t[:, None] * torch.stack([-x[:, 1], x[:, 0]], 1)

    def exact(t: float) -> Tensor:
        angle = torch.tensor([t**2])
        return torch.stack([angle.cos(), angle.sin()], 1)

    return Problem(field, torch.tensor([[1.0, 0.0]]), (0.0, 1.5), exact)


PROBLEMS = (decay, logistic, driven_rotation)
