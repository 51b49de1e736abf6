"""How should a transformer be told time and class? DiT's four ways on digits: same width and depth, equal compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path as File
from typing import Any

import torch
from torch import nn

from flowlib.datasets import digits, from_noise
from flowlib.evaluation import accuracy
from flowlib.models import DiT
from flowlib.models.dit import Conditioning
from flowlib.objectives import flow_matching, loss_at
from flowlib.recipes.dit_digits import draw_guided
from flowlib.recipes.judge_digits import judge_digits
from flowlib.recipes.results import RESULTS_FOLDER, Row, fill
from flowlib.training import Plan, train_average
from flowlib.training.speed import forward_flops

SEEDS = (0, 1, 2)
CONDITIONINGS: tuple[Conditioning, ...] = ("adaln_zero", "adaln", "in_context", "cross_attention")
RATES = (4e-3, 1.6e-2)  # each way may want its own: the chapter shows the better one
PLAN = Plan(steps=250, batch_size=64, warmup=50, lr_schedule="cosine", clip=1.0, ema=0.98)  # steps of adaLN-Zero
GRID = (torch.arange(10) + 0.5) / 10  # where the loss is measured


def conditioning_digits(
    path: str | File | None = None, seeds: Sequence[int] = SEEDS, *, plan: Plan = PLAN
) -> list[Row]:
    """Fill the table: one row for every conditioning, learning rate and seed that has none yet.

    A way that costs more a step makes fewer steps, so that all spend the same multiply-adds. A row holds the loss on
    360 held-out digits, over 10 even times and with the same noise for every row, and the share of 720 digits, drawn in
    8 Heun steps without guidance, that the judge recognises.

    Args:
        path: the table, ``data/results/conditioning_digits.jsonl`` if left out.
        seeds: of weights, data, noise and times.
        plan: of a training of adaLN-Zero; the others differ in steps alone, and each takes every rate of ``RATES``.

    Chapter 11 shows it.
    """
    cells = [
        {"conditioning": name, "lr": lr, "seed": seed, "steps": steps_at_equal_compute(name, plan.steps)}
        for seed in seeds
        for lr in RATES
        for name in CONDITIONINGS
    ]
    return fill(path or RESULTS_FOLDER / "conditioning_digits.jsonl", cells, partial(_measure, plan=plan))


def steps_at_equal_compute(conditioning: Conditioning, steps: int) -> int:
    """Steps that cost what ``steps`` of adaLN-Zero cost."""
    return round(steps * multiply_adds("adaln_zero") / multiply_adds(conditioning))


def multiply_adds(conditioning: Conditioning) -> float:
    """Multiply-adds of one digit through the network, counted, not computed."""
    with torch.device("meta"):
        net = _net(conditioning).eval().requires_grad_(False)
        one = torch.empty(1, 1, 8, 8), torch.empty(1), torch.zeros(1, dtype=torch.long)
    return forward_flops(net, *one) / 2


def _net(conditioning: Conditioning) -> DiT:
    return DiT(1, 10, patch=2, width=64, depth=4, heads=4, conditioning=conditioning)


def _measure(conditioning: Conditioning, lr: float, seed: int, steps: int, plan: Plan) -> dict[str, Any]:
    v = _trained(conditioning, seed, replace(plan, lr=lr, steps=steps))
    held_out, noise = digits("test"), torch.Generator().manual_seed(1)
    noises = (torch.randn(held_out.x.shape, generator=noise) for _ in GRID)  # fresh at each time, the same for all rows
    losses = torch.cat([loss_at(v, x_0, held_out.x, t[None], held_out.c) for t, x_0 in zip(GRID, noises, strict=True)])
    c = held_out.c.repeat(2)
    drawn = draw_guided(v, c, torch.Generator().manual_seed(seed))
    return {"loss": float(losses.mean()), "recognised": float(accuracy(judge_digits().load(), drawn, c))}


def _trained(conditioning: Conditioning, seed: int, plan: Plan) -> nn.Module:
    """Train on the stream of batches that the seed gives, the same one for every conditioning."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = _net(conditioning)
        batches = from_noise(digits("train"), plan.batch_size, torch.Generator().manual_seed(seed))
        loss = partial(flow_matching, generator=torch.Generator().manual_seed(seed))
        return train_average(loss, net, batches, plan)  # labels are dropped by torch's own generator, forked here
