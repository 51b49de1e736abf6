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

    Raises:
        InputError: points of another dimension.
    """

    def __init__(
        self, dim: int = 2, *, width: int = 64, depth: int = 3, activation: Callable[[], nn.Module] = nn.SiLU
    ) -> None:
        super().__init__()
        self.dim = dim
        self.net = mlp([dim + 1] + [width] * depth + [dim], activation)

    def forward(self, x: Tensor, t: PerSample, c: None = None) -> Tensor:
        """Velocity at x, (B, dim), and t, (B,). There is no condition to give."""
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise InputError("x", expected=f"shape (B, {self.dim})", got=f"shape {tuple(x.shape)}")
        return self.net(torch.cat([x, t[:, None]], 1))
