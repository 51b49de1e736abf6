"""The judge of small photographs: its features measure how far drawn ones are from real ones, offline."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from flowlib.datasets import Stream, cifar10, epochs
from flowlib.models import ResidualClassifier
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.recipes.vit_cifar10 import evaluate, shifted
from flowlib.recipes.vit_digits import cross_entropy
from flowlib.training import Plan


def judge_cifar10(scale: Scale = "laptop") -> Recipe:
    """Train a residual network of 0.65 M parameters on photographs mirrored and moved; one run serves both scales.

    Ten passes; the card says how long they took on one core, of a machine that was busy.
    """

    def batches(batch_size: int, generator: torch.Generator) -> Stream:
        def moved(x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
            return shifted(x, 2, generator), c

        return epochs(cifar10("train"), batch_size, generator, flip=True).map(moved)

    return Recipe(
        name="judge_cifar10",
        model=ResidualClassifier,
        batches=batches,
        loss=cross_entropy,
        plan=Plan(
            steps=4000,
            batch_size=128,
            lr=3e-3,
            warmup=250,
            lr_schedule="cosine",
            weight_decay=0.05,
            clip=1.0,
            precision="bfloat16",
            ema=0.99,
        ),
        evaluate=partial(evaluate, n=10_000),
        judged_there=True,
        draw=None,
        data="CIFAR-10, the 50,000 training pictures, mirrored and moved at random",
    )
