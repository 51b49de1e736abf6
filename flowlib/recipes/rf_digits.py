"""Rectified flow on handwritten digits, by class: the pictures of chapter 04."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from flowlib.datasets import digits, from_noise, grey_levels
from flowlib.estimates import Estimate
from flowlib.evaluation import accuracy, nearest_distance, two_sample_accuracy
from flowlib.models import UNet
from flowlib.objectives import flow_matching
from flowlib.recipes.judge_digits import judge_digits
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.sampling import sample
from flowlib.solvers import HEUN, MIDPOINT, Tableau
from flowlib.training import Plan


def rf_digits(scale: Scale = "laptop") -> Recipe:
    """Train a U-Net of 0.76 M parameters on straight lines from noise to digits, given their class.

    The laptop run of 300 steps shows the way; the weights that the book ships come from the full one, of 1800 steps,
    which takes about three minutes on two free cores; its card was written on busy ones.
    """
    full = scale == "full"
    return Recipe(
        name="rf_digits",
        model=partial(UNet, 1, 10, width=32, multipliers=(1, 2), blocks=1, attention=(1,), dropout=0.1),
        batches=lambda batch_size, generator: from_noise(digits("train"), batch_size, generator),
        loss=flow_matching,
        plan=Plan(
            steps=1800 if full else 300,
            batch_size=128,
            lr=2e-3,
            warmup=100,
            lr_schedule="cosine",
            clip=1.0,
            ema=0.999 if full else 0.99,
        ),
        evaluate=evaluate,
        draw=lambda model, n, generator: draw_digits(model, torch.arange(n) % 10, generator),
        data="scikit-learn's handwritten digits, 1437 of 1797",
    )


def draw_digits(
    model: nn.Module, c: Tensor, generator: torch.Generator, *, steps: int = 10, method: Tableau = MIDPOINT
) -> Tensor:
    """Draw one digit of each class in ``c``, (B, 1, 8, 8).

    The midpoint rule never asks for the velocity at t = 1, where that of a finite set of pictures has no limit; Heun
    does, and chapter 04 shows what it costs.
    """
    device = next(model.parameters()).device
    x_0 = torch.randn(len(c), 1, 8, 8, generator=generator).to(device)
    return sample(model, x_0, c.to(device), steps=steps, method=method)


def evaluate(model: nn.Module) -> dict[str, Estimate]:
    """Judge the digits: recognised, not told from real ones, not copied."""
    generator = torch.Generator().manual_seed(1)
    train, held_out = digits("train"), digits("test")
    coarse = draw_digits(model, train.c, generator, steps=4, method=HEUN)
    x = grey_levels(draw_digits(model, train.c, generator))
    return {
        "recognised (4 Heun steps)": accuracy(judge_digits().load(), coarse, train.c),
        "recognised (10 midpoint steps)": accuracy(judge_digits().load(), x, train.c),
        "told from training digits": two_sample_accuracy(train.x, x),
        "nearest training digit, samples": Estimate.of(nearest_distance(x, train.x)),
        "nearest training digit, held out": Estimate.of(nearest_distance(held_out.x, train.x)),
    }
