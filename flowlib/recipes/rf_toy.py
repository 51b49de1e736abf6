"""Rectified flow from a Gaussian to eight, in the plane: the run of chapter 04."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from flowlib.datasets import between
from flowlib.densities import Gaussian, eight_gaussians
from flowlib.estimates import Estimate
from flowlib.evaluation import sampling_floor, wasserstein
from flowlib.models import MLP
from flowlib.objectives import flow_matching
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.sampling import sample
from flowlib.solvers import EULER
from flowlib.training import Plan


def rf_toy(scale: Scale = "laptop") -> Recipe:
    """Train an MLP on straight lines from N(0, I) to eight Gaussians (Liu et al. 2023, algorithm 1)."""
    laptop = scale == "laptop"
    source, target = Gaussian(torch.zeros(2)), eight_gaussians()

    def draw(model: nn.Module, n: int, generator: torch.Generator) -> torch.Tensor:
        x_0 = source.sample(n, generator).to(next(model.parameters()).device)
        return sample(model, x_0, steps=100, method=EULER)

    def evaluate(model: nn.Module) -> dict[str, Estimate]:
        n, blocks = (1000, 5) if laptop else (10_000, 1)
        generator = torch.Generator().manual_seed(1)
        x = draw(model, n * blocks, generator)
        return {
            f"W2 (n={n}, Euler 100)": wasserstein(x, target.sample(n * blocks, generator), blocks=blocks),
            f"W2 floor (n={n})": sampling_floor(target, n, blocks=blocks, generator=generator),
        }

    return Recipe(
        name="rf_toy",
        model=partial(MLP, 2, width=128 if laptop else 256, depth=3),
        batches=lambda batch_size, generator: between(source, target, batch_size, generator),
        loss=flow_matching,
        plan=Plan(
            steps=4000 if laptop else 50_000,
            batch_size=512,
            lr=4e-3 if laptop else 2e-3,
            lr_schedule="cosine",
            ema=0.99,
        ),
        evaluate=evaluate,
        draw=draw,
        data="eight Gaussians, radius 2.83, standard deviation 0.354",
    )
