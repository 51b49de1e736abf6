"""The smallest velocity field: a multilayer perceptron on points."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from flowlib.errors import InputError
from flowlib.layers import mlp
from flowlib.shapes import PerSample


class MLP(nn.Module):
    """Velocity ``v(x, t) = W_L h(... h(W_1 [x, t] + b_1) ...) + b_L`` for points x of R^dim.

    The activation h is SiLU, which is smooth: the field has a continuous divergence, which a likelihood integrates.

    Args:
        dim: dimension of x.
        width: size of the hidden layers.
        depth: number of hidden layers.
        activation: h.
        average: whether a second time r is an input: then this is an average velocity u(x, t, r) (chapter 16), which
            sees ``[x, t, r - t]``.

    Raises:
        InputError: points of another dimension, a second time where there is no such input.
    """

    def __init__(
        self,
        dim: int = 2,
        *,
        width: int = 64,
        depth: int = 3,
        activation: Callable[[], nn.Module] = nn.SiLU,
        average: bool = False,
    ) -> None:
        super().__init__()
        self.dim, self.average = dim, average
        self.net = mlp([dim + 1 + average] + [width] * depth + [dim], activation)

    def forward(self, x: Tensor, t: PerSample, c: None = None, *, r: PerSample | None = None) -> Tensor:
        """Velocity at x, (B, dim), and t, (B,), or its average up to r, (B,), which is t if left out. There is no c."""
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise InputError("x", expected=f"shape (B, {self.dim})", got=f"shape {tuple(x.shape)}")
        check_second_time(r, t, self.average)
        times = [t, (t if r is None else r) - t] if self.average else [t]
        return self.net(torch.cat([x, torch.stack(times, 1)], 1))


def check_second_time(r: Tensor | None, t: Tensor, average: bool) -> None:
    """Raise ``InputError`` unless r is left out, or has the shape of t and the network an input for it."""
    if r is not None and not (average and r.shape == t.shape):
        raise InputError(
            "r",
            expected=f"shape {tuple(t.shape)}, as t" if average else "none, this network has no second time",
            got=f"shape {tuple(r.shape)}",
            cure="average=True gives a network a second time",
        )
