"""From noise to data along a trained field."""

from __future__ import annotations

from typing import Any

import torch

from flowlib.errors import InputError
from flowlib.paths import OT, Path
from flowlib.shapes import Batch, Field
from flowlib.solvers import HEUN, Tableau, solve_end


@torch.no_grad()
def sample(
    v: Field,
    x_0: Batch,
    c: Any = None,
    *,
    path: Path = OT(),  # noqa: B008  frozen
    steps: int = 20,
    method: Tableau = HEUN,
    last: Tableau | None = None,
) -> Batch:
    """Carry noise to data: the solution at ``path.end`` of ``dx/dt = v(x, t, c)`` from ``path.source(x_0)`` at t = 0.

    Args:
        v: a trained field v(x, t, c).
        x_0: standard normal noise, (B, *event).
        c: condition, one a sample: a tensor, or a ``Text``.
        path: the path that v belongs to; it says where to start and where to stop.
        steps: number of equal steps; Heun evaluates the field twice in each.
        method: the solver's tableau.
        last: that of the last step, ``method`` when left out. The field of finitely many data has no limit at t = 1,
            where Heun would ask for it: with HEUN and a last EULER this is EDM's sampler, and diffusers' Heun.

    Raises:
        InputError: no step at all.

    Source: Karras et al. 2022 (EDM), algorithm 1, for the last step; chapter 11 compares.

    >>> sample(lambda x, t, c: torch.ones_like(x), torch.zeros(1, 2), steps=4)
    tensor([[1., 1.]])
    """
    if steps < 1:
        raise InputError("steps", expected="at least 1", got=steps)
    times, x = torch.linspace(0, path.end, steps + 1), path.source(x_0)
    parts = [(times, method)] if last is None else [(times[:-1], method), (times[-2:], last)]
    for part, rule in parts:
        if len(part) > 1:
            x, _ = solve_end(lambda x, t: v(x, t, c), x, part, rule)
    return x
