"""Which path? Schedules compared on digits: same network, same small budget, same batches, few steps and many."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path as File
from typing import Any

import torch
from torch import Tensor, nn

from flowlib.datasets import digits, from_noise, grey_levels
from flowlib.evaluation import accuracy, two_sample_accuracy
from flowlib.models import UNet
from flowlib.objectives import flow_matching
from flowlib.paths import OT, VP, Path
from flowlib.recipes.judge_digits import judge_digits
from flowlib.recipes.results import RESULTS_FOLDER, Row, fill
from flowlib.rectify import straightness, velocities
from flowlib.sampling import sample
from flowlib.solvers import MIDPOINT
from flowlib.training import Plan, train_average

SEEDS = (0, 1, 2)
PLAN = Plan(steps=500, batch_size=128, lr=2e-3, warmup=50, lr_schedule="cosine", clip=1.0, ema=0.99)
PATHS: dict[str, Path] = {"OT": OT(), "VP": VP()}
MIDPOINT_STEPS = (1, 2, 4, 10, 40)


def paths_digits(path: str | File | None = None, seeds: Sequence[int] = SEEDS, *, plan: Plan = PLAN) -> list[Row]:
    """Fill the table: one row for every path and seed that has none yet.

    A row holds how curved the flow is, ``S / E|Z_1 - Z_0|^2``, and two judgements of 360 drawn digits for each number
    of evaluations of the field, 2 to 80: recognised, and told from the 360 held-out ones.

    Args:
        path: the table, ``data/results/paths_digits.jsonl`` if left out.
        seeds: of weights, data, noise and times; all paths of one seed come before the next seed.
        plan: of every training.

    Chapter 06 shows it.
    """
    cells = [{"path": name, "seed": seed, "steps": plan.steps} for seed in seeds for name in PATHS]

    def measure(path: str, seed: int, steps: int) -> dict[str, Any]:
        return _measure(PATHS[path], seed, plan)

    return fill(path or RESULTS_FOLDER / "paths_digits.jsonl", cells, measure)


def _measure(path: Path, seed: int, plan: Plan) -> dict[str, Any]:
    v = _trained(path, seed, plan)
    real, judge = digits("test"), judge_digits().load()
    x_0 = torch.randn(real.x.shape, generator=torch.Generator().manual_seed(seed))
    row: dict[str, Any] = {"curvature": _curvature(v, path.source(x_0[:100]), real.c[:100])}
    for steps in MIDPOINT_STEPS:
        x = grey_levels(sample(v, x_0, real.c, path=path, steps=steps, method=MIDPOINT))
        row[f"recognised {2 * steps}"] = float(accuracy(judge, x, real.c))
        row[f"told apart {2 * steps}"] = float(two_sample_accuracy(real.x, x))
    return row


def _curvature(v: nn.Module, x_0: Tensor, c: Tensor) -> float:
    """``S / E|Z_1 - Z_0|^2``: how far the flow is from straight and even, whatever the length of its paths."""

    def of_class(x: Tensor, t: Tensor) -> Tensor:
        return v(x, t, c)

    z, _ = velocities(of_class, x_0, 40)
    return float(straightness(of_class, x_0, steps=40)) / float((z[-1] - z[0]).square().flatten(1).sum(1).mean())


def _trained(path: Path, seed: int, plan: Plan) -> nn.Module:
    """Train the U-Net of rf_digits, from the same weights and on the same stream of batches for every path."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = UNet(1, 10, width=32, multipliers=(1, 2), blocks=1, attention=(1,), dropout=0.1)
        batches = from_noise(digits("train"), plan.batch_size, torch.Generator().manual_seed(seed))
        loss = partial(flow_matching, path=path, generator=torch.Generator().manual_seed(seed))
        return train_average(loss, net, batches, plan)
