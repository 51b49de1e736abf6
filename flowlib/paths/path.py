"""The straight-line-in-(x_0, x_1) family of probability paths, and what follows for all of its members."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from flowlib.errors import InputError
from flowlib.shapes import Batch, Field, PerSample
from flowlib.tensors import check_same_shape, check_time, per_sample

Quantity = Literal["velocity", "data", "noise", "score"]


class PathSample(NamedTuple):
    """A point of the path and its velocity.

    Attributes:
        x_t: ``alpha_t x_1 + sigma_t x_0``, (B, *event).
        dx_t: ``d_alpha_t x_1 + d_sigma_t x_0``, its derivative with respect to t, (B, *event).
    """

    x_t: Tensor
    dx_t: Tensor


class Path(ABC):
    """Interpolation ``x_t = alpha_t x_1 + sigma_t x_0`` between noise x_0 (t = 0) and data x_1 (t = 1).

    A member states ``alpha``, ``sigma`` and their derivatives; everything else is derived here, once.
    Source: Lipman et al. 2023 (flow matching), section 4; chapter 06 derives the members.
    """

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Scale of the data at time t, any shape."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Scale of the noise at time t, any shape."""

    @abstractmethod
    def d_alpha(self, t: Tensor) -> Tensor:
        """Derivative ``d alpha_t / dt``."""

    @abstractmethod
    def d_sigma(self, t: Tensor) -> Tensor:
        """Derivative ``d sigma_t / dt``; infinite for VP at t = 1."""

    def sigma_d_sigma(self, t: Tensor) -> Tensor:
        """Product ``sigma_t d_sigma_t = 1/2 d(sigma_t^2)/dt``, finite even where d_sigma is not."""
        return self.sigma(t) * self.d_sigma(t)

    def check_velocity(self, t: Tensor) -> None:  # noqa: B027  most members have nothing to check
        """Raise ``InputError`` at a time where dx_t is infinite."""

    def snr(self, t: Tensor) -> Tensor:
        """Signal-to-noise ratio ``alpha_t^2 / sigma_t^2``; infinite where no noise is left."""
        return (self.alpha(t) / self.sigma(t)) ** 2

    def time_at_snr(self, snr: Tensor) -> Tensor:
        """Inverse of ``snr``: the time t at which ``alpha_t^2 / sigma_t^2 = snr``, by bisection, since it only rises.

        Args:
            snr: signal-to-noise ratios, any shape, zero and infinity included where the path reaches them.

        Raises:
            InputError: a ratio that the path does not reach.
        """
        low, high = torch.zeros_like(snr), torch.ones_like(snr)
        if not bool(((self.snr(low) <= snr) & (snr <= self.snr(high))).all()):
            least, most = (float(self.snr(u).max()) for u in (low, high))
            raise InputError("snr", expected=f"{least:.3g} to {most:.3g}, the reach of {self}", got=snr)
        for _ in range(64):
            middle = (low + high) / 2
            below = self.snr(middle) < snr
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return torch.where(self.snr(high) <= snr, high, low)

    def diffusion(self, t: Tensor) -> Tensor:
        """Coefficient ``w_t = sigma_t D_t / alpha_t`` of the diffusion whose marginals are those of the path.

        The velocity is ``v = (d_alpha_t / alpha_t) x + w_t score``. With ``dW`` the noise of a Wiener process,
        ``dx = (d_alpha_t / alpha_t) x dt + 2 w_t score dt + sqrt(2 w_t) dW`` turns noise into data: the reverse of
        the diffusion that ``dx = -(d_alpha_t / alpha_t) x dr + sqrt(2 w_t) dW``, r = 1 - t, makes of data. On VP
        ``w_t = beta(1 - t) / 2``; on a path without data at t = 0 it is infinite there.

        Source: Song et al. 2021 (score SDE), section 3.3; Ma et al. 2024 (SiT), section 2. Chapter 03.
        """
        return self._sigma_det(t) / self.alpha(t)

    @property
    def end(self) -> float:
        """Last time at which the velocity is finite: 1, or just before it where ``d_sigma`` is infinite at 1 (VP)."""
        return 1.0

    def source(self, x_0: Batch) -> Batch:
        """Start of the path, ``sigma_0 x_0``: what standard normal noise becomes at t = 0 (VE: 50 x_0)."""
        return self.sigma(torch.zeros((), dtype=x_0.dtype, device=x_0.device)) * x_0

    def sample(self, x_0: Batch, x_1: Batch, t: PerSample, generator: torch.Generator | None = None) -> PathSample:
        """Point and velocity ``x_t, dx_t`` of the path from x_0 to x_1 at time t.

        Args:
            x_0: noise or source samples, (B, *event).
            x_1: data, (B, *event).
            t: times in [0, 1], (B,).
            generator: randomness of a path that adds noise of its own; these do not.

        Raises:
            InputError: shapes that differ, a time outside [0, 1], or one at which the velocity is infinite (VP, t = 1).
        """
        check_same_shape("x_0", x_0, "x_1", x_1)
        check_time(t, x_1)
        self.check_velocity(t)
        t = per_sample(t, x_1)
        alpha_t, sigma_t, d_alpha_t, d_sigma_t = self.alpha(t), self.sigma(t), self.d_alpha(t), self.d_sigma(t)
        return PathSample(alpha_t * x_1 + sigma_t * x_0, d_alpha_t * x_1 + d_sigma_t * x_0)

    def convert(self, value: Batch, x_t: Batch, t: PerSample, *, have: Quantity, want: Quantity) -> Batch:
        """Turn one prediction about x_t into another: velocity, data (x_1), noise (x_0) or score.

        Each of them is a known combination, ``r value = p x_1 + q x_0``; with ``x_t = alpha_t x_1 + sigma_t x_0`` that
        makes two linear equations in two unknowns, solved here by Cramer's rule for all pairs at once. The same holds
        for conditional means, since they are linear; the score is ``-E[x_0 | x_t] / sigma_t`` for Gaussian x_0. Only
        velocity and score are joined directly, by ``alpha_t v = d_alpha_t x_t + sigma_t D_t score`` with
        ``D = d_alpha sigma - alpha d_sigma``: on VP that is finite at t = 1, where x_0 can no longer be told.

        Args:
            value: the quantity that is known, (B, *event).
            x_t: the point it belongs to, (B, *event).
            t: its time in [0, 1], (B,).
            have: what ``value`` is.
            want: what to return; at an end of the path its limit, where there is one.

        Raises:
            InputError: at an end of the path where ``value`` does not determine ``want``, such as noise -> data at
                alpha_t = 0.

        Source: chapter 08 derives it; the table of SD3 (Esser et al. 2024), section 2, is a special case.
        """
        check_same_shape("value", value, "x_t", x_t)
        check_time(t, x_t)
        (r, p, q), (r_want, p_want, q_want) = self._row(have, t, x_t), self._row(want, t, x_t)
        if have == want:
            return value
        alpha_t, sigma_t = per_sample(self.alpha(t), x_t), per_sample(self.sigma(t), x_t)
        det, det_want = alpha_t * q - sigma_t * p, alpha_t * q_want - sigma_t * p_want
        of_x, of_value, divisor = p_want * q - q_want * p, det_want * r, det * r_want
        if {have, want} == {"velocity", "score"}:
            d_alpha_t, spread = (per_sample(u, x_t) for u in (self.d_alpha(t), self._sigma_det(t)))
            forth = want == "velocity"
            of_x, of_value, divisor = (d_alpha_t, spread, alpha_t) if forth else (-d_alpha_t, alpha_t, spread)
        if bool((divisor == 0).any()):
            at = float(t[divisor.flatten() == 0][0])
            raise InputError(
                "t",
                expected=f"t where {have} determines {want} on {self}",
                got=f"t = {at:g}",
                cure="keep away from that end, or predict another quantity: the velocity serves at both",
            )
        return (of_x * x_t + of_value * value) / divisor

    def field(self, net: Field, have: Quantity = "noise") -> Field:
        """Velocity field v(x, t, c) of a network that predicts ``have``: its output, converted.

        Args:
            net: a network net(x, t, c).
            have: what it predicts; velocity, data, noise or score.

        Raises:
            InputError: when called at an end of the path where ``have`` does not determine the velocity.
        """

        def v(x: Batch, t: PerSample, c: object = None) -> Batch:
            return self.convert(net(x, t, c), x, t, have=have, want="velocity")

        return v

    def _row(self, quantity: Quantity, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Coefficients (r, p, q) with ``r quantity = p x_1 + q x_0``, all finite."""
        one, zero = torch.ones_like(t), torch.zeros_like(t)
        if quantity == "velocity":
            d_sigma_t = self.d_sigma(t)
            scale = torch.where(d_sigma_t.isinf(), self.sigma(t), one)  # VP at t = 1: sigma d_sigma is finite
            row = scale, scale * self.d_alpha(t), torch.where(d_sigma_t.isinf(), self.sigma_d_sigma(t), d_sigma_t)
        elif quantity == "data":
            row = one, one, zero
        elif quantity == "noise":
            row = one, zero, one
        elif quantity == "score":
            row = self.sigma(t), zero, -one
        else:
            raise InputError("have/want", expected="velocity, data, noise or score", got=repr(quantity))
        r, p, q = (per_sample(u, x) for u in row)
        return r, p, q

    def _sigma_det(self, t: Tensor) -> Tensor:
        """``sigma_t D_t = d_alpha_t sigma_t^2 - alpha_t sigma_t d_sigma_t``, finite everywhere."""
        return self.d_alpha(t) * self.sigma(t) ** 2 - self.alpha(t) * self.sigma_d_sigma(t)
