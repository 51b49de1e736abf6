"""Which times a loss looks at: densities on [0, 1], in our time (0 is noise, 1 is data).

Each is stated by its quantile, so that one number u in [0, 1) gives one time: independent draws, stratified draws and a
grid are the same function of different u. Chapter 08 derives and compares them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from flowlib.errors import InputError

LARGEST_MODE = 2 / (math.pi - 2)  # beyond it the map from u to t of ``Mode`` turns back


class Timesteps(ABC):
    """A density on [0, 1] to draw times from."""

    @abstractmethod
    def quantile(self, u: Tensor) -> Tensor:
        """Inverse of ``cdf``: the time below which a share u of the draws lies, any shape."""

    @abstractmethod
    def density(self, t: Tensor) -> Tensor:
        """Density at t, any shape; 0 outside [0, 1]."""

    @abstractmethod
    def cdf(self, t: Tensor) -> Tensor:
        """Share of the draws below t, any shape."""

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``n`` times, (n,): ``quantile(u)`` with u ~ U[0, 1)."""
        return self.quantile(_rand(n, generator))


@dataclass(frozen=True)
class Uniform(Timesteps):
    """Uniform times, density ``1``."""

    def quantile(self, u: Tensor) -> Tensor:
        """``u``."""
        return u

    def density(self, t: Tensor) -> Tensor:
        """``1``."""
        return _inside(t, torch.ones_like(t))

    def cdf(self, t: Tensor) -> Tensor:
        """``t``."""
        return t.clamp(0, 1)


@dataclass(frozen=True)
class LogitNormal(Timesteps):
    """Logit-normal times, ``logit t ~ N(m, b^2)`` with ``logit t = ln(t / (1 - t))``.

    On the straight path ``logit t`` is half the log-SNR, so this is a normal law of the noise level. Little time is
    spent at either end; m > 0 leans towards data.

    Args:
        m: mean of logit t. Papers in which 1 is noise state the opposite sign: use ``LogitNormal.sd3``.
        b: its standard deviation.

    Source: Esser et al. 2024 (SD3), equation 19, at s = 1 - t.
    """

    m: float = 0.0
    b: float = 1.0

    def __post_init__(self) -> None:
        if not self.b > 0:
            raise InputError("b", expected="a positive standard deviation", got=self.b)

    @classmethod
    def sd3(cls, m: float = 0.0, b: float = 1.0) -> LogitNormal:
        """SD3's lognorm(m, b), whose time is 1 at noise: m > 0 leans towards noise."""
        return cls(-m, b)

    @classmethod
    def edm(cls, p_mean: float = -1.2, p_std: float = 1.2) -> LogitNormal:
        """EDM's noise levels, ``ln(sigma_t / alpha_t) ~ N(p_mean, p_std^2)``, on the straight path.

        Source: Karras et al. 2022, table 1.
        """
        return cls(-p_mean, p_std)

    def quantile(self, u: Tensor) -> Tensor:
        """``sigmoid(m + b Phi^-1(u))``."""
        return torch.sigmoid(self.m + self.b * torch.special.ndtri(u))

    def density(self, t: Tensor) -> Tensor:
        """``exp(-(logit t - m)^2 / (2 b^2)) / (b sqrt(2 pi) t (1 - t))``."""
        inside = (t > 0) & (t < 1)  # at the ends 0 / 0; the limit is 0
        inner = torch.where(inside, t, 0.5)
        z = (torch.logit(inner) - self.m) / self.b
        density = torch.exp(-0.5 * z**2 - inner.log() - torch.log1p(-inner)) / (self.b * math.sqrt(2 * math.pi))
        return torch.where(inside, density, 0)

    def cdf(self, t: Tensor) -> Tensor:
        """``Phi((logit t - m) / b)``."""
        return torch.special.ndtr((torch.logit(t.clamp(0, 1)) - self.m) / self.b)


@dataclass(frozen=True)
class Mode(Timesteps):
    """Times with a peak (a > 0) or a trough (a < 0) in the middle, ``t = u + a (cos^2(pi u / 2) - 1 + u)``.

    Unlike the logit-normal law it keeps the ends: density ``1 / (1 + a)`` there, and ``1 / (1 + a - pi a / 2)`` in the
    middle. It is symmetric, the same in both conventions of time.

    Args:
        a: scale in [-1, 2 / (pi - 2)] = [-1, 1.752], where t rises with u.

    Source: Esser et al. 2024 (SD3), equation 20, at s = 1 - t.
    """

    a: float = 1.29

    def __post_init__(self) -> None:
        if not -1 <= self.a <= LARGEST_MODE:
            raise InputError("a", expected=f"-1 to {LARGEST_MODE:.4g}, where t rises with u", got=self.a)

    def quantile(self, u: Tensor) -> Tensor:
        """``u + a (cos^2(pi u / 2) - 1 + u)``."""
        return u + self.a * (torch.cos(0.5 * math.pi * u) ** 2 - 1 + u)

    def density(self, t: Tensor) -> Tensor:
        """``1 / (1 + a - (pi a / 2) sin(pi u))`` at ``u = cdf(t)``."""
        return _inside(t, 1 / self._slope(self.cdf(t)))

    def cdf(self, t: Tensor) -> Tensor:
        """Solve ``quantile(u) = t``: by bisection, then one Newton step, which carries the gradient ``du / dt``."""
        t = t.clamp(0, 1)
        low, high = torch.zeros_like(t), torch.ones_like(t)
        for _ in range(60):
            middle = 0.5 * (low + high)
            below = self.quantile(middle) < t.detach()
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        u = 0.5 * (low + high)
        return u + (t - self.quantile(u)) / self._slope(u).clamp(min=1e-12)

    def _slope(self, u: Tensor) -> Tensor:
        return 1 + self.a - 0.5 * math.pi * self.a * torch.sin(math.pi * u)


@dataclass(frozen=True)
class CosMap(Timesteps):
    """Times at which the straight path passes the noise levels of the cosine path, ``t/(1-t) = tan(pi u / 2)``.

    Symmetric, the same in both conventions of time. Source: Esser et al. 2024 (SD3), equations 21 and 22.
    """

    def quantile(self, u: Tensor) -> Tensor:
        """``tan / (1 + tan)`` of ``pi u / 2``, written with sine and cosine: the tangent overflows at u = 1."""
        sine, cosine = torch.sin(0.5 * math.pi * u), torch.cos(0.5 * math.pi * u)
        return (sine / (sine + cosine)).clamp(max=1)  # the cosine rounds to less than 0 at u = 1

    def density(self, t: Tensor) -> Tensor:
        """``2 / (pi (1 - 2 t + 2 t^2))``, from ``2 / pi`` at the ends to ``4 / pi`` in the middle."""
        return _inside(t, 2 / (math.pi * (1 - 2 * t + 2 * t**2)))

    def cdf(self, t: Tensor) -> Tensor:
        """``(2 / pi) arctan(t / (1 - t))``."""
        t = t.clamp(0, 1)
        return 2 / math.pi * torch.atan2(t, 1 - t)


@dataclass(frozen=True)
class UShaped(Timesteps):
    """Times at both ends, density ``a cosh(a (t - 1/2)) / (2 sinh(a / 2))``: where the pairs of a reflow are hard.

    It is an exponential law with half of its draws reflected. The sum ``e^(at) + e^(-at)``, often copied, is another
    function: on [0, 1] it rises from one end to the other.

    Args:
        a: steepness, positive.

    Source: Lee et al. 2024 (2-RF++), section 4.1 and its code; a = 4.
    """

    a: float = 4.0

    def __post_init__(self) -> None:
        if not self.a > 0:
            raise InputError("a", expected="a positive steepness", got=self.a)

    def quantile(self, u: Tensor) -> Tensor:
        """``1/2 + arsinh((2u - 1) sinh(a / 2)) / a``."""
        return (0.5 + torch.asinh((2 * u - 1) * math.sinh(0.5 * self.a)) / self.a).clamp(0, 1)

    def density(self, t: Tensor) -> Tensor:
        """``a cosh(a (t - 1/2)) / (2 sinh(a / 2))``."""
        return _inside(t, self.a * torch.cosh(self.a * (t - 0.5)) / (2 * math.sinh(0.5 * self.a)))

    def cdf(self, t: Tensor) -> Tensor:
        """``1/2 + sinh(a (t - 1/2)) / (2 sinh(a / 2))``."""
        return 0.5 + torch.sinh(self.a * (t.clamp(0, 1) - 0.5)) / (2 * math.sinh(0.5 * self.a))


def shift_time(t: Tensor, shift: float) -> Tensor:
    """Move times towards noise, ``t / (a - (a - 1) t)``: the log-SNR of the straight path falls by ``2 ln a``.

    Shifts compose by product, and 1/a undoes a. A picture of m pixels hides as much at the shifted time as one of n
    pixels at t when ``a = sqrt(m / n)``, on a constant picture; SD3 used 3 where this says 4.

    Args:
        t: times in [0, 1], any shape.
        shift: a > 0; above 1 for more noise.

    Source: Esser et al. 2024 (SD3), equation 23, at s = 1 - t. Chapter 08 derives it.
    """
    if not shift > 0:
        raise InputError("shift", expected="a positive number", got=shift, cure="1 leaves the times alone")
    return t / (shift - (shift - 1) * t)


@dataclass(frozen=True)
class Shifted(Timesteps):
    """Another sampler's times, moved towards noise by ``shift_time``.

    Args:
        base: the sampler whose draws are moved.
        shift: a > 0.
    """

    base: Timesteps
    shift: float

    def __post_init__(self) -> None:
        shift_time(torch.zeros(()), self.shift)

    def quantile(self, u: Tensor) -> Tensor:
        """The base's quantile, shifted."""
        return shift_time(self.base.quantile(u), self.shift)

    def density(self, t: Tensor) -> Tensor:
        """``p(r) dr/dt`` with the base's density p, ``r = shift_time(t, 1/a)``, ``dr/dt = a / (1 + (a - 1) t)^2``."""
        inner = t.clamp(0, 1)
        slope = self.shift / (1 + (self.shift - 1) * inner) ** 2
        return _inside(t, self.base.density(shift_time(inner, 1 / self.shift)) * slope)

    def cdf(self, t: Tensor) -> Tensor:
        """The base's cdf at the time that was shifted to t."""
        return self.base.cdf(shift_time(t.clamp(0, 1), 1 / self.shift))


@dataclass(frozen=True)
class Stratified(Timesteps):
    """The same law with draws spread evenly over a batch, ``quantile((i + U) / n)``, one in each n-th of the mass.

    Every draw alone has the base's density, so a mean over the batch keeps its expectation; its variance falls. The
    order is shuffled: rows of a batch may be sorted by class.

    Args:
        base: the sampler whose law is kept.
    """

    base: Timesteps = Uniform()

    def quantile(self, u: Tensor) -> Tensor:
        """The base's."""
        return self.base.quantile(u)

    def density(self, t: Tensor) -> Tensor:
        """The base's."""
        return self.base.density(t)

    def cdf(self, t: Tensor) -> Tensor:
        """The base's."""
        return self.base.cdf(t)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``n`` times, (n,), no longer independent of each other."""
        u = _rand(n, generator)
        order = torch.randperm(n, device=u.device, generator=generator)
        return self.quantile(((order + u) / n).clamp(max=1 - torch.finfo(u.dtype).eps / 2))  # the largest below 1


def _rand(n: int, generator: torch.Generator | None) -> Tensor:
    return torch.rand(n, device=None if generator is None else generator.device, generator=generator)


def _inside(t: Tensor, density: Tensor) -> Tensor:
    return torch.where((t >= 0) & (t <= 1), density, torch.zeros_like(density))
