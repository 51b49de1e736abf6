"""DiT on CIFAR-10, by class, in pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from flowlib.datasets import Labelled, cifar10, from_noise
from flowlib.estimates import Estimate
from flowlib.evaluation import accuracy
from flowlib.models import DiT
from flowlib.objectives import LogitNormal, flow_matching
from flowlib.recipes.dit_digits import draw_guided
from flowlib.recipes.judges import judges_of
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.training import Plan

Draw = Callable[[nn.Module, Tensor, torch.Generator], Tensor]  # (model, classes, generator) to pictures

draw_photographs = partial(draw_guided, shape=(3, 32, 32), w=2.0, steps=25)


def dit_cifar10(scale: Scale = "laptop") -> Recipe:
    """Train a DiT on straight lines from noise to photographs; one label in ten is dropped.

    The full run is for a GPU: 3.4 M parameters, so that the weights fit with the book. The laptop one shows the way.
    """
    full = scale == "full"
    return class_conditional(
        "dit_cifar10",
        partial(DiT, 3, 10, patch=2 if full else 4),
        lambda batch_size, generator: from_noise(cifar10("train"), batch_size, generator, flip=True),
        draw_photographs,
        lambda n, generator: Labelled(*(part[:n] for part in cifar10("test"))),
        full=full,
        data="CIFAR-10, the 50,000 training pictures, mirrored at random",
    )


def class_conditional(
    name: str,
    network: partial[DiT],
    batches: Callable[[int, torch.Generator], Iterator[tuple[Tensor, ...]]],
    draw: Draw,
    held_out: Callable[[int, torch.Generator], Labelled],
    *,
    full: bool,
    data: str,
) -> Recipe:
    """One training for pixels and for latents, so that the two can be compared.

    Args:
        name: of the recipe.
        network: a DiT of its channels and patch; width, depth and heads are the same for all.
        batches: as in ``Recipe``.
        draw: trained model, classes and generator to pictures.
        held_out: n examples of what the network sees, with their classes.
        full: whether the run is for a GPU.
        data: what it is trained on, for the card.
    """
    return Recipe(
        name=name,
        model=partial(network, width=160 if full else 64, depth=7 if full else 4, heads=5 if full else 4),
        batches=batches,
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
        evaluate=partial(evaluate, draw=draw, held_out=held_out, n=2000 if full else 100),
        judged_there=True,
        draw=lambda model, n, generator: draw(model, torch.arange(n) % 10, generator),
        data=data,
    )


@torch.no_grad()
def evaluate(
    model: nn.Module, *, draw: Draw, held_out: Callable[[int, torch.Generator], Labelled], n: int
) -> dict[str, Estimate]:
    """Loss on what was held out, at fixed noise and times, and what each judge at hand recognises of ``n`` pictures."""
    generator = torch.Generator().manual_seed(1)
    device = next(model.parameters()).device
    examples = held_out(min(n, 500), generator)
    batches = from_noise(examples, len(examples.x), generator)
    losses = [
        float(flow_matching(model, *(part.to(device) for part in next(batches)), generator=generator)) for _ in range(4)
    ]
    c = torch.arange(n) % 10
    drawn = torch.cat([draw(model, part, generator).cpu() for part in c.split(250)])
    return {"held-out loss": Estimate.of(losses)} | {
        f"recognised by {judge.name} (25 Heun steps, w=2)": accuracy(judge.model, drawn, c)
        for judge in judges_of("cifar10")
    }
