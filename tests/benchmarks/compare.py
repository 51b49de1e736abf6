"""How two pieces of code are compared: the same work, in one process, in turn.

A pair names our code and that of its peers, each a function without arguments that does one unit of the work. Rounds
alternate which side goes first; what counts is the ratio inside a round, because a machine that is slow now is slow for
both, in seconds of the processor, which a busy machine disturbs least. Answers are compared before any clock starts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

Side = Callable[[], Any]
ROUND = 0.05  # seconds that one side works in a round, at least


@dataclass(frozen=True)
class Pair:
    """One line of the table.

    Attributes:
        name: what is measured.
        ours: does it once.
        peers: do the same once, by name.
        aim: largest ratio, ours over the fastest peer, that we want; 1.05 if nothing smaller was promised.
        agree: raises unless the answers are the same; left out where both sides draw at random.
        more: numbers beside the times, such as errors.
    """

    name: str
    ours: Side
    peers: Mapping[str, Side]
    aim: float = 1.05
    agree: Callable[[], None] | None = None
    more: Mapping[str, float] | None = None


def measure(pair: Pair, rounds: int) -> dict[str, Any]:
    """Time all sides of a pair and return its row: median times, and the ratio to the fastest peer with its range."""
    if pair.agree is not None:
        pair.agree()
    sides = {"flowlib": pair.ours, **pair.peers}
    times: dict[str, list[float]] = {name: [] for name in sides}
    repeats = {name: _repeats(side) for name, side in sides.items()}  # warms up, too
    order = list(sides)
    for r in range(rounds):
        for name in order[r % len(order) :] + order[: r % len(order)]:
            times[name].append(_seconds(sides[name], repeats[name]))
    median = {name: statistics.median(taken) for name, taken in times.items()}
    fastest = min(pair.peers, key=lambda name: median[name])
    ratios = sorted(a / b for a, b in zip(times["flowlib"], times[fastest], strict=True))
    return {
        "pair": pair.name,
        "ratio": statistics.median(ratios),
        "low": ratios[len(ratios) // 4],
        "high": ratios[-1 - len(ratios) // 4],
        "aim": pair.aim,
        "peer": fastest,
        "milliseconds": {name: 1e3 * value for name, value in median.items()},
        **(pair.more or {}),
    }


def close(ours: Any, theirs: Any, tolerance: float = 1e-4) -> None:
    """Raise unless two tensors agree, as far as float32 goes."""
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def _repeats(side: Side) -> int:
    side()
    once = _seconds(side, 1)
    return max(1, round(ROUND / max(once, 1e-6)))


def _seconds(side: Side, repeats: int) -> float:
    start = time.process_time()
    for _ in range(repeats):
        side()
    return (time.process_time() - start) / repeats
