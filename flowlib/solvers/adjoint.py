"""The adjoint method: gradients of a solved ODE in memory that does not grow with the number of steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from flowlib.errors import InputError
from flowlib.shapes import Batch, Field, Times
from flowlib.solvers.solve import solve_end
from flowlib.solvers.tableaus import HEUN, Tableau


def solve_adjoint(
    v: Field,
    x_0: Batch,
    times: Times,
    method: Tableau = HEUN,
    *,
    parameters: Sequence[Tensor],
    rtol: float = 1e-5,
    atol: float = 1e-6,
) -> tuple[Batch, int]:
    """Solve like ``solve_end``, and differentiate the last state by solving a second ODE backward.

    With x_1 the last state, a(t) = dL/dx(t) and theta the parameters of v::

        da/dt = -a^T dv/dx,    dL/dtheta = int a^T dv/dtheta dt

    The way back recomputes x, so no step is remembered. It is the gradient of the ODE, not of the steps that were
    taken: it agrees with backpropagation as far as both solves are accurate. A stiff field can make the way back
    inaccurate; compare the two once before a long run.

    Args:
        v: the field v(x, t).
        x_0: initial states, (B, *event).
        times: (T,), increasing or decreasing; a method with fixed steps takes one between neighbours.
        method: a Butcher tableau.
        parameters: every tensor inside v that is to get a gradient; those that are left out get none.
        rtol: relative tolerance of a step, for DOPRI5.
        atol: absolute tolerance of a step, for DOPRI5.

    Returns:
        The last state (B, *event), and the number of evaluations of the field on the way there.

    Raises:
        InputError: as ``solve`` does; a parameter that takes no gradient.

    Source: Chen et al. 2018, algorithm 1. Chapter 02 derives it.
    """
    if not all(p.requires_grad for p in parameters):
        raise InputError("parameters", expected="tensors that require a gradient", got="one that does not")
    problem = _Problem(v, times, method, rtol, atol)
    x_1 = _Adjoint.apply(problem, x_0, *parameters)
    return x_1, problem.nfe


@dataclass
class _Problem:
    """What the way there and the way back share, and how often the field was called on the way there."""

    v: Field
    times: Tensor
    method: Tableau
    rtol: float
    atol: float
    nfe: int = 0

    def end(self, v: Field, x: Tensor, times: Tensor) -> tuple[Tensor, int]:
        """Last state and number of evaluations."""
        return solve_end(v, x, times, self.method, rtol=self.rtol, atol=self.atol)


class _Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, problem: _Problem, x_0: Tensor, *parameters: Tensor) -> Tensor:
        x_1, problem.nfe = problem.end(problem.v, x_0.detach(), problem.times)
        ctx.problem = problem
        ctx.save_for_backward(x_1, *parameters)
        return x_1

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x_1, *parameters = ctx.saved_tensors
        problem: _Problem = ctx.problem

        # The state is one row: x, then a, then the gradient of each parameter.
        def backward_field(state: Tensor, t: Tensor) -> Tensor:
            x, a, *_ = _unpack(state, [x_1, x_1])
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                dx = problem.v(x, t.expand(len(x)))
                rates = torch.autograd.grad(dx, (x, *parameters), a, allow_unused=True, materialize_grads=True)
            return _pack([dx.detach(), *(-rate for rate in rates)])

        start = _pack([x_1, gradients[0], *(torch.zeros_like(p) for p in parameters)])
        end, _ = problem.end(backward_field, start, problem.times.flip(0))
        _, a_0, *gradients_of = _unpack(end, [x_1, x_1, *parameters])
        return None, a_0, *gradients_of


def _pack(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.reshape(1, -1) for part in parts], 1)


def _unpack(row: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Cut the head of a row into tensors of the shapes of ``like``."""
    sizes = [part.numel() for part in like]
    pieces = row[0, : sum(sizes)].split(sizes)
    return [piece.reshape(part.shape) for piece, part in zip(pieces, like, strict=True)]
