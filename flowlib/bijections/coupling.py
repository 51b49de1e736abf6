"""Couplings: one half of the coordinates says how the other half is transformed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from flowlib.bijections.affine import ScaleShift
from flowlib.bijections.bijection import Bijection, Elementwise, as_parameters
from flowlib.errors import InputError
from flowlib.shapes import Batch, PerSample
from flowlib.tensors import sum_event

Conditioner = Callable[..., Tensor]  # conditioner(x, c): (B, n_a, *rest) to (B, P n_b, *rest)


class Coupling(Bijection):
    """Coupling ``z_a = x_a, z_b = f(x_b; theta(x_a, c))``: a triangular Jacobian, fast in both directions.

    The halves are those of the second dimension, coordinates or channels; a is one longer when the number is odd. A
    stack needs something between its couplings that moves a into b: every other one swapped, or a mixing of channels.

    Args:
        conditioner: theta(x_a, c), of shape (B, P n_b, *rest), one block of n_b for each parameter.
        transform: the increasing map f, affine or a spline.
        swap: exchange the roles of the first and the second part.

    Raises:
        InputError: fewer than two coordinates, a conditioner of another size.

    Source: NICE (Dinh et al. 2015), section 3.2; neural spline flows (Durkan et al. 2019), section 3.1 for splines.
    """

    def __init__(self, conditioner: Conditioner, transform: Elementwise, *, swap: bool = False) -> None:
        super().__init__()
        self.conditioner = conditioner
        self.transform = transform
        self.swap = swap

    def forward(self, x: Batch, c: Tensor | None = None) -> tuple[Batch, PerSample]:
        """Data to base."""
        return self._apply_to_half(self.transform.forward, x, c)

    def inverse(self, z: Batch, c: Tensor | None = None) -> tuple[Batch, PerSample]:
        """Base to data, as fast: z_a = x_a gives the same theta."""
        return self._apply_to_half(self.transform.inverse, z, c)

    def _apply_to_half(
        self, f: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], x: Tensor, c: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if x.ndim < 2 or x.shape[1] < 2:
            raise InputError("x", expected="at least two coordinates or channels", got=f"shape {tuple(x.shape)}")
        a, b = x.chunk(2, 1)
        if self.swap:
            a, b = b, a
        theta = as_parameters(self.conditioner(a, c), b, self.transform.num_params)
        b, log_slope = f(b, theta)
        return torch.cat([b, a] if self.swap else [a, b], 1), sum_event(log_slope)


class AffineCoupling(Coupling):
    """Affine coupling ``z_a = x_a, z_b = x_b exp(s(x_a)) + t(x_a)`` with ``log|det J| = sum s``.

    Args:
        conditioner: two numbers for each coordinate of b, from which ``ScaleShift`` makes s and t.
        swap: exchange the roles of the first and the second part.

    Source: RealNVP (Dinh et al. 2017), sections 3.2 and 3.3.
    """

    def __init__(self, conditioner: Conditioner, *, swap: bool = False) -> None:
        super().__init__(conditioner, ScaleShift(), swap=swap)
