"""DiT on CIFAR-10, by class, in pixels."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from flowlib.datasets import cifar10, from_noise
from flowlib.estimates import Estimate
from flowlib.evaluation import accuracy
from flowlib.models import DiT
from flowlib.objectives import LogitNormal, flow_matching
from flowlib.recipes.recipe import WEIGHTS, Recipe, Scale
from flowlib.recipes.vit_cifar10 import vit_cifar10
from flowlib.sampling import guide, sample
from flowlib.solvers import HEUN
from flowlib.training import Plan

NULL = 10


def dit_cifar10(scale: Scale = "laptop") -> Recipe:
    """Train a DiT on straight lines from noise to photographs; one label in ten is dropped.

    The full run is for a GPU: 3.4 M parameters, so that the weights fit with the book. The laptop one shows the way.
    """
    full = scale == "full"
    return Recipe(
        name="dit_cifar10",
        model=partial(
            DiT,
            3,
            10,
            patch=2 if full else 4,
            width=160 if full else 64,
            depth=7 if full else 4,
            heads=5 if full else 4,
        ),
        batches=lambda batch_size, generator: from_noise(cifar10("train"), batch_size, generator, flip=True),
        loss=partial(flow_matching, timesteps=LogitNormal()),
        plan=Plan(
            steps=40_000 if full else 300,
            batch_size=256 if full else 32,
            lr=1e-3,
            warmup=1000 if full else 50,
            lr_schedule="cosine",
            clip=1.0,
            precision="bfloat16" if full else "float32",
            ema=0.9995 if full else 0.99,
        ),
        evaluate=partial(evaluate, n=2000 if full else 100),
        draw=lambda model, n, generator: draw_photographs(model, torch.arange(n) % 10, generator),
        data="CIFAR-10, the 50,000 training pictures, mirrored at random",
    )


def draw_photographs(
    model: nn.Module, c: Tensor, generator: torch.Generator, *, w: float = 2.0, steps: int = 25
) -> Tensor:
    """Draw one picture of each class in ``c``, (B, 3, 32, 32), by guided Heun steps."""
    device = next(model.parameters()).device
    x_0 = torch.randn(len(c), 3, 32, 32, generator=generator).to(device)
    return sample(guide(model, w, null=NULL), x_0, c.to(device), steps=steps, method=HEUN)


@torch.no_grad()
def evaluate(model: nn.Module, *, n: int) -> dict[str, Estimate]:
    """Loss on held-out pictures, at fixed noise and times; and where the judge's weights are, what it recognises."""
    generator = torch.Generator().manual_seed(1)
    device = next(model.parameters()).device
    test = cifar10("test")
    held_out = from_noise(test, min(n, 500, len(test.x)), generator)
    losses = []
    for _ in range(4):
        batch = (part.to(device) for part in next(held_out))
        losses.append(float(flow_matching(model, *batch, generator=generator)))
    metrics = {"loss on held-out pictures": Estimate.of(losses)}
    if (WEIGHTS / "vit_cifar10.safetensors").is_file():
        c = torch.arange(n) % 10
        x = torch.cat([draw_photographs(model, part, generator).cpu() for part in c.split(250)])
        metrics["recognised (25 Heun steps, w=2)"] = accuracy(vit_cifar10("full").load(), x, c)
    return metrics
