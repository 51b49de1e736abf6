"""The table of chapter 17: in which order, and how many patches at once? Digits patch by patch, and all at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from flowlib.datasets import digits
from flowlib.estimates import Estimate
from flowlib.evaluation import bits_per_dim
from flowlib.flows import MatchedFlow
from flowlib.models import DiT
from flowlib.objectives import flow_matching, token_matching
from flowlib.recipes.mar_digits import LEVELS, PATCHES, TURNS, dequantised, judge_turns
from flowlib.recipes.results import RESULTS_FOLDER, Row, fill
from flowlib.recipes.rf2_digits import judge_drawn
from flowlib.solvers import MIDPOINT
from flowlib.training import Plan, train_average

SEEDS = (0, 1, 2)
Way = Literal["raster", "random", "whole", "longer"]
# Patches row by row, or in any order; the whole picture as one flow; and that about as long as patches take, whose
# steps cost about 1.8 times as much on a CPU.
WAYS: tuple[Way, ...] = ("raster", "random", "whole", "longer")
LONGER = 1.8
PLAN = Plan(steps=1500, batch_size=64, warmup=50, lr_schedule="cosine", clip=1.0, ema=0.995)
# A DiT starts at zero and has far to go, see dit_digits.
RATES = {"raster": 4e-3, "random": 4e-3, "whole": 1.6e-2, "longer": 1.6e-2}
WHOLE = partial(DiT, 1, 10, patch=2, width=64, depth=4, heads=4, label_dropout=0.0)
ASKED = {"raster": ("one by one", "shuffled", "four, a row"), "random": tuple(TURNS)}  # in which turns a way draws


def orders_digits(path: str | Path | None = None, seeds: Sequence[int] = SEEDS, *, plan: Plan = PLAN) -> list[Row]:
    """Fill the table: one row for every way and seed that has none yet.

    All ways see the same digits, dequantised, the same number of times (not in the same order), with transformers of
    one width and depth; the last sees them more often, in about the same time. A row holds, for each of the turns in
    which its way draws, the bits a dimension of the 360 held-out digits (K = 1; for the whole picture by Hutchinson's
    estimate, one probe a digit) and ``judge_drawn``'s three numbers of 1437 drawn ones.

    Args:
        path: the table, ``data/results/orders_digits.jsonl`` if left out.
        seeds: of weights, data, noise, orders and times.
        plan: of each training; the learning rate is that of its way in ``RATES``.

    Chapter 17 shows it.
    """
    cells = [{"way": way, "seed": seed, "steps": steps_of(way, plan)} for seed in seeds for way in WAYS]

    def measure(way: Way, seed: int, steps: int) -> dict[str, Any]:
        return judge_row(train_order(way, seed, replace(plan, steps=steps)), way, seed)

    return fill(path or RESULTS_FOLDER / "orders_digits.jsonl", cells, measure)


def steps_of(way: Way, plan: Plan) -> int:
    """Steps of a way: as many as the others, or as many as take the time of theirs."""
    return round(LONGER * plan.steps) if way == "longer" else plan.steps


def train_order(way: Way, seed: int, plan: Plan = PLAN) -> nn.Module:
    """Train one way from one seed: MAR on patches, row by row or in a fresh order a picture, or DiT on the whole."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = PATCHES() if way in ASKED else WHOLE()
    losses: dict[Way, Callable[..., Tensor]] = {
        "raster": partial(token_matching, rounds=TURNS["one by one"]),
        "random": token_matching,
    }
    loss = losses.get(way, flow_matching)
    batches, plan = dequantised(plan.batch_size, generator), replace(plan, lr=RATES[way])
    return train_average(partial(loss, generator=generator), net, batches, plan)


def judge_row(net: nn.Module, way: Way, seed: int) -> dict[str, float]:
    """The numbers of one row: those of each of the turns that its way draws in, or of the whole picture."""
    row: dict[str, float] = {}
    for turns in ASKED.get(way, ("whole",)):
        generator = torch.Generator().manual_seed(seed)
        found = judge_turns(net, turns, generator) if way in ASKED else judge_whole(net, generator)
        row |= {f"{name} {turns}": value.value for name, value in found.items()}
    return row


def judge_whole(net: nn.Module, generator: torch.Generator) -> dict[str, Estimate]:
    """The numbers of ``judge_turns`` for a velocity of the whole digit; bits by one probe a digit."""
    held_out, c = digits("test"), digits("train").c
    flow = MatchedFlow(net, (1, 8, 8), tolerance=1e-3, probe="rademacher")
    bits = bits_per_dim(flow, held_out.x, held_out.c, levels=LEVELS, generator=generator)
    few = MatchedFlow(net, (1, 8, 8), method=MIDPOINT, steps=8)
    return {"bits/dim": bits} | judge_drawn(few.sample(len(c), c, generator))
