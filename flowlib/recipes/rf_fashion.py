"""Rectified flow on Fashion-MNIST, by class: real pictures at the price of toys."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

from flowlib.datasets import fashion_mnist, from_noise
from flowlib.estimates import Estimate
from flowlib.evaluation import accuracy
from flowlib.models import UNet
from flowlib.objectives import flow_matching
from flowlib.recipes.judges import judges_of
from flowlib.recipes.pictures import FULL, LAPTOP, Protocol, draw_pictures, frechet_by_steps, judge_pictures
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.training import Plan

SHAPE = (1, 28, 28)


def rf_fashion(scale: Scale = "laptop") -> Recipe:
    """Train a U-Net on straight lines from noise to mirrored pictures of clothing, given their kind.

    The full run, 6.9 M parameters and 12.8 M pictures, is for a GPU. The laptop run, 0.7 M and 8000, shows the way.
    """
    full = scale == "full"
    protocol = FULL if full else LAPTOP
    big = partial(UNet, 1, 10, width=64, multipliers=(1, 2, 2), blocks=2, attention=(1,), dropout=0.1)
    return Recipe(
        name="rf_fashion",
        model=big if full else partial(UNet, 1, 10, width=16, multipliers=(1, 2, 4), blocks=1, attention=(2,)),
        batches=lambda batch_size, generator: from_noise(
            fashion_mnist("train").to(generator.device), batch_size, generator, flip=True
        ),
        loss=flow_matching,
        plan=Plan(
            steps=50_000 if full else 250,
            batch_size=256 if full else 32,
            lr=1e-3 if full else 2e-3,
            warmup=1000 if full else 20,
            lr_schedule="cosine",
            clip=1.0,
            precision="bfloat16" if full else "float32",
            ema=0.9995 if full else 0.97,
        ),
        evaluate=partial(_evaluate, protocol=protocol),
        draw=lambda model, n, generator: draw_pictures(model, SHAPE, n, torch.arange(n) % 10, generator, protocol),
        data="Fashion-MNIST, the 60,000 training pictures, mirrored at random",
        resident=True,
    )


def _evaluate(model: nn.Module, *, protocol: Protocol) -> dict[str, Estimate]:
    train, test, judges = fashion_mnist("train"), fashion_mnist("test"), judges_of("fashion")
    metrics: dict[str, Estimate] = {}
    if judges:
        c = torch.arange(min(protocol.n, len(test.x))) % 10
        x = draw_pictures(model, SHAPE, len(c), c, torch.Generator().manual_seed(2), protocol)
        metrics = {f"recognised by {judge.name}, n={len(c)}": accuracy(judge.model, x, c) for judge in judges}
    encoders = {judge.name: judge.features for judge in judges}
    told: dict[str, Any] = {"train": train, "test": test, "by_class": True, "judges": encoders}
    return metrics | judge_pictures(model, protocol, **told) | frechet_by_steps(model, protocol, **told)
