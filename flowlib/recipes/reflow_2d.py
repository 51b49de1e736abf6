"""The table of chapter 05: what each round of reflow does to three pairs of laws in the plane, over seeds."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from flowlib.datasets import Stream, between
from flowlib.densities import Density, Gaussian, eight_gaussians, moons
from flowlib.evaluation import sampling_floor, wasserstein
from flowlib.models import MLP
from flowlib.objectives import flow_matching
from flowlib.recipes.results import Row, fill
from flowlib.rectify import flow_pairs, straightness, transport_cost
from flowlib.sampling import sample
from flowlib.shapes import Field
from flowlib.solvers import EULER
from flowlib.training import Plan, train_average

LAWS: dict[str, Callable[[], tuple[Density, Density]]] = {
    "N -> eight gaussians": lambda: (Gaussian(torch.zeros(2)), eight_gaussians()),
    "N -> moons": lambda: (Gaussian(torch.zeros(2)), moons()),
    "moons -> eight gaussians": lambda: (moons(), eight_gaussians()),
}
PLAN = Plan(steps=2000, batch_size=512, lr=4e-3, lr_schedule="cosine", ema=0.99)
LATER = replace(PLAN, steps=600)  # a later round starts from the weights of the one before
ROUNDS, N_PAIRS, N_JUDGED, BLOCKS = 2, 10_000, 1000, 3


def reflow_2d(path: str | Path, seeds: Sequence[int] = (0, 1, 2, 3, 4)) -> list[Row]:
    """Fill the table: for each pair of laws and seed, the 1- and the 2-rectified flow.

    About 15 seconds of one core a cell.
    """
    cells = [{"laws": laws, "seed": seed} for seed in seeds for laws in LAWS]
    return fill(path, cells, measure)


def measure(laws: str, seed: int) -> dict[str, float]:
    """Train the chain of one cell and judge every link of it."""
    source, target = LAWS[laws]()
    generator = torch.Generator().manual_seed(seed)
    judged = Judged(source, target, generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        v: nn.Module = MLP(2, width=128, depth=3)
    numbers = {"floor": judged.floor, "cost of random pairs": judged.random_cost}
    v = fit(v, between(source, target, PLAN.batch_size, generator), PLAN)
    for k in range(1, ROUNDS + 1):
        numbers |= {f"{name} {k}-RF": value for name, value in judged.flow(v).items()}
        if k < ROUNDS:
            pairs = flow_pairs(v, source.sample(N_PAIRS, generator))
            v = fit(v, pairs.batches(LATER.batch_size, generator), LATER)
    return numbers


def fit(start: nn.Module, batches: Stream, plan: Plan) -> nn.Module:
    """Train a copy of ``start`` by flow matching; return the averaged weights."""
    model = copy.deepcopy(start).requires_grad_(True)
    loss = partial(flow_matching, generator=batches.generator)  # times too: a row is its seed's alone
    return train_average(loss, model, batches, plan)


class Judged:
    """Fresh samples to judge by, the same for every flow of a cell."""

    def __init__(self, source: Density, target: Density, generator: torch.Generator, *, n: int = N_JUDGED) -> None:
        self.x_0, self.x_1 = source.sample(n * BLOCKS, generator), target.sample(n * BLOCKS, generator)
        self.floor = sampling_floor(target, n, blocks=BLOCKS, generator=generator).value
        self.random_cost = transport_cost(self.x_0, self.x_1).value

    def distance(self, v: Field, steps: int) -> float:
        """W2 of Euler's samples to fresh ones of the target."""
        return wasserstein(sample(v, self.x_0, steps=steps, method=EULER), self.x_1, blocks=BLOCKS).value

    def flow(self, v: Field) -> dict[str, float]:
        """Straightness, costs of the pairing with their standard errors, and W2 against the number of steps."""
        pairs = flow_pairs(v, self.x_0)
        costs = {f"cost p={p}": transport_cost(*pairs[:2], power=p) for p in (1, 2, 4)}
        return {
            "S": straightness(v, self.x_0).value,
            **{name: cost.value for name, cost in costs.items()},
            **{f"{name} error": cost.error for name, cost in costs.items()},
            **{f"W2 Euler {steps}": self.distance(v, steps) for steps in (1, 4, 100)},
        }
