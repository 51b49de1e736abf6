"""Which noise levels deserve the effort? Densities of t compared on digits: same network, same small budget, seeds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path as File
from typing import Any

import torch
from torch import nn

from flowlib.datasets import digits, from_noise, grey_levels
from flowlib.evaluation import accuracy, sliced_wasserstein, two_sample_accuracy
from flowlib.models import UNet
from flowlib.objectives import CosMap, LogitNormal, Mode, Uniform, UShaped, flow_matching, loss_at
from flowlib.recipes.judge_digits import judge_digits
from flowlib.recipes.results import RESULTS_FOLDER, Row, fill
from flowlib.recipes.rf_digits import draw_digits
from flowlib.training import Plan, train_average

SEEDS = (0, 1, 2)
PLAN = Plan(steps=400, batch_size=128, lr=2e-3, warmup=40, lr_schedule="cosine", clip=1.0, ema=0.98)
TIMES: dict[str, dict[str, Any]] = {  # arguments of flow_matching
    "uniform": {"timesteps": Uniform()},
    "logit-normal": {"timesteps": LogitNormal()},
    "logit-normal as weight": {"timesteps": Uniform(), "weight": LogitNormal().density},
    "mode 1.29": {"timesteps": Mode(1.29)},
    "CosMap": {"timesteps": CosMap()},
    "EDM": {"timesteps": LogitNormal.edm()},
    "U-shaped": {"timesteps": UShaped(4.0)},
}
GRID = (torch.arange(20) + 0.5) / 20  # where the loss is measured: even times, whatever was trained on


def timesteps_digits(path: str | File | None = None, seeds: Sequence[int] = SEEDS, *, plan: Plan = PLAN) -> list[Row]:
    """Fill the table: one row for every density of t and seed that has none yet.

    A row holds the loss on 360 held-out digits at each of 20 even times (a list, with the same noise for every row) and
    its mean, and three judgements of 1437 drawn digits: recognised, told from training digits, and the sliced W2 to
    them among the features of the judge.

    Args:
        path: the table, ``data/results/timesteps_digits.jsonl`` if left out.
        seeds: of weights, data, noise and times; all densities of one seed come before the next seed.
        plan: of every training.

    Chapter 08 shows it.
    """
    cells = [{"times": name, "seed": seed, "steps": plan.steps} for seed in seeds for name in TIMES]
    return fill(path or RESULTS_FOLDER / "timesteps_digits.jsonl", cells, partial(_measure, plan=plan))


def _measure(times: str, seed: int, steps: int, plan: Plan) -> dict[str, Any]:
    v = _trained(times, seed, plan)
    real, judge = digits("train"), judge_digits().load()
    x = grey_levels(draw_digits(v, real.c, torch.Generator().manual_seed(seed), steps=5))
    held_out, noise = digits("test"), torch.Generator().manual_seed(1)
    noises = (torch.randn(held_out.x.shape, generator=noise) for _ in GRID)  # fresh at each time, the same for all rows
    losses = torch.cat([loss_at(v, x_0, held_out.x, t[None], held_out.c) for t, x_0 in zip(GRID, noises, strict=True)])
    with torch.no_grad():
        drawn, true = judge.features(x), judge.features(real.x)  # type: ignore[operator]
    return {
        "loss": float(losses.mean()),
        "recognised": float(accuracy(judge, x, real.c)),
        "told apart": float(two_sample_accuracy(real.x, x)),
        "feature W2": float(sliced_wasserstein(drawn, true, generator=torch.Generator().manual_seed(0))),
        "losses": [round(float(u), 5) for u in losses],
    }


def _trained(times: str, seed: int, plan: Plan) -> nn.Module:
    """Train a U-Net of 0.2 M parameters, the same one for every density of a seed, on the same stream of batches."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = UNet(1, 10, width=16, multipliers=(1, 2), blocks=1, attention=(1,))
    batches = from_noise(digits("train"), plan.batch_size, torch.Generator().manual_seed(seed))
    loss = partial(flow_matching, **TIMES[times], generator=torch.Generator().manual_seed(seed))
    return train_average(loss, net, batches, plan)
