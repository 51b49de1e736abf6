"""The members of the path family: alpha_t and sigma_t with their exact derivatives.

All run from noise at t = 0 to data at t = 1. Chapter 06 compares them; chapter 04 needs the first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from flowlib.errors import InputError
from flowlib.paths.path import Path


@dataclass(frozen=True)
class OT(Path):
    """Straight lines: ``alpha_t = t``, ``sigma_t = 1 - (1 - sigma_min) t``.

    Args:
        sigma_min: noise left at t = 1. Zero is rectified flow (Liu et al. 2023); flow matching (Lipman et al. 2023,
            equation 20) keeps a little. "OT" is the optimal transport of one Gaussian to one point, not of p_0 to p_1.
    """

    sigma_min: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.sigma_min < 1:
            raise InputError("sigma_min", expected="0 <= sigma_min < 1", got=self.sigma_min)

    def alpha(self, t: Tensor) -> Tensor:
        """``t``."""
        return t

    def sigma(self, t: Tensor) -> Tensor:
        """``1 - (1 - sigma_min) t``."""
        return 1 - (1 - self.sigma_min) * t

    def d_alpha(self, t: Tensor) -> Tensor:
        """``1``."""
        return torch.ones_like(t)

    def d_sigma(self, t: Tensor) -> Tensor:
        """``-(1 - sigma_min)``."""
        return torch.full_like(t, self.sigma_min - 1)


class VariancePreserving(Path):
    """Paths with ``alpha_t^2 + sigma_t^2 = 1`` whose alpha arrives at 1 with a slope: there d_sigma is infinite."""

    def d_sigma(self, t: Tensor) -> Tensor:
        """``-alpha_t d_alpha_t / sigma_t``, minus infinity at t = 1."""
        return self.sigma_d_sigma(t) / self.sigma(t)

    def sigma_d_sigma(self, t: Tensor) -> Tensor:
        """``-alpha_t d_alpha_t``, since alpha_t^2 + sigma_t^2 = 1."""
        return -self.alpha(t) * self.d_alpha(t)

    @property
    def end(self) -> float:
        """``1 - 1e-5``: at t = 1 the velocity of a pair is infinite. Source: Song et al. 2021, appendix C."""
        return 1 - 1e-5

    def check_velocity(self, t: Tensor) -> None:
        """Raise ``InputError`` at t = 1, where d_sigma is infinite and so is dx_t; read on the CPU only."""
        if t.device.type == "cpu" and bool((t == 1).any()):
            raise InputError("t", expected=f"times below 1, where dx_t of {self} is finite", got=1, cure="1 - 1e-5")


@dataclass(frozen=True)
class VP(VariancePreserving):
    """Variance preserving diffusion with linear beta, in our time: ``alpha_t = exp(-T(s)/2)``, ``s = 1 - t``.

    ``beta(s) = beta_min + (beta_max - beta_min) s``, ``T(s) = int_0^s beta`` and ``sigma_t^2 = 1 - alpha_t^2``. At
    t = 0 a little data is left, ``alpha_0 = 0.0066`` with the defaults, so that starting from N(0, I) is an
    approximation. The defaults are the limit of DDPM's 1000 steps, with ``beta(k/1000) = 1000 beta_k``.

    Args:
        beta_min: noise rate at the data end.
        beta_max: noise rate at the noise end.

    Source: Song et al. 2021 (score SDE), appendix C; Ho et al. 2020 (DDPM). Chapter 03.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        if not 0 < self.beta_min <= self.beta_max:
            raise InputError("beta_min, beta_max", expected="0 < beta_min <= beta_max", got=str(self))

    def beta(self, t: Tensor) -> Tensor:
        """Noise rate ``beta(1 - t)``."""
        return self.beta_min + (self.beta_max - self.beta_min) * (1 - t)

    def integral(self, t: Tensor) -> Tensor:
        """``T(1 - t)``, the noise rate integrated from the data."""
        s = 1 - t
        return self.beta_min * s + 0.5 * (self.beta_max - self.beta_min) * s**2

    def alpha(self, t: Tensor) -> Tensor:
        """``exp(-T(1 - t) / 2)``."""
        return torch.exp(-0.5 * self.integral(t))

    def sigma(self, t: Tensor) -> Tensor:
        """``sqrt(1 - alpha_t^2)``, by expm1: the difference would lose all digits near t = 1."""
        return torch.sqrt(-torch.expm1(-self.integral(t)))

    def d_alpha(self, t: Tensor) -> Tensor:
        """``beta(1 - t) alpha_t / 2``."""
        return 0.5 * self.beta(t) * self.alpha(t)


@dataclass(frozen=True)
class ScaledLinear(VP):
    """Stable Diffusion's schedule: variance preserving, with the root of beta linear, ``sqrt(beta) = a + (b - a) s``.

    Here a and b are the roots of beta_min and beta_max. More data is left at t = 0 than on ``VP``: alpha_0 = 0.069.

    Args:
        beta_min: noise rate at the data end, 1000 times the first beta.
        beta_max: noise rate at the noise end, 1000 times the last beta.

    Source: Rombach et al. 2022 (latent diffusion), code. Chapter 03.
    """

    beta_min: float = 0.85
    beta_max: float = 12.0

    def beta(self, t: Tensor) -> Tensor:
        """Noise rate ``beta(1 - t)``."""
        a, b = math.sqrt(self.beta_min), math.sqrt(self.beta_max)
        return (a + (b - a) * (1 - t)) ** 2

    def integral(self, t: Tensor) -> Tensor:
        """``T(1 - t)``, the noise rate integrated from the data."""
        a, b, s = math.sqrt(self.beta_min), math.sqrt(self.beta_max), 1 - t
        return a**2 * s + a * (b - a) * s**2 + (b - a) ** 2 * s**3 / 3


@dataclass(frozen=True)
class ZeroTerminal(VariancePreserving):
    """A variance preserving path stretched until no data is left at t = 0: zero signal-to-noise ratio.

    With a the base's alpha: ``alpha_t = (a_t - a_0) / (1 - a_0)`` and ``sigma_t^2 = 1 - alpha_t^2``.

    Args:
        base: a schedule that leaves some data at t = 0, such as ``VP()``.

    Source: Lin et al. 2024 ("Common diffusion noise schedules and sample steps are flawed"), algorithm 1, where the
    number of steps goes to infinity. Chapter 03.
    """

    base: VP = VP()

    def _rest(self, t: Tensor) -> Tensor:
        return self.base.alpha(torch.zeros_like(t))

    def alpha(self, t: Tensor) -> Tensor:
        """``(a_t - a_0) / (1 - a_0)``."""
        return (self.base.alpha(t) - self._rest(t)) / (1 - self._rest(t))

    def sigma(self, t: Tensor) -> Tensor:
        """``sqrt((1 - alpha_t)(1 + alpha_t))``, without cancellation near t = 1."""
        # 1 - alpha_t = (1 - a_t) / (1 - a_0), and 1 - a_t = s_t^2 / (1 + a_t) with s the sigma of the base
        less = self.base.sigma(t) ** 2 / ((1 + self.base.alpha(t)) * (1 - self._rest(t)))
        return torch.sqrt(less * (1 + self.alpha(t)))

    def d_alpha(self, t: Tensor) -> Tensor:
        """``d_a_t / (1 - a_0)``."""
        return self.base.d_alpha(t) / (1 - self._rest(t))


@dataclass(frozen=True)
class VE(Path):
    """Variance exploding diffusion, in our time: ``alpha_t = 1``, ``sigma_t = sigma_min (sigma_max/sigma_min)^(1-t)``.

    The source is ``sigma_max x_0``, of standard deviation 50 with the defaults, not x_0; and ``sigma_min`` of noise is
    left at t = 1.

    Args:
        sigma_min: noise at t = 1.
        sigma_max: noise at t = 0, well above the spread of the data.

    Source: Song et al. 2021 (score SDE), appendix C.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max:
            raise InputError("sigma_min, sigma_max", expected="0 < sigma_min < sigma_max", got=str(self))

    def alpha(self, t: Tensor) -> Tensor:
        """``1``."""
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        """``sigma_min (sigma_max / sigma_min)^(1 - t)``."""
        return self.sigma_min * (self.sigma_max / self.sigma_min) ** (1 - t)

    def d_alpha(self, t: Tensor) -> Tensor:
        """``0``."""
        return torch.zeros_like(t)

    def d_sigma(self, t: Tensor) -> Tensor:
        """``-sigma_t ln(sigma_max / sigma_min)``."""
        return -math.log(self.sigma_max / self.sigma_min) * self.sigma(t)


@dataclass(frozen=True)
class Cosine(Path):
    """Quarter circle: ``alpha_t = sin(pi t / 2)``, ``sigma_t = cos(pi t / 2)``; also called the trigonometric path.

    Variance preserving, with no noise left at t = 1 and no data at t = 0.
    Source: Nichol and Dhariwal 2021, without their offset; Salimans and Ho 2022.
    """

    def alpha(self, t: Tensor) -> Tensor:
        """``sin(pi t / 2)``."""
        return torch.sin(0.5 * math.pi * t)

    def sigma(self, t: Tensor) -> Tensor:
        """``cos(pi t / 2)``, written as a sine so that it is exactly 0 at t = 1."""
        return torch.sin(0.5 * math.pi * (1 - t))

    def d_alpha(self, t: Tensor) -> Tensor:
        """``(pi / 2) cos(pi t / 2)``."""
        return 0.5 * math.pi * self.sigma(t)

    def d_sigma(self, t: Tensor) -> Tensor:
        """``-(pi / 2) sin(pi t / 2)``."""
        return -0.5 * math.pi * self.alpha(t)
