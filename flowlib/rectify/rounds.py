"""Reflow and distillation: two ways to train on the pairs of a flow.

Neither trains here. Both hand a loss and the pairs to ``fit(loss, pairs) -> v``, the reader's own training, which is
one floor up: a few lines round ``train`` in a notebook, a recipe at full scale. So reflow and distillation share
network and budget by construction, and differ in the loss alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from torch import Tensor

from flowlib.errors import InputError
from flowlib.objectives import flow_matching
from flowlib.objectives.distillation import Distance, distillation
from flowlib.rectify.pairs import Pairs, flow_pairs
from flowlib.shapes import Batch, Field

Fit = Callable[[Callable[..., Tensor], Pairs], Field]


class Round(NamedTuple):
    """What one round made.

    Attributes:
        pairs: of the flow before it.
        v: the field that was trained on them.
    """

    pairs: Pairs
    v: Field


def reflow(
    v: Field, x_0: Batch, fit: Fit, c: Tensor | None = None, *, rounds: int = 1, tolerance: float = 1e-3
) -> Iterator[Round]:
    """Straighten a flow ``rounds`` times: pair x_0 with where the flow carries it, and train flow matching on that.

    If ``v`` is the 1-rectified flow, the rounds yield the 2-rectified, the 3-rectified, and so on. Marginals are kept,
    no convex transport cost rises, and the sum of the straightnesses of all rounds stays below ``E|x_1 - x_0|^2``.

    Args:
        v: a trained field v(x, t, c).
        x_0: starts, (N, *event); the more, the less the student overfits.
        fit: trains a field, ``fit(loss, pairs) -> v``; ``loss(v, x_0, x_1[, c])`` is the scalar to minimise and
            ``pairs.batches(batch_size, generator)`` the endless stream of batches.
        c: condition, one a start.
        rounds: how often.
        tolerance: of the solver that makes the pairs, see `flow_pairs`.

    Source: Liu et al. 2023, algorithm 1. Chapter 05 derives it.
    """
    if rounds < 1:
        raise InputError("rounds", expected="at least 1", got=rounds)
    for _ in range(rounds):
        pairs = flow_pairs(v, x_0, c, tolerance=tolerance)
        v = fit(flow_matching, pairs)
        yield Round(pairs, v)


def distill(
    v: Field,
    x_0: Batch,
    fit: Fit,
    c: Tensor | None = None,
    *,
    steps: int = 1,
    distance: Distance | None = None,
    reverse: bool = False,
    tolerance: float = 1e-3,
) -> Round:
    """Train a student that makes, in ``steps`` Euler steps, the jump that the flow makes in many.

    The student keeps the pairing of its teacher, good or bad, and gives up the paths: between the grid's times its
    field means nothing.

    Args:
        v: the teacher, a field v(x, t, c).
        x_0: starts, (N, *event).
        fit: as for `reflow`: the same function makes both comparable.
        c: condition, one a start.
        steps: k, the Euler steps of the student.
        distance: what replaces the squared distance of velocities, see `distillation`.
        reverse: learn the way from data to noise instead.
        tolerance: of the solver that makes the pairs, see `flow_pairs`.

    Source: Liu et al. 2023, section 2.2, "distillation". Chapter 05 sets it against reflow.
    """
    pairs = flow_pairs(v, x_0, c, tolerance=tolerance)
    loss = partial(distillation, steps=steps, distance=distance, reverse=reverse)
    return Round(pairs, fit(loss, pairs))
