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
        alpha_t, sigma_t, d_alpha_t, d_sigma_t = (
            per_sample(u, x_1) for u in (self.alpha(t), self.sigma(t), self.d_alpha(t), self.d_sigma(t))
        )
        return PathSample(alpha_t * x_1 + sigma_t * x_0, d_alpha_t * x_1 + d_sigma_t * x_0)

    def convert(self, value: Batch, x_t: Batch, t: PerSample, *, have: Quantity, want: Quantity) -> Batch:
        """Turn one prediction about x_t into another: velocity, data (x_1), noise (x_0) or score.

        Each of them is a known combination ``p x_1 + q x_0``; with ``alpha_t x_1 + sigma_t x_0 = x_t`` that makes two
        linear equations in two unknowns, solved here by Cramer's rule for all sixteen cases. The same holds for
        conditional means, since they are linear; the score is ``-E[x_0 | x_t] / sigma_t`` for Gaussian x_0.

        Args:
            value: the quantity that is known, (B, *event).
            x_t: the point it belongs to, (B, *event).
            t: its time in [0, 1], (B,).
            have: what ``value`` is.
            want: what to return.

        Raises:
            InputError: at an end of the path where ``value`` does not determine ``want``, such as noise -> data at
                alpha_t = 0.

        Source: chapter 08 derives it; the table of SD3 (Esser et al. 2024), section 2, is a special case.
        """
        check_same_shape("value", value, "x_t", x_t)
        check_time(t, x_t)
        if have == want:
            return value
        alpha_t, sigma_t = per_sample(self.alpha(t), x_t), per_sample(self.sigma(t), x_t)
        if have == "score":
            have, value = "noise", -sigma_t * value
        p, q = self._combination(have, t, x_t)
        det = alpha_t * q - sigma_t * p
        if bool((det == 0).any()):
            end = "0" if have == "noise" else "1"
            raise InputError("t", expected=f"t where {have} determines {want}", got=f"t = {end}", cure="stay inside")
        x_1, x_0 = (q * x_t - sigma_t * value) / det, (alpha_t * value - p * x_t) / det
        if want == "score":
            if bool((sigma_t == 0).any()):
                raise InputError("t", expected="sigma_t > 0, where a score exists", got="sigma_t = 0", cure="use t < 1")
            return -x_0 / sigma_t
        p, q = self._combination(want, t, x_t)
        return p * x_1 + q * x_0

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

    def _combination(self, quantity: Quantity, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients (p, q) with ``quantity = p x_1 + q x_0``."""
        one, zero = torch.ones_like(t), torch.zeros_like(t)
        coefficients = {
            "velocity": lambda: (self.d_alpha(t), self.d_sigma(t)),
            "data": lambda: (one, zero),
            "noise": lambda: (zero, one),
        }
        if quantity not in coefficients:
            raise InputError("have/want", expected="velocity, data, noise or score", got=repr(quantity))
        p, q = coefficients[quantity]()
        return per_sample(p, x), per_sample(q, x)
