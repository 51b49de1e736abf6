"""A KL autoencoder of small photographs: 3072 numbers in 256 latents."""

from __future__ import annotations

from functools import partial

from flowlib.datasets import cifar10, epochs
from flowlib.models import Autoencoder
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.recipes.vae_digits import draw_prior, fit_constants, judge_latents, reconstruct
from flowlib.training import Plan

SIDE = 8  # of the grid of latents


def vae_cifar10(scale: Scale = "laptop") -> Recipe:
    """Train a KL autoencoder of 0.7 M parameters on CIFAR-10, mirrored at random, to 4 latents at each of 8 x 8 places.

    Both scales have the same network, so that one line loads the weights that the book ships: they are those of the
    full run, whose card says how long it took on one core of a busy machine; on a GPU give it ``--steps 30000``.
    """
    full = scale == "full"
    return Recipe(
        name="vae_cifar10",
        model=partial(Autoencoder, 3, 4, widths=(16, 32, 64), blocks=1, groups=8),
        batches=lambda batch_size, generator: epochs(cifar10("train"), batch_size, generator, flip=True),
        loss=partial(reconstruct, beta=0.02),
        plan=Plan(
            steps=2000 if full else 60,
            batch_size=64,
            lr=2e-3,
            warmup=50 if full else 10,
            lr_schedule="cosine",
            clip=1.0,
            ema=0.99 if full else 0.95,
        ),
        evaluate=lambda model: judge_latents(model, cifar10("test", exact=True).x[:2000]),
        draw=partial(draw_prior, side=SIDE),
        data="CIFAR-10, the 50,000 training pictures, mirrored at random",
        settle=lambda model: fit_constants(model, cifar10("train").x[:2000]),
    )
