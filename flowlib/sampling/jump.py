"""From noise to data in a few jumps of an average velocity."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch

from flowlib.errors import InputError
from flowlib.shapes import Batch, Field
from flowlib.tensors import per_sample, randn


@torch.no_grad()
def jump(u: Field, x_0: Batch, c: Any = None, *, steps: int = 1) -> Batch:
    """Carry noise to data by k jumps of equal length, ``x <- x + (r - t) u(x, t, c, r=r)``, one evaluation each.

    With the exact average velocity every k gives the same ends: those of the flow. Any k times from 0 to 1 would do.

    Args:
        u: an average velocity u(x, t, c, r=r).
        x_0: noise, (B, *event).
        c: condition, one a sample.
        steps: k.

    Raises:
        InputError: no step at all.

    Source: Geng et al. 2025 (MeanFlow), algorithm 2; Frans et al. 2025 (shortcut models), algorithm 2. Chapter 16.

    >>> jump(lambda x, t, c, r: torch.ones_like(x), torch.zeros(1, 2))
    tensor([[1., 1.]])
    """
    x = x_0
    for t, r in _intervals(x_0, steps):
        x = x + per_sample(r - t, x) * u(x, t, c, r=r)
    return x


@torch.no_grad()
def jump_and_renoise(
    u: Field, x_0: Batch, c: Any = None, *, steps: int = 1, generator: torch.Generator | None = None
) -> Batch:
    """Carry noise to data by k jumps to the end, with fresh noise between: ``x_r = r f(x_t, t) + (1 - r) eps``.

    Here ``f(x, t) = x + (1 - t) u(x, t, c, r=1)``: all that a consistency model knows is the jump to t = 1.

    Args:
        u: an average velocity u(x, t, c, r=r), asked at r = 1 alone.
        x_0: noise, (B, *event).
        c: condition, one a sample.
        steps: k.
        generator: randomness of eps.

    Raises:
        InputError: no step at all.

    Source: Song et al. 2023 (consistency models), algorithm 1, on the straight path. Chapter 16.
    """
    x, one = x_0, torch.ones(len(x_0), dtype=x_0.dtype, device=x_0.device)
    for t, r in _intervals(x_0, steps):
        end = x + per_sample(1 - t, x) * u(x, t, c, r=one)
        noise = randn(x.shape, like=x, generator=generator)
        x = per_sample(r, x) * end + per_sample(1 - r, x) * noise
    return x


def _intervals(x: Batch, steps: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Starts and ends (t, r) of equal parts of [0, 1], each as times of the batch, (B,)."""
    if steps < 1:
        raise InputError("steps", expected="at least 1", got=steps)
    times = torch.linspace(0, 1, steps + 1, dtype=x.dtype, device=x.device)
    return [(t.expand(len(x)), r.expand(len(x))) for t, r in pairwise(times)]
