"""Rectified flow on CIFAR-10 with the U-Net of the flow-matching papers, without classes as their numbers are."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from flowlib.datasets import Stream, cifar10, from_noise
from flowlib.estimates import Estimate
from flowlib.models import UNet
from flowlib.objectives import flow_matching
from flowlib.recipes.judges import encoders_of
from flowlib.recipes.pictures import FULL, LAPTOP, Protocol, draw_pictures, frechet_by_steps, judge_pictures
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.training import Plan

SHAPE = (3, 32, 32)
LAPTOP_PLAN = Plan(steps=1200, batch_size=64, lr=2e-3, warmup=30, lr_schedule="cosine", clip=1.0, ema=0.98)


def rf_cifar10(scale: Scale = "laptop") -> Recipe:
    """Train a U-Net on straight lines from noise to mirrored photographs.

    The full run has the published size and plan, 38.3 M parameters and 51 M pictures, for hours of a GPU; published
    runs of it reach FID 3.6 to 4.5, depending on the solver. The laptop run, of 0.7 M parameters, shows the way.

    Source: Tong et al. 2024 (OT-CFM), table 5, I-CFM, and its published code for the plan.
    """
    full = scale == "full"
    return _recipe(
        "rf_cifar10",
        partial(UNet.of, "cifar10") if full else _tiny,
        # As published, but for the precision.
        Plan(steps=400_000, batch_size=128, lr=2e-4, warmup=5000, clip=1.0, precision="bfloat16", ema=0.9999)
        if full
        else LAPTOP_PLAN,
        FULL if full else LAPTOP,
    )


def rf_cifar10_small(scale: Scale = "laptop") -> Recipe:
    """Train a U-Net of 0.5 M parameters, whose 2 MB of weights fit with the book.

    The full run, 1.2 M pictures, is sized for an hour or two of one core that multiplies in bfloat16, or for minutes
    of a GPU. It is a recipe of its own and not a third scale: weights are named after their recipe, and the two full
    runs make different ones. Its laptop run is that of ``rf_cifar10``.
    """
    full = scale == "full"
    return _recipe(
        "rf_cifar10_small",
        partial(UNet, 3, width=16, multipliers=(1, 2, 3), blocks=1, attention=(2,)) if full else _tiny,
        replace(LAPTOP_PLAN, steps=9000, batch_size=128, warmup=200, precision="bfloat16", ema=0.999)
        if full
        else LAPTOP_PLAN,
        # Of fewer pictures than the published protocol, so that a core can draw them.
        replace(FULL, n=2000, steps=25, likelihood=100, draws=1, solves=25) if full else LAPTOP,
    )


def _recipe(name: str, model: partial, plan: Plan, protocol: Protocol) -> Recipe:
    return Recipe(
        name=name,
        model=model,
        batches=_batches,
        loss=flow_matching,
        plan=plan,
        evaluate=partial(_evaluate, protocol=protocol),
        draw=lambda model, n, generator: draw_pictures(model, SHAPE, n, None, generator, protocol),
        data="CIFAR-10, the 50,000 training pictures, mirrored at random",
        resident=True,
    )


_tiny = partial(UNet, 3, width=8, multipliers=(1, 2, 4, 8), blocks=1, attention=(2,))


def _batches(batch_size: int, generator: torch.Generator) -> Stream:
    def unlabelled(x_0: Tensor, x_1: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        return x_0, x_1

    data = cifar10("train").to(generator.device)
    return from_noise(data, batch_size, generator, flip=True).map(unlabelled)


def _evaluate(model: nn.Module, *, protocol: Protocol) -> dict[str, Estimate]:
    sets = {"train": cifar10("train"), "test": cifar10("test", exact=True)}
    told: dict[str, Any] = sets | {"by_class": False, "judges": encoders_of("cifar10")}
    return judge_pictures(model, protocol, **told) | frechet_by_steps(model, protocol, **told)
