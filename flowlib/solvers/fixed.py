"""One Runge-Kutta step for every tableau, and the march over a given grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from flowlib.shapes import Batch
from flowlib.solvers.tableaus import Tableau

Slope = Callable[[Tensor, float], Tensor]  # v(x, t) with one time, a number, for the whole batch


def combine(x: Tensor, dt: float, weights: Sequence[float], k: Sequence[Tensor]) -> Tensor:
    """Return ``x + dt sum_i weights_i k_i``, skipping the zeros of the table."""
    for weight, k_i in zip(weights, k, strict=True):
        if weight:
            x = torch.add(x, k_i, alpha=weight * dt)
    return x


def runge_kutta_step(
    v: Slope, x: Batch, t: float, dt: float, method: Tableau, k_0: Tensor | None = None
) -> tuple[Batch, list[Tensor]]:
    """Take one step of any explicit method: the next x, and the stages k_i for an error estimate or interpolation.

    Args:
        v: slope v(x, t) with t a number.
        x: state, (B, *event).
        t: time of the state.
        dt: step, negative to go backward.
        method: the table of numbers.
        k_0: the first stage, when the step before has computed it.
    """
    k: list[Tensor] = []
    x_i = x
    for i, (c_i, a_i) in enumerate(zip(method.c, method.a, strict=True)):
        x_i = combine(x, dt, a_i, k)
        k.append(k_0 if i == 0 and k_0 is not None else v(x_i, t + c_i * dt))
    return x_i if method.is_fsal else combine(x, dt, method.b, k), k  # such a method ends where its last stage looks


def march(v: Slope, x: Batch, times: Sequence[float], method: Tableau) -> Iterator[Batch]:
    """Yield the state at each of ``times``, with one step between neighbours."""
    yield x
    for t, t_next in pairwise(times):
        x, _ = runge_kutta_step(v, x, t, t_next - t, method)
        yield x
