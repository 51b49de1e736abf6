"""Steps as long as the tolerance allows: embedded error estimate, PI control, dense output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from flowlib.errors import InputError
from flowlib.shapes import Batch
from flowlib.solvers.fixed import Slope, combine, runge_kutta_step
from flowlib.solvers.tableaus import Tableau

SAFETY, SHRINK, GROW, MEMORY = 0.9, 0.2, 10.0, 0.04
MAX_REJECTED = 100  # in a row: each shrinks the step by up to 5, so the field, not the step, is at fault


def march_adaptive(
    v: Slope, x: Batch, times: Sequence[float], method: Tableau, rtol: float, atol: float
) -> Iterator[Batch]:
    """Yield the state at each of ``times``; steps are chosen so that the local error stays within the tolerance.

    The error of a step is measured over the whole batch, ``rms(error / (atol + rtol |x|)) <= 1``: one hard sample
    shortens the steps of all, and a sample's own error can exceed the tolerance by sqrt(B).

    Raises:
        InputError: the field returned NaN or infinity, or no step was short enough.

    Source: Hairer, Norsett, Wanner I, section II.4 (step control, with the constants of their code DOPRI5 in the
    appendix) and II.6 (dense output).
    """
    yield x
    t, end = times[0], times[-1]
    direction = 1.0 if end > t else -1.0
    slope = v(x, t)
    dt = direction * _first_step(v, x, t, end, slope, method.order, rtol, atol)
    k_0: Tensor | None = slope
    pending, previous, rejected = list(times[1:]), 1.0, 0
    while pending:
        if abs(end - t) * SAFETY <= abs(dt):  # what is left is one step; the safety factor leaves room for a longer one
            dt = end - t
        x_next, k = runge_kutta_step(v, x, t, dt, method, k_0)
        error = _error(x, x_next, k, dt, method, rtol, atol)
        if error <= 1:
            t_next = end if abs(end - t - dt) <= 1e-12 * abs(end - times[0]) else t + dt
            while pending and direction * (t_next - pending[0]) >= 0:
                t_out = pending.pop(0)
                yield x_next if t_out == t_next else _interpolate(x, k, dt, (t_out - t) / dt, method)
            x, t, k_0 = x_next, t_next, k[-1] if method.is_fsal else None
            # The PI rule also looks at the error before: it avoids the see-saw of accepted and rejected steps.
            growth = SAFETY * max(error, 1e-10) ** (0.75 * MEMORY - 1 / method.order) * previous**MEMORY
            dt *= min(GROW if rejected == 0 else 1.0, max(SHRINK, growth))
            previous, rejected = max(error, 0.1), 0  # a timid step says nothing about the next
        else:
            rejected += 1
            _check_progress(error, rejected, t, dt, rtol, atol)
            dt *= max(SHRINK, SAFETY * error ** (-1 / method.order))


def _check_progress(error: float, rejected: int, t: float, dt: float, rtol: float, atol: float) -> None:
    where = f"at t = {t:.6g} with a step of {dt:.2g}"
    if error != error or error == float("inf"):
        raise InputError(
            "v", expected="a finite velocity", got=f"NaN or infinity {where}", cure="check the field there"
        )
    if rejected >= MAX_REJECTED or t + dt == t:
        raise InputError(
            "v",
            expected=f"a field that steps can follow within rtol={rtol:g}, atol={atol:g}",
            got=f"{rejected} rejected steps in a row {where}",
            cure="loosen the tolerances, use float64, or a method with fixed steps",
        )


@torch.no_grad()
def _error(
    x: Tensor, x_next: Tensor, k: Sequence[Tensor], dt: float, method: Tableau, rtol: float, atol: float
) -> float:
    """Estimate of the error of a step, in units of the tolerance."""
    return _norm(combine(torch.zeros_like(x), dt, method.error or (), k), x, x_next, rtol, atol)


def _norm(error: Tensor, x: Tensor, x_next: Tensor, rtol: float, atol: float) -> float:
    scale = atol + rtol * torch.maximum(x.abs(), x_next.abs())
    return (error / scale).square().mean().sqrt().item()


@torch.no_grad()
def _first_step(v: Slope, x: Tensor, t: float, end: float, k_0: Tensor, order: int, rtol: float, atol: float) -> float:
    """Guess a first step from the size of the slope and of its change (Hairer I, II.4, "starting step size")."""
    direction, span = (1.0 if end > t else -1.0), abs(end - t)
    size, slope = _norm(x, x, x, rtol, atol), _norm(k_0, x, x, rtol, atol)
    h_0 = min(0.01 * size / slope if min(size, slope) > 1e-5 else 1e-6, span)  # v need not exist beyond the end
    if h_0 == 0:  # an infinite slope: the step itself will say so
        return 1e-6 * span
    k_1 = v(x + direction * h_0 * k_0, t + direction * h_0)
    bend = _norm(k_1 - k_0, x, x, rtol, atol) / h_0
    largest = max(slope, bend)
    h_1 = (0.01 / largest) ** (1 / order) if largest > 1e-15 else max(1e-6, 1e-3 * h_0)
    return min(100 * h_0, h_1, span) or 1e-6 * span


def _interpolate(x: Tensor, k: Sequence[Tensor], dt: float, theta: float, method: Tableau) -> Tensor:
    """State at ``t + theta dt`` inside a step, from the stages that the step has anyway."""
    b = [sum(p * theta ** (j + 1) for j, p in enumerate(row)) for row in method.dense or ()]
    return combine(x, dt, b, k)
