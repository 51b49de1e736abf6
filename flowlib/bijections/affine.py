"""Scale and shift, as parameters of a layer (ActNorm) and as a map whose parameters a network computes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from flowlib.bijections.bijection import Bijection, Elementwise, check_channels
from flowlib.errors import InputError
from flowlib.shapes import Batch, PerSample
from flowlib.tensors import check_finite

LIMIT = 5.0  # of a log-scale: slopes stay within [e^-5, e^5], whatever a network says for an odd input


class ScaleShift(Elementwise):
    """Affine map ``z = x exp(s) + t`` with ``s = 5 tanh(theta_0 / 5)`` and ``t = theta_1``; its log-slope is s.

    Source: RealNVP (Dinh et al. 2017), section 3.2; the bound is ours.
    """

    num_params = 2

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Value and log-slope ``x exp(s) + t, s``."""
        s, t = self._scale_shift(theta)
        return torch.addcmul(t, x, s.exp()), s

    def inverse(self, z: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Value and log-slope of the inverse, ``(z - t) exp(-s), -s``."""
        s, t = self._scale_shift(theta)
        return (z - t) * (-s).exp(), -s

    def _scale_shift(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        raw, t = theta
        return LIMIT * (raw / LIMIT).tanh(), t


class Affine(Bijection):
    """Scale and shift of each channel, ``z = x exp(s) + t`` with s and t learned: ActNorm.

    On images every pixel of a channel shares its s, and ``log|det J| = H W sum s``. It starts as the identity;
    ``initialise`` makes the channels of a first batch have mean 0 and standard deviation 1. That is a step of its own:
    a layer that did it at its first call would also do it to weights that were just loaded.

    Args:
        channels: size of the second dimension: coordinates of a point, channels of an image.

    Raises:
        InputError: another number of channels.

    Source: Glow (Kingma and Dhariwal 2018), section 3.1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.s = nn.Parameter(torch.zeros(channels))
        self.t = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Batch, c: Tensor | None = None) -> tuple[Batch, PerSample]:
        """Data to base: ``x exp(s) + t``."""
        s, t = self._along(x)
        return torch.addcmul(t, x, s.exp()), self._logdet(x)

    def inverse(self, z: Batch, c: Tensor | None = None) -> tuple[Batch, PerSample]:
        """Base to data: ``(z - t) exp(-s)``."""
        s, t = self._along(z)
        return (z - t) * (-s).exp(), -self._logdet(z)

    @torch.no_grad()
    def initialise(self, x: Batch, c: Tensor | None = None) -> Batch:
        """Set s and t so that each channel of z has mean 0 and standard deviation 1 over this batch.

        Raises:
            InputError: a channel that is constant.
        """
        check_channels(x, len(self.s))
        check_finite("x", x)
        std, mean = torch.std_mean(x.transpose(0, 1).flatten(1), dim=1)
        if not bool((std > 0).all()):
            raise InputError(
                "x",
                expected="channels that vary over the batch",
                got=f"{int((~(std > 0)).sum())} constant",
                cure="give a larger batch, or dequantise it",
            )
        self.s.copy_(-std.log())
        self.t.copy_(-mean / std)
        return self.forward(x, c)[0]

    def _along(self, x: Tensor) -> tuple[Tensor, Tensor]:
        check_channels(x, len(self.s))
        shape = (-1, *(1,) * (x.ndim - 2))
        return self.s.reshape(shape), self.t.reshape(shape)

    def _logdet(self, x: Tensor) -> Tensor:
        return (self.s.sum() * math.prod(x.shape[2:])).expand(len(x))
