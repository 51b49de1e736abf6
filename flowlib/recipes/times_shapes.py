"""Which times decide what a caption says? Densities of t compared by captions met: same network, same budget."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path as File
from typing import Any

import torch
from torch import nn

from flowlib.datasets import captioned_shapes
from flowlib.evaluation import caption_accuracy, sliced_wasserstein
from flowlib.objectives import CosMap, LogitNormal, Mode, Timesteps, Uniform, flow_matching
from flowlib.recipes.flux_shapes import flux_shapes
from flowlib.recipes.mmdit_shapes import draw_captions
from flowlib.recipes.results import RESULTS_FOLDER, Row, fill
from flowlib.training import Plan, train_average

SEEDS = (0, 1, 2)
PLAN = Plan(steps=1200, batch_size=32, lr=6e-3, warmup=50, lr_schedule="cosine", clip=0.5, ema=0.99, optimizer="muon")
TIMES = {  # the four of SD3's Table 1 that chapter 13 names, and the one by which the book's weights were trained
    "uniform": Uniform(),
    "logit-normal": LogitNormal(),
    "mode 1.29": Mode(1.29),
    "CosMap": CosMap(),
    "logit-normal at -0.5": LogitNormal(-0.5),
}
DRAWN = 200  # captions of a judgement


def times_shapes(path: str | File | None = None, seeds: Sequence[int] = SEEDS, *, plan: Plan = PLAN) -> list[Row]:
    """Fill the table: one row for every density of t and seed that has none yet.

    A row holds the share of 200 captions that are met, whole and part by part, by pictures drawn in 6 midpoint steps
    with guidance of 3; and the sliced W2 from them to the true ones of the same captions, in pixels.

    Args:
        path: the table, ``data/results/times_shapes.jsonl`` if left out.
        seeds: of weights, data, noise and times; all densities of one seed come before the next seed.
        plan: of every training.

    Chapter 13 shows it.
    """
    cells = [{"times": name, "seed": seed, "steps": plan.steps} for seed in seeds for name in TIMES]
    return fill(path or RESULTS_FOLDER / "times_shapes.jsonl", cells, partial(_measure, plan=plan))


@torch.no_grad()
def _measure(times: str, seed: int, steps: int, plan: Plan) -> dict[str, Any]:
    model = trained(TIMES[times], seed, plan)
    data, generator = captioned_shapes(DRAWN, 1, most=2, pairs="seen"), torch.Generator().manual_seed(seed)
    x = draw_captions(model, data.captions, generator, steps=6)
    met = {part: float(caption_accuracy(x, data.captions, part)) for part in ("all", "colours", "kinds", "relation")}
    distance = sliced_wasserstein(x.flatten(1), data.x.flatten(1), generator=torch.Generator().manual_seed(0))
    return met | {"pixel W2": float(distance)}


@torch.enable_grad()
def trained(times: Timesteps, seed: int, plan: Plan, *, listen: bool = True) -> nn.Module:
    """Train the network of ``flux_shapes``: from one seed the same weights, pictures and noise for every law of times.

    Args:
        times: their law.
        seed: of everything.
        plan: of the training.
        listen: whether it takes the text encoder of ``mmdit_shapes``, which stays as it is, or trains one of its own.
    """
    recipe = flux_shapes("full").changed(seed=seed)
    model = recipe.build()
    if listen:
        recipe.warm(model)  # type: ignore[misc]
    loss = partial(flow_matching, timesteps=times, generator=torch.Generator().manual_seed(seed))
    batches = recipe.batches(plan.batch_size, torch.Generator().manual_seed(seed))
    with torch.random.fork_rng(devices=[]):  # captions are dropped by the global state
        torch.manual_seed(seed)
        return train_average(loss, model, batches, plan)
