"""A velocity field as a probability model: the two verbs log_prob and sample."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from flowlib.derivatives import divergence
from flowlib.errors import InputError
from flowlib.shapes import Batch, Field, PerSample
from flowlib.solvers import DOPRI5, Tableau, solve
from flowlib.tensors import check_finite, randn, sum_event


class CNF(nn.Module):
    """Continuous normalizing flow: x_0 ~ N(0, I) moved by ``dx/dt = v(x, t, c)`` from t = 0 to t = 1.

    Along a trajectory ``d log p_t(x_t) / dt = -div v(x_t, t)``. So, from the trajectory that ends in x_1 = x::

        log p(x) = log N(x_0; 0, I) - int_0^1 div v(x_t, t) dt

    Args:
        v: the field.
        event_shape: shape of one sample.
        method: solver; DOPRI5 chooses its steps.
        tolerance: relative and absolute tolerance of the solver.

    Source: Chen et al. 2018, theorem 1; FFJORD, equations 2 to 4. Chapter 02 derives it, chapter 04 takes a first look.
    """

    def __init__(
        self, v: Field, event_shape: tuple[int, ...], *, method: Tableau = DOPRI5, tolerance: float = 1e-5
    ) -> None:
        super().__init__()
        self.v = v
        self.event_shape = tuple(event_shape)
        self.method = method
        self.tolerance = tolerance

    def log_prob(self, x: Batch, c: Tensor | None = None) -> PerSample:
        """Log-density of the model at x, in nats, (B,), with the exact divergence (n backward passes an evaluation).

        Raises:
            InputError: samples of another shape, NaN.
        """
        if tuple(x.shape[1:]) != self.event_shape:
            raise InputError("x", expected=f"events of shape {self.event_shape}", got=f"shape {tuple(x.shape)}")
        check_finite("x", x)

        # The state is x with one more coordinate, which collects the divergence.
        def joint(state: Tensor, t: Tensor) -> Tensor:
            dx, div = divergence(lambda y: self.v(y, t, c), state[:, :-1].reshape(x.shape))
            return torch.cat([dx.flatten(1), div[:, None]], 1)

        state = torch.cat([x.flatten(1), x.new_zeros(len(x), 1)], 1)
        end = self._solve(joint, state, x.new_tensor([1.0, 0.0]))
        x_0, minus_integral = end[:, :-1], end[:, -1]
        log_p_0 = -0.5 * sum_event(x_0**2 + math.log(2 * math.pi))
        return log_p_0 + minus_integral

    @torch.no_grad()
    def sample(self, n: int, c: Tensor | None = None, generator: torch.Generator | None = None) -> Batch:
        """Draw ``n`` samples, (n, *event)."""
        like = next(self.parameters(), torch.empty(0))
        x_0 = randn((n, *self.event_shape), like=like, generator=generator)
        return self._solve(lambda x, t: self.v(x, t, c), x_0, x_0.new_tensor([0.0, 1.0]))

    def _solve(self, field: Field, state: Tensor, times: Tensor) -> Tensor:
        return solve(field, state, times, self.method, rtol=self.tolerance, atol=self.tolerance).x
