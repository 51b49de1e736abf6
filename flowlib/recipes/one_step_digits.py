"""The table of chapter 16: five ways to a digit in one step, on one backbone, from scratch, with one budget."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flowlib.datasets import Stream, digits, from_noise
from flowlib.models import UNet
from flowlib.objectives import consistency, flow_matching, mean_flow, shortcut
from flowlib.objectives.distillation import distillation
from flowlib.recipes.results import RESULTS_FOLDER, Row, fill
from flowlib.recipes.rf2_digits import judge_drawn
from flowlib.rectify import Pairs, flow_pairs
from flowlib.sampling import jump, jump_and_renoise, sample
from flowlib.solvers import EULER
from flowlib.training import Plan, train_average

SEEDS = (0, 1, 2)
PLAN = Plan(steps=500, batch_size=64, lr=2e-3, warmup=50, lr_schedule="cosine", clip=1.0, ema=0.999)
NET = partial(UNet, 1, 10, width=24, multipliers=(1, 2), blocks=1, attention=(1,))
# Evaluations of the network that a picture costs in one step of training: 1 for its value, 2 for the way back, and as
# torch counts the operations 3 for a value with its derivative (a jvp), which only the rows with t < r need. (Two would
# do: the third multiplies by the derivative of the weights, which is zero.)
LOSSES: dict[str, tuple[Callable[..., Tensor], float]] = {
    "flow matching": (flow_matching, 3.0),
    "consistency": (partial(consistency, steps=32), 1 + 3),
    "consistency, N = 8": (partial(consistency, steps=8), 1 + 3),
    "shortcut": (partial(shortcut, steps=32, plain=0.5), 0.5 * 2 + 3),
    "shortcut, N = 8": (partial(shortcut, steps=8, plain=0.5), 0.5 * 2 + 3),
    "mean flow": (partial(mean_flow, plain=0.5), 0.5 * 3 + 3),
}
REFLOW = "reflow + distillation"
MANY = ("flow matching", "consistency, N = 8", "shortcut, N = 8")  # ways that are asked for 20 steps as well
FLOW, STRAIGHT = 0.5, 0.2  # shares of the budget that train its first two fields; pairs and the student get the rest
N_PAIRS, PAIR_STEPS = 600, (10, 3)  # pairs of each field, and the midpoint steps that make them


def one_step_digits(path: str | Path | None = None, seeds: Sequence[int] = SEEDS, *, plan: Plan = PLAN) -> list[Row]:
    """Fill the table: one row for every way and seed that has none yet.

    The budget is ``3 * plan.steps * plan.batch_size`` evaluations of the network on one picture: those of training the
    baseline, flow matching. What a loss costs more, or the making of pairs, is taken from its steps.

    Args:
        path: the table, ``data/results/one_step_digits.jsonl`` if left out.
        seeds: of weights, data, noise and times; all ways of one seed come before the next.
        plan: of the baseline.

    Chapter 16 shows it.
    """
    cells = [{"way": way, "seed": seed, "steps": plan.steps} for seed in seeds for way in (*LOSSES, REFLOW)]

    def measure(way: str, seed: int, steps: int) -> dict[str, Any]:
        return draw_and_judge(way, seed, plan)

    return fill(path or RESULTS_FOLDER / "one_step_digits.jsonl", cells, measure)


def draw_and_judge(way: str, seed: int, plan: Plan = PLAN) -> dict[str, Any]:
    """Train one way from one seed, draw 1437 digits in 1, 2 and 4 steps (and 20 of some ways), and judge them.

    Returns:
        ``judge_drawn``'s three numbers for each number of steps, and ``evaluations``, the budget that was spent.
    """
    c, generator = digits("train").c, torch.Generator().manual_seed(seed)
    x_0 = torch.randn(len(c), 1, 8, 8, generator=torch.Generator().manual_seed(1000 + seed))
    row: dict[str, Any] = {}
    if way == REFLOW:
        straight, student, row["evaluations"] = _straightened(seed, plan, generator)
        drawn = {n: sample(straight if n > 1 else student, x_0, c, steps=n, method=EULER) for n in (1, 2, 4)}
    else:
        u, row["evaluations"] = train_way(way, seed, plan)
        few = (1, 2, 4, 20) if way in MANY else (1, 2, 4)
        drawn = {n: _draw(way, u, x_0, c, n, generator) for n in few}
    for n, x in drawn.items():
        row |= {f"{name} {n}": value.value for name, value in judge_drawn(x).items()}
    return row


def train_way(way: str, seed: int, plan: Plan = PLAN) -> tuple[nn.Module, int]:
    """Train one way of ``LOSSES`` for as many steps as the budget pays; the network, and the evaluations spent."""
    loss, cost = LOSSES[way]
    steps = int(3 * plan.steps / cost)
    net, generator = _fresh(seed, average=way != "flow matching"), torch.Generator().manual_seed(seed)
    return _fit(loss, net, _digits(plan, generator), replace(plan, steps=steps)), int(steps * plan.batch_size * cost)


def _draw(way: str, u: nn.Module, x_0: Tensor, c: Tensor, steps: int, generator: torch.Generator) -> Tensor:
    if way == "flow matching":
        return sample(u, x_0, c, steps=steps, method=EULER)
    if way.startswith("consistency"):
        return jump_and_renoise(u, x_0, c, steps=steps, generator=generator)
    return jump(u, x_0, c, steps=steps)


def _straightened(seed: int, plan: Plan, generator: torch.Generator) -> tuple[nn.Module, nn.Module, int]:
    """The 2-rectified flow, its one-step student, and the evaluations that all of it took.

    Steps after the first are left to the flow, since the student knows only one.
    """
    row = 3 * plan.batch_size  # evaluations of one step
    first, second = int(FLOW * plan.steps), int(STRAIGHT * plan.steps)
    spent = row * (first + second) + 2 * N_PAIRS * sum(PAIR_STEPS)
    third = plan.steps - -(-spent // row)
    later = replace(plan, lr=plan.lr / 2)
    v = _fit(flow_matching, _fresh(seed, average=False), _digits(plan, generator), replace(plan, steps=first))
    pairs = _pairs(v, PAIR_STEPS[0], generator).batches(plan.batch_size, generator)
    straight = _fit(flow_matching, v, pairs, replace(later, steps=second))
    pairs = _pairs(straight, PAIR_STEPS[1], generator).batches(plan.batch_size, generator)
    return straight, _fit(distillation, straight, pairs, replace(later, steps=third)), spent + row * third


def _pairs(v: nn.Module, steps: int, generator: torch.Generator) -> Pairs:
    x_0 = torch.randn(N_PAIRS, 1, 8, 8, generator=generator)
    return flow_pairs(v, x_0, torch.arange(N_PAIRS) % 10, steps=steps)


def _digits(plan: Plan, generator: torch.Generator) -> Stream:
    return from_noise(digits("train"), plan.batch_size, generator)


def _fresh(seed: int, *, average: bool) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NET(average=average)


def _fit(loss: Callable[..., Tensor], start: nn.Module, batches: Stream, plan: Plan) -> nn.Module:
    model = copy.deepcopy(start).requires_grad_(True)
    return train_average(partial(loss, generator=batches.generator), model, batches, plan)
