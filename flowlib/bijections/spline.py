"""Monotonic rational-quadratic splines: flexible increasing maps with an inverse in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from flowlib.bijections.bijection import Elementwise
from flowlib.errors import InputError

MIN_SIZE, MIN_SLOPE = 1e-3, 1e-3  # least share of the interval for a bin, least slope at a knot


@dataclass(frozen=True)
class RationalQuadraticSpline(Elementwise):
    """Increasing map of [-b, b] onto itself by K rational-quadratic pieces, the identity outside (linear tails).

    The first K of the parameters theta give the widths of the bins and the next K their heights, as shares of the
    interval (softmax); the last K - 1 give the slopes at the inner knots. At the ends the slope is 1, so that the
    derivative is continuous there.

    Attributes:
        bins: K.
        bound: b.

    Raises:
        InputError: no bin, more bins than their least width lets in, or an interval without length.

    Source: neural spline flows (Durkan et al. 2019), section 3.1.
    """

    bins: int = 8
    bound: float = 5.0

    def __post_init__(self) -> None:
        if not 1 <= self.bins < 1 / MIN_SIZE:
            raise InputError("bins", expected=f"1 to {round(1 / MIN_SIZE) - 1}", got=self.bins)
        if not self.bound > 0:
            raise InputError("bound", expected="a positive number", got=self.bound)

    @property
    def num_params(self) -> int:  # type: ignore[override]
        """P = 3 K - 1."""
        return 3 * self.bins - 1

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Value and log-slope of the spline."""
        inside = x.clamp(-self.bound, self.bound)
        return _with_tails(x, inside, *_evaluate(inside, self.knots(theta)))

    def inverse(self, z: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Value and log-slope of its inverse."""
        inside = z.clamp(-self.bound, self.bound)
        return _with_tails(z, inside, *_invert(inside, self.knots(theta)))

    def knots(self, theta: Tensor) -> Tensor:
        """Knots from parameters (P, ...): x_k, y_k and the slopes there, k = 0 .. K, as one tensor (3, K + 1, ...)."""
        k, b, rest = self.bins, self.bound, theta.shape[1:]
        sizes, slopes = theta.split([2 * k, k - 1])
        shares = sizes.reshape(2, k, *rest).softmax(1)
        # Shares become MIN_SIZE + (1 - K MIN_SIZE) share before they are summed up; this even grid is the first part.
        even = torch.linspace(-b, b * (2 * k * MIN_SIZE - 1), k + 1, dtype=theta.dtype, device=theta.device)
        even = even[1:].reshape(k, *(1,) * len(rest))
        x, y = torch.add(even, shares.cumsum(1), alpha=2 * b * (1 - k * MIN_SIZE))[:, :-1]
        # 1 + elu is e^u below 0 and 1 + u above: positive, 1 where u = 0, and no overflow.
        slopes = 1 + F.elu(slopes, alpha=1 - MIN_SLOPE)
        # The ends are put there: a sum would miss b by a rounding, and the last bin reach beyond it or not so far.
        low, high, one = (theta.new_full((1, *rest), end) for end in (-b, b, 1.0))
        return torch.cat([low, x, high, low, y, high, one, slopes, one]).reshape(3, k + 1, *rest)


def rational_quadratic(x: Tensor, knots: Tensor) -> tuple[Tensor, Tensor]:
    """Value and log-slope at x of the rational-quadratic spline through given knots, continued by straight lines.

    In the bin from (x_0, y_0), slope d_0, to (x_1, y_1), slope d_1, with ``s = (y_1 - y_0) / (x_1 - x_0)`` and
    ``xi = (x - x_0) / (x_1 - x_0)``::

        y = y_0 + (y_1 - y_0) (s xi^2 + d_0 xi (1 - xi)) / den,    den = s + (d_0 + d_1 - 2 s) xi (1 - xi)
        dy/dx = s^2 (d_1 xi^2 + 2 s xi (1 - xi) + d_0 (1 - xi)^2) / den^2

    Args:
        x: points, (...).
        knots: x_k, y_k and the slopes there, (3, K + 1) for one spline or (3, K + 1, ...) for one at each point.

    Raises:
        InputError: knots that do not increase, slopes that are not positive, another shape.

    Source: Gregory and Delbourgo 1982; Durkan et al. 2019, section 3.1.
    """
    knots = _checked(knots, x)
    inside = x.clamp(knots[0, 0], knots[0, -1])
    y, log_slope = _evaluate(inside, knots)
    return y + (x - inside) * log_slope.exp(), log_slope


def rational_quadratic_inverse(z: Tensor, knots: Tensor) -> tuple[Tensor, Tensor]:
    """Value and log-slope at z of the inverse of ``rational_quadratic``: the root of a quadratic.

    Source: Durkan et al. 2019, section 3.1 and appendix A.
    """
    knots = _checked(knots, z)
    inside = z.clamp(knots[1, 0], knots[1, -1])
    x, log_slope = _invert(inside, knots)
    return x + (z - inside) * log_slope.exp(), log_slope


def _checked(knots: Tensor, x: Tensor) -> Tensor:
    k = knots.shape[1] if knots.ndim > 1 else 0
    if k < 2 or knots.shape not in ((3, k), (3, k, *x.shape)):
        raise InputError("knots", expected=f"shape (3, K + 1) or {(3, 'K + 1', *x.shape)}", got=tuple(knots.shape))
    if not bool((knots[:2].diff(dim=1) > 0).all()):
        raise InputError(
            "knots", expected="x_k and y_k that increase with k", got="unsorted knots", cure="cumulate positive widths"
        )
    if not bool((knots[2] > 0).all()):
        raise InputError("knots", expected="positive slopes", got=f"a slope of {float(knots[2].min()):g}")
    return knots.reshape(3, k, *(1,) * x.ndim).expand(3, k, *x.shape) if knots.ndim == 2 else knots


def _with_tails(x: Tensor, inside: Tensor, z: Tensor, log_slope: Tensor) -> tuple[Tensor, Tensor]:
    """Value and log-slope of the spline where x is inside, of the identity beyond; exactly, whatever roundings say."""
    tail = x != inside
    return torch.where(tail, x, z), torch.where(tail, 0, log_slope)


def _bin_of(x: Tensor, along: int, knots: Tensor) -> tuple[Tensor, ...]:
    """Ends x_0, x_1, y_0, y_1, d_0, d_1 of the bin that holds x along row 0 (x_k) or 1 (y_k) of the knots."""
    k = (x >= knots[along, 1:-1]).sum(0)
    return knots.gather(1, torch.stack([k, k + 1]).expand(3, 2, *k.shape)).flatten(0, 1).unbind()


def _evaluate(x: Tensor, knots: Tensor) -> tuple[Tensor, Tensor]:
    x_0, x_1, y_0, y_1, d_0, d_1 = _bin_of(x, 0, knots)
    width, height = x_1 - x_0, y_1 - y_0
    rise, log_slope = _rise((x - x_0) / width, height / width, d_0, d_1)
    return torch.addcmul(y_0, height, rise), log_slope


def _invert(z: Tensor, knots: Tensor) -> tuple[Tensor, Tensor]:
    x_0, x_1, y_0, y_1, d_0, d_1 = _bin_of(z, 1, knots)
    width, height = x_1 - x_0, y_1 - y_0
    s, rise = height / width, (z - y_0) / height
    # xi solves a xi^2 + b xi + c = 0 with c <= 0; q adds two numbers of one sign, so that nothing cancels.
    bend = rise * (d_0 + d_1 - 2 * s)
    a, b, c = s - d_0 + bend, d_0 - bend, -s * rise
    root = (b * b - 4 * a * c).clamp_min(0).sqrt()
    q = -0.5 * (b + root.copysign(b))
    xi = (torch.where(b >= 0, c, q) / torch.where(b >= 0, q, a)).clamp(0, 1)
    _, log_slope = _rise(xi, s, d_0, d_1)
    return torch.addcmul(x_0, width, xi), -log_slope


def _rise(xi: Tensor, s: Tensor, d_0: Tensor, d_1: Tensor) -> tuple[Tensor, Tensor]:
    """Share of the bin's height reached at xi, and the log-slope there.

    The formulas of ``rational_quadratic`` as nested interpolations of positive numbers: nothing cancels in float32.
    """
    left, right = torch.lerp(d_0, s, xi), torch.lerp(s, d_1, xi)
    den = torch.lerp(right, left, xi)
    return xi * left / den, torch.add(torch.lerp(left, right, xi).log(), (s / den).log(), alpha=2)
