"""The one door to the solvers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from flowlib.errors import InputError
from flowlib.shapes import Batch, Field, Times
from flowlib.solvers.adaptive import march_adaptive
from flowlib.solvers.fixed import march
from flowlib.solvers.tableaus import HEUN, Tableau
from flowlib.tensors import check_finite


@dataclass(frozen=True)
class Solution:
    """A solved ODE.

    Attributes:
        times: where the trajectory was kept, (T,).
        trajectory: the states there, (T, B, *event).
        nfe: number of evaluations of the field.
    """

    times: Tensor
    trajectory: Tensor
    nfe: int

    @property
    def x(self) -> Tensor:
        """The last state, (B, *event)."""
        return self.trajectory[-1]


def solve(
    v: Field, x_0: Batch, times: Times, method: Tableau = HEUN, *, rtol: float = 1e-5, atol: float = 1e-6
) -> Solution:
    """Solve ``dx/dt = v(x, t)`` from ``x(times[0]) = x_0`` and keep the states at ``times``.

    A method with an error estimate (DOPRI5) chooses its own steps and interpolates; every other takes one step between
    neighbouring times. Decreasing times solve backward, from data to noise. Gradients flow through.

    Args:
        v: the field; called as v(x, t) with t of shape (B,). Bind a condition first: ``lambda x, t: v(x, t, c)``.
        x_0: initial states, (B, *event); the name is that of the first of ``times``, whatever that time is.
        times: (T,), strictly increasing or strictly decreasing, T >= 2.
        method: a Butcher tableau.
        rtol: relative tolerance of a step, for DOPRI5.
        atol: absolute tolerance of a step, for DOPRI5.

    Raises:
        InputError: times that do not run one way, NaN in x_0, a field of another shape or one that steps cannot follow.

    >>> solve(lambda x, t: -x, torch.ones(1, 1), torch.linspace(0, 1, 3)).x
    tensor([[0.3906]])

    Chapter 02 derives and compares the methods, chapter 04 samples with it.
    """
    slope = _Slope(v)
    states = list(_march(slope, x_0, times, method, rtol, atol))
    return Solution(times, torch.stack(states), slope.nfe)


def solve_end(
    v: Field, x_0: Batch, times: Times, method: Tableau = HEUN, *, rtol: float = 1e-5, atol: float = 1e-6
) -> tuple[Batch, int]:
    """Solve like ``solve``, but keep no state except the last: memory does not grow with the number of times.

    Returns:
        The last state (B, *event), and the number of evaluations of the field.
    """
    slope, x = _Slope(v), x_0
    for x in _march(slope, x_0, times, method, rtol, atol):  # noqa: B007  the last one is wanted
        pass
    return x, slope.nfe


class _Slope:
    """The field at one time for all, and how often it was called."""

    def __init__(self, v: Field) -> None:
        self.v, self.nfe = v, 0

    def __call__(self, x: Tensor, t: float) -> Tensor:
        self.nfe += 1
        value = self.v(x, torch.full((len(x),), t, dtype=x.dtype, device=x.device))
        if value.shape != x.shape:
            raise InputError(
                "v", expected=f"a field shaped like x, {tuple(x.shape)}", got=f"a value of shape {tuple(value.shape)}"
            )
        return value


def _march(slope: _Slope, x_0: Tensor, times: Tensor, method: Tableau, rtol: float, atol: float) -> Iterator[Tensor]:
    """The states at ``times``, one after the other."""
    grid = _grid(times)
    check_finite("x_0", x_0)
    if method.error is None:
        return march(slope, x_0, grid, method)
    if min(rtol, atol) < 0 or rtol + atol <= 0:
        raise InputError("rtol, atol", expected="tolerances that are not negative, one positive", got=(rtol, atol))
    return march_adaptive(slope, x_0, grid, method, rtol, atol)


def _grid(times: Tensor) -> list[float]:
    steps = times.diff() if times.ndim else times
    one_way = bool((steps > 0).all()) or bool((steps < 0).all())
    if times.ndim != 1 or len(times) < 2 or not one_way:
        raise InputError(
            "times",
            expected="at least two times, strictly increasing or decreasing",
            got=times.tolist(),
            cure="torch.linspace(0, 1, steps + 1) is a plain grid",
        )
    return times.tolist()
