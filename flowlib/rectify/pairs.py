"""The pairing that a flow makes: each x_0 with the place where the flow carries it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from flowlib.datasets.stream import Stream
from flowlib.errors import InputError
from flowlib.sampling import sample
from flowlib.shapes import Batch, Field
from flowlib.solvers import MIDPOINT, Tableau
from flowlib.tensors import check_finite

FEWEST_STEPS, MOST_STEPS = 8, 1024


class Pairs(NamedTuple):
    """Starts and ends that belong together: a shuffled x_0 would be training pairs of another flow.

    Attributes:
        x_0: starts, (N, *event).
        x_1: ends; row n is where row n of x_0 went.
        c: the condition it went under, one a pair; None without.
    """

    x_0: Tensor
    x_1: Tensor
    c: Tensor | None = None

    def batches(self, batch_size: int, generator: torch.Generator) -> Stream:
        """Yield batches (x_0, x_1) or (x_0, x_1, c) for ever; each pass is a new permutation of the whole pairs."""
        parts = [u for u in self if u is not None]
        make = lambda index: tuple(u[index.to(u.device)] for u in parts)  # noqa: E731  a stream wants a function
        return Stream(make, generator, size=len(self.x_0), batch_size=batch_size)


def flow_pairs(
    v: Field,
    x_0: Batch,
    c: Tensor | None = None,
    *,
    method: Tableau = MIDPOINT,
    tolerance: float = 1e-3,
    steps: int | None = None,
    batch_size: int = 1000,
) -> Pairs:
    """Pair each x_0 with ``Z_1``, the solution at t = 1 of ``dZ/dt = v(Z, t, c)`` from ``Z_0 = x_0``.

    The solver must have converged, or the student is taught the solver's error. So the number N of equal steps is
    doubled, on the first batch, until ``rms(Z_1(N) - Z_1(2N)) < tolerance``; all pairs are then solved with 2N steps.
    The midpoint rule is the default because it never asks for the velocity at t = 1.

    Args:
        v: a trained field v(x, t, c).
        x_0: starts, (N, *event).
        c: condition, one a start.
        method: the solver's tableau, one with fixed steps.
        tolerance: root mean square over pairs and coordinates, in the units of x.
        steps: 2N, where `converge` has found it already.
        batch_size: pairs solved at a time.

    Raises:
        InputError: a condition of another length, NaN, or a field that 1024 steps do not resolve.

    >>> flow_pairs(lambda x, t, c: torch.ones_like(x), torch.zeros(1, 2)).x_1
    tensor([[1., 1.]])

    Source: Liu et al. 2023, algorithm 1, "reflow".
    """
    check_finite("x_0", x_0)
    if c is not None and len(c) != len(x_0):
        raise InputError("c", expected=f"one condition a start, {len(x_0)}", got=len(c))
    starts = x_0.split(batch_size)
    conditions = [None] * len(starts) if c is None else list(c.split(batch_size))
    ends: list[Tensor] = []
    if steps is None:
        steps, first = converge(v, starts[0], conditions[0], method=method, tolerance=tolerance)
        ends = [first]
    for a, b in zip(starts[len(ends) :], conditions[len(ends) :], strict=True):
        ends.append(sample(v, a, b, steps=steps, method=method))
    return Pairs(x_0, torch.cat(ends), c)


def converge(
    v: Field, x_0: Batch, c: Tensor | None = None, *, method: Tableau = MIDPOINT, tolerance: float = 1e-3
) -> tuple[int, Tensor]:
    """Find a number of steps whose result has converged, and that result, (B, *event); see `flow_pairs`."""
    if tolerance <= 0:
        raise InputError("tolerance", expected="a positive number", got=tolerance)
    if method.error is not None:
        raise InputError("method", expected="a method of fixed steps", got=method, cure="MIDPOINT or RK4")
    steps, change = FEWEST_STEPS, float("inf")
    coarse = sample(v, x_0, c, steps=steps, method=method)
    while steps < MOST_STEPS:
        steps *= 2
        fine = sample(v, x_0, c, steps=steps, method=method)
        change = float((fine - coarse).square().mean().sqrt())
        if change < tolerance:
            return steps, fine
        coarse = fine
    raise InputError(
        "v",
        expected=f"a field whose flow settles to {tolerance:g} in {MOST_STEPS} {method} steps",
        got=f"a change of {change:.2g} in the last doubling",
        cure="look at the field for jumps in t, or allow a larger tolerance and say so",
    )
