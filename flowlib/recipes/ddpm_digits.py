"""Diffusion on handwritten digits, by class: a small network that predicts noise. Chapter 03."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from flowlib.datasets import digits, from_noise, grey_levels
from flowlib.estimates import Estimate
from flowlib.evaluation import accuracy, nearest_distance, two_sample_accuracy
from flowlib.models import UNet
from flowlib.objectives import flow_matching
from flowlib.paths import VP
from flowlib.recipes.judge_digits import judge_digits
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.sampling import ddim
from flowlib.training import Plan


def ddpm_digits(scale: Scale = "laptop") -> Recipe:
    """Train a U-Net of 0.2 M parameters to predict the noise in diffused digits, given their class.

    The loss is DDPM's simple one in continuous time, ``E |eps(x_t, t, c) - x_0|^2`` with t uniform (Ho et al. 2020,
    equation 14), on the linear schedule. The weights that the book ships come from the full run of 1500 steps.
    """
    full = scale == "full"
    return Recipe(
        name="ddpm_digits",
        model=partial(UNet, 1, 10, width=16, multipliers=(1, 2), blocks=1, attention=(1,)),
        batches=lambda batch_size, generator: from_noise(digits("train"), batch_size, generator),
        loss=partial(flow_matching, path=VP(), predict="noise"),
        plan=Plan(
            steps=1500 if full else 300,
            batch_size=128,
            lr=3e-3,
            warmup=100,
            lr_schedule="cosine",
            clip=1.0,
            ema=0.998 if full else 0.99,
        ),
        evaluate=evaluate,
        draw=lambda model, n, generator: diffuse_digits(model, torch.arange(n) % 10, generator),
        data="scikit-learn's handwritten digits, 1437 of 1797",
    )


def diffuse_digits(
    model: nn.Module, c: Tensor, generator: torch.Generator, *, steps: int = 50, eta: float = 0.0
) -> Tensor:
    """Draw one digit of each class in ``c``, (B, 1, 8, 8), by DDIM (eta = 0) or DDPM (eta = 1)."""
    device = next(model.parameters()).device
    x_0 = torch.randn(len(c), 1, 8, 8, generator=generator).to(device)
    return ddim(model, x_0, c.to(device), path=VP(), steps=steps, eta=eta, generator=generator)


def evaluate(model: nn.Module) -> dict[str, Estimate]:
    """Judge the digits: recognised, not told from real ones, not copied."""
    generator = torch.Generator().manual_seed(1)
    train, held_out = digits("train"), digits("test")
    few, many = (grey_levels(diffuse_digits(model, train.c, generator, steps=steps)) for steps in (10, 50))
    ancestral = grey_levels(diffuse_digits(model, train.c, generator, steps=200, eta=1.0))
    judge = judge_digits().load()
    return {
        "recognised (10 steps of DDIM)": accuracy(judge, few, train.c),
        "recognised (50 steps of DDIM)": accuracy(judge, many, train.c),
        "recognised (200 steps of DDPM)": accuracy(judge, ancestral, train.c),
        "told from training digits (10 steps of DDIM)": two_sample_accuracy(train.x, few),
        "told from training digits (50 steps of DDIM)": two_sample_accuracy(train.x, many),
        "told from training digits (200 steps of DDPM)": two_sample_accuracy(train.x, ancestral),
        "nearest training digit, samples": Estimate.of(nearest_distance(many, train.x)),
        "nearest training digit, held out": Estimate.of(nearest_distance(held_out.x, train.x)),
    }
