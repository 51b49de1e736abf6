"""Handwritten digits patch by patch: the models of chapter 17."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn

from flowlib.datasets import Stream, digits, from_noise, grey_levels
from flowlib.estimates import Estimate
from flowlib.evaluation import bits_per_dim, nearest_distance
from flowlib.flows import AutoregressiveFlow
from flowlib.models import MAR
from flowlib.objectives import dequantise, token_matching
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.recipes.rf2_digits import judge_drawn
from flowlib.solvers import MIDPOINT
from flowlib.training import Plan

LEVELS = 17
TURNS: dict[str, Tensor] = {  # the rounds of the 4 x 4 patches of a digit, row by row
    "one by one": torch.arange(16),
    "shuffled": torch.randperm(16, generator=torch.Generator().manual_seed(0)),
    "growing": torch.tensor([3, 4, 3, 4, 4, 0, 4, 2, 3, 4, 3, 4, 4, 2, 4, 1]),  # 1, 1, 2, 4 and 8 at once
    "four, apart": torch.tensor([0, 2, 0, 2, 3, 1, 3, 1, 0, 2, 0, 2, 3, 1, 3, 1]),
    "four, a row": torch.arange(16) // 4,
    "all at once": torch.zeros(16, dtype=torch.long),
}
PATCHES = partial(MAR, 1, 10, patch=2, width=64, depth=4, heads=4)


def mar_digits(scale: Scale = "laptop") -> Recipe:
    """Train a MAR of 0.28 M parameters on 16 patches of a digit in a fresh random order each, given the class.

    The full run, whose weights the book ships, takes about six minutes of one free core; its card was written on a
    busy one.
    """
    return _recipe("mar_digits", scale, token_matching, steps=4000, turns=TURNS)


def mar_digits_raster(scale: Scale = "laptop") -> Recipe:
    """Train the same network on patches in the order of reading alone: about two minutes of one free core."""
    loss = partial(token_matching, rounds=TURNS["one by one"])
    return _recipe("mar_digits_raster", scale, loss, steps=1500, turns=["one by one"])


def _recipe(name: str, scale: Scale, loss: Callable[..., Tensor], *, steps: int, turns: Iterable[str]) -> Recipe:
    full = scale == "full"
    return Recipe(
        name=name,
        model=PATCHES,
        batches=dequantised,
        loss=loss,
        plan=Plan(
            steps=steps if full else 300,
            batch_size=64,
            lr=4e-3,
            warmup=50,
            lr_schedule="cosine",
            clip=1.0,
            ema=0.995 if full else 0.98,
        ),
        evaluate=partial(evaluate, turns=tuple(turns)),
        draw=lambda model, n, generator: few_steps(model).sample(n, torch.arange(n) % 10, generator),
        data="scikit-learn's handwritten digits, 1437 of 1797, 17 grey levels, dequantised",
    )


def dequantised(batch_size: int, generator: torch.Generator) -> Stream:
    """Yield batches (x_0, x_1, c) of noise and training digits with uniform noise of one grey level, for ever."""
    batches = from_noise(digits("train"), batch_size, generator)
    return batches.map(lambda x_0, x_1, c: (x_0, dequantise(x_1, LEVELS, generator), c))


def few_steps(model: nn.Module, turns: str = "one by one") -> AutoregressiveFlow:
    """The digits of a network in some turns, each patch by 8 midpoint steps: to draw, not for likelihoods."""
    return AutoregressiveFlow(model, (1, 8, 8), TURNS[turns], method=MIDPOINT, steps=8)


def judge_turns(model: nn.Module, turns: str, generator: torch.Generator) -> dict[str, Estimate]:
    """Bits a dimension of the 360 held-out digits (K = 1), and ``judge_drawn``'s numbers of 1437 drawn ones."""
    held_out, c = digits("test"), digits("train").c
    flow = AutoregressiveFlow(model, (1, 8, 8), TURNS[turns], tolerance=1e-3)
    bits = bits_per_dim(flow, held_out.x, held_out.c, levels=LEVELS, generator=generator)
    return {"bits/dim": bits} | judge_drawn(few_steps(model, turns).sample(len(c), c, generator))


def evaluate(model: nn.Module, *, turns: tuple[str, ...]) -> dict[str, Estimate]:
    """Judge a network in each of the turns; in the order of reading also on what it saw, and against copies."""
    generator = torch.Generator().manual_seed(1)
    found = {f"{name} ({one})": value for one in turns for name, value in judge_turns(model, one, generator).items()}
    train, held_out = digits("train"), digits("test")
    flow = AutoregressiveFlow(model, (1, 8, 8), tolerance=1e-3)
    seen = bits_per_dim(flow, train.x[:360], train.c[:360], levels=LEVELS, generator=generator)
    drawn = grey_levels(few_steps(model).sample(360, held_out.c, generator))
    return found | {
        "bits/dim, 360 training digits (one by one)": seen,
        "nearest training digit, samples (one by one)": Estimate.of(nearest_distance(drawn, train.x)),
        "nearest training digit, held out": Estimate.of(nearest_distance(held_out.x, train.x)),
    }
