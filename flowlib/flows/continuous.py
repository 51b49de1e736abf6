"""A velocity field as a probability model: the two verbs log_prob and sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from flowlib.densities import Density
from flowlib.derivatives import divergence, vjp
from flowlib.errors import InputError
from flowlib.flows.normalizing import Flow
from flowlib.shapes import Batch, Field, PerSample
from flowlib.solvers import DOPRI5, Tableau, solve_adjoint, solve_end
from flowlib.tensors import randn, sum_event

Probe = Literal["rademacher", "gaussian"]


@dataclass(frozen=True)
class PathIntegrals:
    """What was collected along the trajectories that end in a batch of samples.

    Attributes:
        log_p: log-density there, in nats, (B,).
        kinetic: energy ``int_0^1 |v(x_t, t)|^2 dt``, (B,).
        jacobian: estimate ``int_0^1 |eps^T dv/dx|^2 dt`` of the squared Frobenius norm of the Jacobian, (B,).
        nfe: number of evaluations of the field.
    """

    log_p: Tensor
    kinetic: Tensor
    jacobian: Tensor
    nfe: int


class CNF(Flow):
    """Continuous normalizing flow: x_0 ~ p_0 moved by ``dx/dt = v(x, t, c)`` from t = 0 to t = 1.

    Along a trajectory ``d log p_t(x_t) / dt = -div v(x_t, t)``. So, from the trajectory that ends in x_1 = x::

        log p(x) = log p_0(x_0) - int_0^1 div v(x_t, t) dt

    Args:
        v: the field.
        event_shape: shape of one sample.
        method: solver; DOPRI5 chooses its steps.
        tolerance: relative and absolute tolerance of a solver that chooses its steps.
        steps: number of equal steps of a solver that does not.
        probe: None for the exact divergence, n backward passes an evaluation for n coordinates; or the law of the probe
            of Hutchinson's estimate, one pass. One probe a sample is drawn for each solve and kept through it.
        adjoint: gradients by a second ODE in constant memory, in place of backpropagation through the steps. Reaches
            the parameters of v and c; not the replicas of ``nn.DataParallel``, which have none.
        base: p_0; N(0, I) when left out.

    Raises:
        InputError: samples of another shape, NaN, a probe of another name, the adjoint of a v that is no module.

    Source: Chen et al. 2018, theorem 1; FFJORD, equations 2 to 4. Chapter 02 derives it, chapter 04 takes a first look.
    """

    end = 1.0  # the time of the data, where solves to the base begin

    def __init__(
        self,
        v: Field,
        event_shape: tuple[int, ...],
        *,
        method: Tableau = DOPRI5,
        tolerance: float = 1e-5,
        steps: int = 20,
        probe: Probe | None = None,
        adjoint: bool = False,
        base: Density | None = None,
    ) -> None:
        super().__init__(event_shape, base)
        if probe not in (None, "rademacher", "gaussian"):
            raise InputError("probe", expected='None, "rademacher" or "gaussian"', got=repr(probe))
        if adjoint and not isinstance(v, nn.Module):
            raise InputError("v", expected="an nn.Module, whose parameters the adjoint can find", got=type(v).__name__)
        if steps < 1:
            raise InputError("steps", expected="at least 1", got=steps)
        self.v = v
        self.method = method
        self.tolerance = tolerance
        self.steps = steps
        self.probe = probe
        self.adjoint = adjoint

    def velocity(self, x: Batch, t: PerSample, c: Tensor | None = None) -> Batch:
        """Velocity of the flow, (B, *event): the field itself."""
        return self.v(x, t, c)

    def log_prob(self, x: Batch, c: Tensor | None = None, generator: torch.Generator | None = None) -> PerSample:
        """Log-density of the model at x, in nats, (B,); ``generator`` draws the probe, if there is one."""
        x_0, collected, _ = self._to_base(x, c, generator, with_costs=False)
        return self.log_base(x_0) + collected[:, 0]

    def path_integrals(
        self, x: Batch, c: Tensor | None = None, generator: torch.Generator | None = None
    ) -> PathIntegrals:
        """Log-density at x with the costs that keep a flow easy to solve, from the same solve.

        The estimate of the Jacobian's norm takes a probe of its own where the divergence is exact.

        Source: RNODE (Finlay et al. 2020).
        """
        x_0, collected, nfe = self._to_base(x, c, generator, with_costs=True)
        minus_div, minus_kinetic, minus_jacobian = collected.unbind(1)
        return PathIntegrals(self.log_base(x_0) + minus_div, -minus_kinetic, -minus_jacobian, nfe)

    @torch.no_grad()
    def sample(self, n: int, c: Tensor | None = None, generator: torch.Generator | None = None) -> Batch:
        """Draw ``n`` samples, (n, *event)."""
        x_0 = self.draw_base(n, generator)
        return self._solve(lambda x, t: self.velocity(x, t, c), x_0, self._times(x_0).flip(0), ())[0]

    def _to_base(
        self, x: Tensor, c: Tensor | None, generator: torch.Generator | None, *, with_costs: bool
    ) -> tuple[Tensor, Tensor, int]:
        """Solve from t = 1 to 0: x_0, the integrals from 1 to 0 (minus those from 0 to 1), (B, 1 or 3), and the NFE."""
        self.check(x)
        eps = None if self.probe is None and not with_costs else self._draw_probe(x, generator)

        # The state is x with one more coordinate for each integral.
        def joint(state: Tensor, t: Tensor) -> Tensor:
            y = state[:, : x[0].numel()].reshape(x.shape)
            dx, *rates = self._rates(lambda y: self.velocity(y, t, c), y, eps, with_costs)
            return torch.cat([dx.flatten(1), torch.stack(rates, 1)], 1)

        state = torch.cat([x.flatten(1), x.new_zeros(len(x), 3 if with_costs else 1)], 1)
        learned = () if c is None or not c.requires_grad else (c,)
        end, nfe = self._solve(joint, state, self._times(x), learned)
        x_0, collected = end.tensor_split([x[0].numel()], 1)
        return x_0.reshape(x.shape), collected, nfe

    def _rates(self, v: Field, x: Tensor, eps: Tensor | None, with_costs: bool) -> list[Tensor]:
        """Velocity, divergence and, if asked for, the rates of both costs."""
        if eps is None:
            return list(divergence(v, x))
        dx, row = vjp(v, x, eps)
        div = divergence(v, x)[1] if self.probe is None else sum_event(row * eps)
        return [dx, div, sum_event(dx.square()), sum_event(row.square())] if with_costs else [dx, div]

    def _draw_probe(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        eps = randn(x.shape, like=x, generator=generator)
        return eps if self.probe == "gaussian" else eps.sign()

    def _times(self, x: Tensor) -> Tensor:
        """Grid from the end to 0: both ends for a solver that chooses its steps."""
        n = 1 if self.method.error else self.steps
        return torch.linspace(self.end, 0, n + 1, dtype=x.dtype)

    def _solve(self, field: Field, state: Tensor, times: Tensor, learned: tuple[Tensor, ...]) -> tuple[Tensor, int]:
        tolerance = {"rtol": self.tolerance, "atol": self.tolerance}
        if self.adjoint and torch.is_grad_enabled():
            parameters = [p for p in self.parameters() if p.requires_grad]
            return solve_adjoint(field, state, times, self.method, parameters=[*parameters, *learned], **tolerance)
        return solve_end(field, state, times, self.method, **tolerance)
