"""The two moves of multi-scale flows: pixels into channels, and channels that need no further work."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from flowlib.bijections.bijection import Bijection, Mapped
from flowlib.errors import InputError
from flowlib.shapes import Batch, PerSample


class Squeeze(Bijection):
    """Each 2 x 2 block of pixels into four channels, (B, C, H, W) to (B, 4 C, H/2, W/2), with ``log|det J| = 0``.

    Raises:
        InputError: not an image, or an odd height or width.

    Source: RealNVP (Dinh et al. 2017), section 3.6.
    """

    def forward(self, x: Float[Tensor, "B C H W"], c: Tensor | None = None) -> tuple[Mapped, PerSample]:
        """Data to base."""
        if x.ndim != 4 or x.shape[2] % 2 or x.shape[3] % 2:
            raise InputError(
                "x", expected="images (B, C, H, W) of even height and width", got=f"shape {tuple(x.shape)}"
            )
        return F.pixel_unshuffle(x, 2), x.new_zeros(len(x))

    def inverse(self, z: Float[Tensor, "B C H W"], c: Tensor | None = None) -> tuple[Mapped, PerSample]:
        """Base to data."""
        if z.ndim != 4 or z.shape[1] % 4:
            raise InputError("z", expected="images (B, 4 C, H, W)", got=f"shape {tuple(z.shape)}")
        return F.pixel_shuffle(z, 2), z.new_zeros(len(z))


class Split(Bijection):
    """Multi-scale split ``z = [f(x_a), x_b]``: half of the channels go on through f, the others are done.

    z keeps the shape of x, so a base density need not know of scales.

    Args:
        bijection: f, of the first half of the channels.

    Raises:
        InputError: an odd number of channels.

    Source: RealNVP (Dinh et al. 2017), section 3.6. An affine coupling before it is Glow's learned prior of x_b.
    """

    def __init__(self, bijection: Bijection) -> None:
        super().__init__()
        self.bijection = bijection

    def forward(self, x: Batch, c: Tensor | None = None) -> tuple[Batch, PerSample]:
        """Data to base."""
        a, b = _halves(x)
        a, logdet = self.bijection(a, c)
        return torch.cat([a, b], 1), logdet

    def inverse(self, z: Batch, c: Tensor | None = None) -> tuple[Batch, PerSample]:
        """Base to data."""
        a, b = _halves(z)
        a, logdet = self.bijection.inverse(a, c)
        return torch.cat([a, b], 1), logdet

    def initialise(self, x: Batch, c: Tensor | None = None) -> Batch:
        """Initialise f with the half that reaches it."""
        a, b = _halves(x)
        return torch.cat([self.bijection.initialise(a, c), b], 1)


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    if x.ndim < 2 or x.shape[1] % 2:
        raise InputError("x", expected="an even number of channels", got=f"shape {tuple(x.shape)}")
    a, b = x.chunk(2, 1)
    return a, b
