"""Where to flow? The same transformer in pixels and in latents of digits, at equal compute."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from flowlib.datasets import Stream, digits, from_noise, grey_levels, write_latents
from flowlib.evaluation import accuracy, two_sample_accuracy
from flowlib.models import Autoencoder, DiT
from flowlib.objectives import LogitNormal, flow_matching
from flowlib.recipes.judge_digits import judge_digits
from flowlib.recipes.results import RESULTS_FOLDER, Row, fill
from flowlib.recipes.vae_digits import vae_digits
from flowlib.sampling import sample
from flowlib.solvers import MIDPOINT
from flowlib.training import Plan, train_average
from flowlib.training.speed import forward_flops

SEEDS = (0, 1, 2)
BUDGET = 200  # steps of the dearest arm
PLAN = Plan(batch_size=64, lr=1e-2, warmup=30, lr_schedule="cosine", clip=1.0, ema=0.98)
RAW = 5.49  # how far SD's latents lie from mean 0 and variance 1: 1 / 0.18215


class Arm(NamedTuple):
    """Where the flow lives.

    Attributes:
        channels: of what it draws.
        side: of what it draws.
        patch: side of a patch.
        spread: standard deviation of the latents that it is given; 0 for pixels.
    """

    channels: int
    side: int
    patch: int
    spread: float = 0.0


ARMS = {
    "pixels, 16 tokens": Arm(1, 8, 2),
    "pixels, 4 tokens": Arm(1, 8, 4),
    "latents, 4 tokens": Arm(2, 4, 2, 1.0),
    "latents 5.49 times as large": Arm(2, 4, 2, RAW),
}


def latents_digits(path: str | Path | None = None, seeds: Sequence[int] = SEEDS, *, budget: int = BUDGET) -> list[Row]:
    """Fill the table: one row for every arm of ``ARMS`` and seed that has none yet.

    All arms have a DiT of one width and depth, and steps so many that they cost the same number of multiplications. A
    row holds two judgements of 360 drawn digits in 10 midpoint steps: recognised, and told from the 360 held-out ones.

    Args:
        path: the table, ``data/results/latents_digits.jsonl`` if left out.
        seeds: of weights, batches, noise and times; all arms of one seed come before the next.
        budget: steps of the arm with the most tokens.

    Chapter 12 shows it.
    """
    cells = [{"arm": arm, "seed": seed, "budget": budget} for seed in seeds for arm in ARMS]
    return fill(path or RESULTS_FOLDER / "latents_digits.jsonl", cells, measure)


def measure(arm: str, seed: int, budget: int) -> dict[str, float]:
    """Train one arm and judge what it draws."""
    place, real = ARMS[arm], digits("test")
    steps = round(budget * cost(ARMS["pixels, 16 tokens"]) / cost(place))
    model = vae_digits().load()
    assert isinstance(model, Autoencoder)
    v = _trained(place, model, seed, steps)
    x_0 = torch.randn(360, place.channels, place.side, place.side, generator=torch.Generator().manual_seed(seed))
    drawn = sample(v, x_0, real.c, steps=10, method=MIDPOINT)
    with torch.no_grad():
        x = grey_levels(model.pictures(drawn / place.spread) if place.spread else drawn)
    return {
        "steps": steps,
        "recognised": float(accuracy(judge_digits().load(), x, real.c)),
        "told apart": float(two_sample_accuracy(real.x, x)),
    }


def cost(place: Arm) -> float:
    """Operations of one evaluation of the field of one sample."""
    x, t, c = torch.zeros(1, place.channels, place.side, place.side), torch.zeros(1), torch.zeros(1, dtype=torch.int64)
    return float(forward_flops(_net(place).eval(), x, t, c))


def _net(place: Arm) -> nn.Module:
    return DiT(place.channels, 10, patch=place.patch, width=64, depth=4, heads=4)


def _trained(place: Arm, model: Autoencoder, seed: int, steps: int) -> nn.Module:
    plan = Plan(**(PLAN.__dict__ | {"steps": steps, "seed": seed}))
    with torch.random.fork_rng(devices=[]), _batches(place, model, seed) as batches:
        torch.manual_seed(seed)
        net = _net(place)
        loss = partial(flow_matching, timesteps=LogitNormal())
        return train_average(loss, net, batches, plan)


@contextmanager
def _batches(place: Arm, model: Autoencoder, seed: int) -> Iterator[Stream]:
    generator = torch.Generator().manual_seed(seed)
    if not place.spread:
        yield from_noise(digits("train"), PLAN.batch_size, generator)
        return
    with tempfile.TemporaryDirectory() as folder:
        latents = write_latents(folder, model.encode, digits("train"), facts={}, dtype=torch.float32)
        constants = {"shift": float(model.shift), "scale": place.spread * float(model.scale)}
        yield latents.from_noise(PLAN.batch_size, generator, **constants)
