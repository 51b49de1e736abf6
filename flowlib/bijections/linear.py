"""Linear bijections of the channels: a permutation, and a dense matrix kept invertible by its LU factors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowlib.bijections.bijection import Bijection, check_channels
from flowlib.errors import InputError
from flowlib.shapes import Batch, PerSample


class Permutation(Bijection):
    """Reordered channels, ``z_i = x_order(i)``, with ``log|det J| = 0``.

    Args:
        order: which channel of x comes i-th in z.

    Raises:
        InputError: an order that repeats or misses a channel, another number of channels.
    """

    order: Tensor
    back: Tensor

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        if sorted(order) != list(range(len(order))):
            raise InputError("order", expected=f"each of 0 .. {len(order) - 1} once", got=list(order))
        self.register_buffer("order", torch.tensor(order), persistent=False)
        self.register_buffer("back", torch.tensor(order).argsort(), persistent=False)

    def forward(self, x: Batch, c: Tensor | None = None) -> tuple[Batch, PerSample]:
        """Data to base."""
        check_channels(x, len(self.order))
        return x.index_select(1, self.order), x.new_zeros(len(x))

    def inverse(self, z: Batch, c: Tensor | None = None) -> tuple[Batch, PerSample]:
        """Base to data."""
        check_channels(z, len(self.order))
        return z.index_select(1, self.back), z.new_zeros(len(z))


class InvertibleLinear(Bijection):
    """Dense linear map of the channels, ``z = W x`` with ``W = P L (U + diag(sign exp(s)))``.

    P is a permutation and the signs are fixed; L (unit lower triangular), U (strictly upper triangular) and s are
    learned. W stays invertible, ``log|det W| = sum s``, and the inverse solves two triangular systems. On images it is
    the 1x1 convolution: the same W at every pixel, with ``log|det J| = H W sum s``.

    Args:
        channels: size of the second dimension.
        start: the first W, (channels, channels); a random rotation when left out.

    Raises:
        InputError: a start of another shape or one that is not invertible, another number of channels.

    Source: Glow (Kingma and Dhariwal 2018), section 3.2.
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, channels: int, start: Tensor | None = None) -> None:
        super().__init__()
        w = torch.linalg.qr(torch.randn(channels, channels)).Q if start is None else start
        if w.shape != (channels, channels):
            raise InputError("start", expected=f"shape {(channels, channels)}", got=f"shape {tuple(w.shape)}")
        if not bool(w.isfinite().all()) or int(torch.linalg.matrix_rank(w)) < channels:
            raise InputError(
                "start",
                expected="an invertible matrix",
                got="one that is not",
                cure="leave it out to start at a rotation",
            )
        permutation, lower, upper = torch.linalg.lu(w)
        self.register_buffer("permutation", permutation)
        self.register_buffer("sign", upper.diagonal().sign())
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))
        self.s = nn.Parameter(upper.diagonal().abs().log())

    def forward(self, x: Batch, c: Tensor | None = None) -> tuple[Batch, PerSample]:
        """Data to base: ``W x``."""
        check_channels(x, len(self.s))
        lower, upper = self._factors()
        z = (
            (self.permutation @ lower @ upper) @ x.flatten(2)
            if x.ndim > 2
            else x @ (self.permutation @ lower @ upper).T
        )
        return z.reshape(x.shape), self._logdet(x)

    def inverse(self, z: Batch, c: Tensor | None = None) -> tuple[Batch, PerSample]:
        """Base to data: ``(U + diag)^-1 L^-1 P^T z``."""
        check_channels(z, len(self.s))
        lower, upper = self._factors()
        columns = self.permutation.T @ z.transpose(0, 1).flatten(1)  # (channels, B * pixels)
        columns = torch.linalg.solve_triangular(lower, columns, upper=False, unitriangular=True)
        columns = torch.linalg.solve_triangular(upper, columns, upper=True)
        return columns.unflatten(1, (len(z), *z.shape[2:])).transpose(0, 1), -self._logdet(z)

    def _factors(self) -> tuple[Tensor, Tensor]:
        eye = torch.eye(len(self.s), dtype=self.s.dtype, device=self.s.device)
        return self.lower.tril(-1) + eye, self.upper.triu(1) + (self.sign * self.s.exp()).diag()

    def _logdet(self, x: Tensor) -> Tensor:
        return (self.s.sum() * math.prod(x.shape[2:])).expand(len(x))
