"""Autoregressive maps: every coordinate is transformed as the ones before it say."""

from __future__ import annotations

import torch
from torch import Tensor

from flowlib.bijections.bijection import Bijection, Elementwise, as_parameters
from flowlib.bijections.coupling import Conditioner
from flowlib.shapes import Batch, PerSample
from flowlib.tensors import sum_event


class Autoregressive(Bijection):
    """Autoregressive map ``z_i = f(x_i; theta_i(x_1 .. x_{i-1}, c))``: the Jacobian is triangular.

    Forward takes one pass of the conditioner. The inverse takes n: x_i is known only after those before it. Swapped by
    ``Inverse`` it becomes an inverse autoregressive flow (IAF), fast to sample and slow to evaluate. Events of any
    shape are read in the order of memory.

    Args:
        conditioner: masked, (B, n) to (B, P n), one block of n for each parameter; those of coordinate i depend on the
            coordinates before it only.
        transform: the increasing map f, affine or a spline.

    Source: MAF (Papamakarios et al. 2017), section 3.1; IAF (Kingma et al. 2016), section 4.
    """

    def __init__(self, conditioner: Conditioner, transform: Elementwise) -> None:
        super().__init__()
        self.conditioner = conditioner
        self.transform = transform

    def forward(self, x: Batch, c: Tensor | None = None) -> tuple[Batch, PerSample]:
        """Data to base, in one pass."""
        flat = x.flatten(1)
        z, log_slope = self.transform.forward(flat, self._theta(flat, c))
        return z.reshape(x.shape), sum_event(log_slope)

    def inverse(self, z: Batch, c: Tensor | None = None) -> tuple[Batch, PerSample]:
        """Base to data, one coordinate after the other; those not yet known are zero, and their theta is not used."""
        flat = z.flatten(1)
        known: list[Tensor] = []
        unknown = list(torch.zeros_like(flat).unbind(1))
        logdet = torch.zeros_like(flat[:, 0])
        for i, z_i in enumerate(flat.unbind(1)):
            theta = self._theta(torch.stack(known + unknown[i:], 1), c)
            x_i, log_slope = self.transform.inverse(z_i, theta[:, :, i])
            known.append(x_i)
            logdet = logdet + log_slope
        return torch.stack(known, 1).reshape(z.shape), logdet

    def _theta(self, x: Tensor, c: Tensor | None) -> Tensor:
        return as_parameters(self.conditioner(x, c), x, self.transform.num_params)
