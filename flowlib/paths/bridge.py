"""Lines with noise of their own: the paths of I-CFM and OT-CFM, and the Brownian bridge of SB-CFM."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from flowlib.errors import InputError
from flowlib.paths.path import Path, PathSample, Quantity
from flowlib.shapes import Batch, PerSample
from flowlib.tensors import check_same_shape, check_time, per_sample, randn


class NoisyLine(Path):
    """A line with Gaussian noise round it: ``x_t = t x_1 + (1 - t) x_0 + width_t eps``, eps ~ N(0, I).

    Its velocity is ``dx_t = x_1 - x_0 + d_width_t eps``. Neither end has to be Gaussian. A member states the width;
    ``sample`` draws eps. With a third unknown beside x_0 and x_1, the velocity says nothing about each of them.
    """

    @abstractmethod
    def width(self, t: Tensor) -> Tensor:
        """Standard deviation of the noise at time t."""

    @abstractmethod
    def d_width(self, t: Tensor) -> Tensor:
        """Derivative ``d width_t / dt``."""

    def alpha(self, t: Tensor) -> Tensor:
        """``t``."""
        return t

    def sigma(self, t: Tensor) -> Tensor:
        """``1 - t``, the scale of x_0; the noise of the line comes on top."""
        return 1 - t

    def d_alpha(self, t: Tensor) -> Tensor:
        """``1``."""
        return torch.ones_like(t)

    def d_sigma(self, t: Tensor) -> Tensor:
        """``-1``."""
        return -torch.ones_like(t)

    def sample(self, x_0: Batch, x_1: Batch, t: PerSample, generator: torch.Generator | None = None) -> PathSample:
        """Point and velocity of a noisy line from x_0 to x_1 at time t.

        Args:
            x_0: source samples, (B, *event).
            x_1: data, (B, *event).
            t: times in [0, 1], (B,).
            generator: randomness of eps.

        Raises:
            InputError: shapes that differ, a time outside [0, 1].
        """
        check_same_shape("x_0", x_0, "x_1", x_1)
        check_time(t, x_1)
        t = per_sample(t, x_1)
        eps, dx = randn(x_1.shape, like=x_1, generator=generator), x_1 - x_0
        x_t = torch.addcmul(torch.addcmul(x_0, t, dx), self.width(t), eps)
        return PathSample(x_t, torch.addcmul(dx, self.d_width(t), eps))

    def convert(self, value: Batch, x_t: Batch, t: PerSample, *, have: Quantity, want: Quantity) -> Batch:
        """Refuse: x_t mixes three unknowns, and one prediction does not determine another."""
        raise InputError("path", expected="a path without noise of its own", got=str(self), cure="train what you need")


@dataclass(frozen=True)
class Tube(NoisyLine):
    """A line in noise of one width all along, ``width_t = noise``: the path of I-CFM and OT-CFM.

    Both ends are blurred: at t = 1 a perfect field gives the data plus ``noise eps``, of variance
    ``Var[x_1] + noise^2``.

    Args:
        noise: the width, called sigma in the papers.

    Source: Tong et al. 2024 (I-CFM), equations 14 and 15. Chapter 07.
    """

    noise: float = 0.1

    def __post_init__(self) -> None:
        if self.noise < 0:
            raise InputError("noise", expected="no negative number", got=self.noise)

    def width(self, t: Tensor) -> Tensor:
        """``noise``."""
        return torch.full_like(t, self.noise)

    def d_width(self, t: Tensor) -> Tensor:
        """``0``."""
        return torch.zeros_like(t)


@dataclass(frozen=True)
class Bridge(NoisyLine):
    """A Brownian bridge, ``width_t = noise sqrt(t (1 - t))``: pinned at both ends, the path of SB-CFM.

    Its velocity is ``(1 - 2t) / (2t (1 - t)) (x_t - mean_t) + x_1 - x_0`` with ``mean_t = t x_1 + (1 - t) x_0``. With
    pairs from ``sinkhorn(sigma=noise)`` its marginals are those of the Schroedinger bridge.

    Args:
        noise: sigma of the Brownian motion, whose variance grows by ``noise^2`` in unit time.

    Source: Tong et al. 2024 (SB-CFM), section 3.2.4; [SF]^2M, equation 8. Chapter 07.
    """

    noise: float = 1.0

    def __post_init__(self) -> None:
        if self.noise < 0:
            raise InputError("noise", expected="no negative number", got=self.noise)

    def width(self, t: Tensor) -> Tensor:
        """``noise sqrt(t (1 - t))``."""
        return self.noise * torch.sqrt(t * (1 - t))

    def d_width(self, t: Tensor) -> Tensor:
        """``noise (1 - 2t) / (2 sqrt(t (1 - t)))``, with t no nearer than 1e-5 to an end, where it is infinite."""
        t = t.clamp(1e-5, 1 - 1e-5)
        return self.noise * (1 - 2 * t) / (2 * torch.sqrt(t * (1 - t)))
