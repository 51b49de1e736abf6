"""Toy densities in the plane, each with an exact log-density and a known entropy.

All but the checkerboard are Gaussian mixtures: a noisy curve is a mixture of Gaussians that sit on it closer together
than half their width, which no sample can tell from a continuum. So the exact velocity of every path is known too.
Papers share these names for different sets; each docstring says which one it is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from flowlib.densities.density import Density
from flowlib.densities.mixture import GaussianMixture
from flowlib.shapes import Batch, PerSample


def eight_gaussians(radius: float = 2 * math.sqrt(2), std: float = math.sqrt(2) / 4) -> GaussianMixture:
    """Eight Gaussians ``N(m_k, std^2 I)`` on a circle.

    The default is FFJORD's set. The [SF]^2M table uses ``radius=5, std=1``.
    """
    angle = torch.arange(8) * (math.pi / 4)
    return GaussianMixture(radius * _circle(angle), std**2)


def moons(noise: float = 0.05) -> GaussianMixture:
    """Two interleaved half circles of radius 1 with noise ``N(0, noise^2 I)``: scikit-learn's ``make_moons``."""
    angle = _nodes(0, math.pi, noise / 2)
    upper = _circle(angle)
    lower = torch.tensor([1.0, 0.5]) - upper
    return GaussianMixture(torch.cat([upper, lower]), noise**2)


def s_curve(noise: float = 0.05) -> GaussianMixture:
    """An S made of two three-quarter circles, with noise: coordinates 0 and 2 of scikit-learn's ``make_s_curve``."""
    angle = _nodes(-1.5 * math.pi, 1.5 * math.pi, noise / 2)
    return GaussianMixture(torch.stack([angle.sin(), angle.sign() * (angle.cos() - 1)], 1), noise**2)


def rings(radii: tuple[float, ...] = (1.0, 2.0, 3.0), noise: float = 0.1) -> GaussianMixture:
    """Concentric circles of equal mass with noise ``N(0, noise^2 I)``."""
    circles = [r * _circle(_nodes(0, 2 * math.pi, noise / (2 * r))) for r in radii]
    weights = torch.cat([torch.full((len(c),), 1 / len(c)) for c in circles])
    return GaussianMixture(torch.cat(circles), noise**2, weights)


def pinwheel(arms: int = 5, radial: float = 0.3, tangential: float = 0.1, rate: float = 0.25) -> GaussianMixture:
    """Arms that a rotation bends: radius ``r ~ N(1, radial^2)``, turned by ``rate e^r``, scaled by 2.

    The pinwheel of Johnson et al. (2016) with each arm as a mixture of 33 Gaussians along the radius, whose own radial
    width is a quarter of the arm's.
    """
    width = radial / 4
    r = 1 + radial * torch.linspace(-4, 4, 33)
    weight = torch.exp(-((r - 1) ** 2) / (2 * (radial**2 - width**2)))
    angle = (2 * math.pi / arms * torch.arange(arms)[:, None] + rate * r.exp()).flatten()
    turn = torch.stack([_circle(angle), _circle(angle + math.pi / 2)], 2)  # columns: along the radius, across
    spread = torch.tensor([width, tangential]) ** 2
    covariance = torch.einsum("kij,j,klj->kil", turn, spread, turn)
    return GaussianMixture(2 * r.repeat(arms)[:, None] * _circle(angle), 4 * covariance, weight.repeat(arms))


class Checkerboard(Density):
    """Uniform distribution on the eight dark squares of a 4 x 4 board over [-4, 4]^2; entropy ln 32."""

    event_shape = (2,)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Batch:
        """Draw ``n`` independent samples, (n, 2)."""
        square = torch.randint(8, (n,), generator=generator)
        row, column = square // 2, 2 * (square % 2) + square // 2 % 2
        return 2 * (torch.stack([column, row], 1) + torch.rand(n, 2, generator=generator)) - 4

    def log_prob(self, x: Batch) -> PerSample:
        """Log-density: ``-ln 32`` on a dark square, ``-inf`` elsewhere."""
        column, row = ((x + 4) / 2).floor().unbind(1)
        dark = ((column + row) % 2 == 0) & (x.abs().amax(1) <= 4)
        return torch.where(dark, -math.log(32), -math.inf).to(x.dtype)

    def entropy(self) -> float:
        """Entropy ``ln 32`` in nats."""
        return math.log(32)


def checkerboard() -> Checkerboard:
    """The checkerboard of FFJORD: uniform on eight of sixteen squares of side 2."""
    return Checkerboard()


def _circle(angle: Tensor) -> Tensor:
    return torch.stack([angle.cos(), angle.sin()], 1)


def _nodes(start: float, end: float, spacing: float) -> Tensor:
    """Midpoints of equal cells no wider than ``spacing``: on a closed curve no point counts twice."""
    n = math.ceil((end - start) / spacing)
    return start + (end - start) * (torch.arange(n) + 0.5) / n
