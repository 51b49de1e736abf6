"""Glow on CIFAR-10: how far maximum likelihood with an invertible map goes on real photographs."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from flowlib.datasets import Stream, cifar10, epochs
from flowlib.estimates import Estimate
from flowlib.evaluation import bits_per_dim
from flowlib.flows import Glow
from flowlib.objectives import dequantise, negative_log_likelihood
from flowlib.recipes.nf_toy import draw
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.training import Plan

LEVELS = 256
FIRST = 256  # pictures that set the scales of ActNorm


def glow_cifar10(scale: Scale = "laptop") -> Recipe:
    """Train a three-level Glow on mirrored training pictures by maximum likelihood.

    The full run has the published size, 32 steps a level and 512 channels in each conditioner, 44.8 M parameters, and
    is to be compared with the published 3.35 bits a dimension. The laptop run shows the way in a few minutes. Building
    the model needs the set: its first batch sets the scales.

    Source: Glow (Kingma and Dhariwal 2018), table 2 and appendix C.
    """
    full = scale == "full"

    def model() -> Glow:
        flow = Glow((3, 32, 32), levels=3, steps=32 if full else 4, width=512 if full else 64)
        flow.initialise(dequantise(cifar10("train").x[:FIRST], LEVELS, torch.Generator().manual_seed(0)))
        return flow

    def batches(batch_size: int, generator: torch.Generator) -> Stream:
        def spread(x: Tensor, c: Tensor) -> tuple[Tensor]:
            return (dequantise(x, LEVELS, generator),)

        return epochs(cifar10("train").to(generator.device), batch_size, generator, flip=True).map(spread)

    return Recipe(
        name="glow_cifar10",
        model=model,
        batches=batches,
        loss=negative_log_likelihood,
        plan=Plan(
            steps=175_000 if full else 300,  # 1800 passes over the set, or a fifth of one
            batch_size=512 if full else 32,
            lr=1e-3,
            warmup=1000 if full else 50,
            lr_schedule="constant" if full else "cosine",
            clip=100.0,
            ema=0.999 if full else 0.97,
        ),
        evaluate=partial(_evaluate, n=10_000 if full else 500, samples=(1, 20) if full else (1, 5)),
        judged_there=True,
        draw=draw,
        data="CIFAR-10, the 50,000 training pictures, mirrored at random, 256 grey levels, dequantised",
    )


def _evaluate(model: nn.Module, *, n: int, samples: tuple[int, ...]) -> dict[str, Estimate]:
    """Bits a dimension on held-out pictures whose pixels are the published ones, for each number K of draws."""
    assert isinstance(model, Glow)
    x = cifar10("test", exact=True).x[:n].to(next(model.parameters()).device)
    generator = torch.Generator().manual_seed(1)
    return {
        f"bits/dim, {len(x)} held out, K={k}": bits_per_dim(
            model, x, levels=LEVELS, samples=k, generator=generator, batch_size=100
        )
        for k in samples
    }
