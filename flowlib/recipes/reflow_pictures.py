"""Reflow on Fashion-MNIST and CIFAR-10: 2-rectified flows, their one-step students, and one class carried to another.

One command a stage, in this order; each finds the weights of the one before and makes the pairs that are missing::

    flowlib train rf_cifar10 --scale full
    flowlib train rf2_cifar10 --scale full
    flowlib train rf2_cifar10_distilled --scale full

Under torchrun the pairs have to be there: run the stage in one process until its first step, then stop it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from flowlib.datasets import CIFAR10_CLASSES, FASHION_CLASSES, Labelled, between_sets, cifar10, fashion_mnist, of_class
from flowlib.estimates import Estimate
from flowlib.evaluation import accuracy, features, frechet_distance
from flowlib.evaluation.features import Encoder
from flowlib.models import UNet
from flowlib.objectives import flow_matching
from flowlib.objectives.distillation import distillation
from flowlib.recipes.judges import encoders_of, judges_of
from flowlib.recipes.pictures import EULERS, FULL, LAPTOP, Protocol, draw_pictures, frechet_by_steps
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.recipes.rf_cifar10 import rf_cifar10
from flowlib.recipes.rf_fashion import rf_fashion
from flowlib.recipes.stages import load_teacher, pairs_of
from flowlib.recipes.transfer_digits import carry
from flowlib.rectify import transport_cost
from flowlib.solvers import EULER
from flowlib.training import Plan

BLUR = 0.1


def rf2_cifar10(scale: Scale = "laptop") -> Recipe:
    """Train the 2-rectified flow of CIFAR-10 on a million pairs of ``rf_cifar10``: 12 GB, in half precision."""
    return _cifar10("rf2_cifar10", rf_cifar10(scale), flow_matching, EULERS, scale)


def rf2_cifar10_distilled(scale: Scale = "laptop") -> Recipe:
    """Train the one-step student of ``rf2_cifar10``, from its weights, on a million pairs of its flow."""
    return _cifar10("rf2_cifar10_distilled", rf2_cifar10(scale), distillation, (1,), scale)


def rf2_fashion(scale: Scale = "laptop") -> Recipe:
    """Train the 2-rectified flow of Fashion-MNIST, by class, on 200 000 pairs of ``rf_fashion``."""
    return _fashion("rf2_fashion", rf_fashion(scale), flow_matching, EULERS, scale)


def rf2_fashion_distilled(scale: Scale = "laptop") -> Recipe:
    """Train the one-step student of ``rf2_fashion``, from its weights, on 200 000 pairs of its flow."""
    return _fashion("rf2_fashion_distilled", rf2_fashion(scale), distillation, (1,), scale)


def transfer_cifar10(scale: Scale = "laptop") -> Recipe:
    """Train a flow from automobiles to trucks."""
    return _transfer("transfer_cifar10", rf_cifar10(scale), cifar10, CIFAR10_CLASSES, "automobile", "truck", scale)


def transfer_fashion(scale: Scale = "laptop") -> Recipe:
    """Train a flow from sneakers to ankle boots."""
    base = rf_fashion(scale)
    return _transfer("transfer_fashion", base, fashion_mnist, FASHION_CLASSES, "sneaker", "ankle boot", scale)


def _cifar10(name: str, teacher: Recipe, loss: Callable[..., Tensor], steps: tuple[int, ...], scale: Scale) -> Recipe:
    full = scale == "full"
    return _stage(
        name,
        teacher,
        loss,
        Plan(steps=200_000, batch_size=256, lr=2e-4, warmup=5000, clip=1.0, precision="bfloat16", ema=0.9999)
        if full
        else Plan(steps=300, batch_size=64, lr=1e-3, warmup=10, lr_schedule="cosine", clip=1.0, ema=0.98),
        shape=(3, 32, 32),
        num_classes=0,
        shards=100 if full else 10,
        size=10_000 if full else 100,
        tolerance=1e-3 if full else 2e-2,  # two grey levels are enough for a network that is not sharp either
        steps=steps,
        protocol=FULL if full else LAPTOP,
        train=cifar10,
        judges=partial(encoders_of, "cifar10"),
    )


def _fashion(name: str, teacher: Recipe, loss: Callable[..., Tensor], steps: tuple[int, ...], scale: Scale) -> Recipe:
    full = scale == "full"
    return _stage(
        name,
        teacher,
        loss,
        Plan(steps=30_000, batch_size=256, lr=5e-4, warmup=1000, clip=1.0, precision="bfloat16", ema=0.9995)
        if full
        else Plan(steps=50, batch_size=16, lr=5e-4, warmup=5, clip=1.0, ema=0.9),
        shape=(1, 28, 28),
        num_classes=10,
        shards=20 if full else 2,
        size=10_000 if full else 16,
        steps=steps,
        protocol=FULL if full else LAPTOP,
        train=fashion_mnist,
        judges=partial(encoders_of, "fashion"),
    )


def _stage(
    name: str,
    teacher: Recipe,
    loss: Callable[..., Tensor],
    plan: Plan,
    *,
    shape: tuple[int, ...],
    num_classes: int,
    shards: int,
    size: int,
    tolerance: float = 1e-3,
    steps: tuple[int, ...],
    protocol: Protocol,
    train: Callable[..., Labelled],
    judges: Callable[[], dict[str, Encoder]],
) -> Recipe:
    one = replace(protocol, steps=steps[0], method=EULER)

    def classes(n: int) -> Tensor | None:
        return torch.arange(n) % num_classes if num_classes else None

    def evaluate(model: nn.Module) -> dict[str, Estimate]:
        told: dict[str, Any] = {"train": train("train"), "test": train("test"), "judges": judges()}
        return frechet_by_steps(model, protocol, **told, by_class=num_classes > 0, steps=steps)

    return Recipe(
        name=name,
        # A pair has one answer, so there is nothing for dropout to blur.
        model=partial(teacher.model, dropout=0.0),  # type: ignore[call-arg]
        batches=lambda batch_size, generator: pairs_of(
            teacher,
            shape,
            num_classes=num_classes,
            shards=shards,
            size=size,
            dtype=torch.float16,
            tolerance=tolerance,
        ).batches(batch_size, generator),
        loss=loss,
        plan=plan,
        evaluate=evaluate,
        draw=lambda model, n, generator: draw_pictures(model, shape, n, classes(n), generator, one),
        data=f"{shards * size} pairs of {teacher.name}",
        warm=partial(load_teacher, teacher),
        judged_there=True,
    )


def _transfer(
    name: str,
    base: Recipe,
    load: Callable[..., Labelled],
    names: tuple[str, ...],
    source: str,
    target: str,
    scale: Scale,
) -> Recipe:
    k_0, k_1 = names.index(source), names.index(target)
    channels = 3 if load is cifar10 else 1

    def evaluate(model: nn.Module) -> dict[str, Estimate]:
        generator = torch.Generator().manual_seed(1)
        x_0, x_1 = carry(model, of_class(load("test"), k_0).x[:500], generator)
        real, other = of_class(load("train"), k_1).x, of_class(load("test"), k_1).x[: len(x_0)]
        metrics = {
            "cost of the flow's pairs": transport_cost(x_0, x_1),
            "cost of random pairs": transport_cost(x_0[: len(other)], other),
        }
        for judge in judges_of("cifar10" if load is cifar10 else "fashion"):
            seen, held_out, carried = (features(judge.features, x) for x in (real, other, x_1))
            n, m, asked = len(carried), len(seen), torch.full((len(carried),), k_1)
            metrics |= {
                f"read as {target} by {judge.name}, n={n}": accuracy(judge.model, x_1, asked),
                f"Frechet distance ({judge.name}, n={n} against {m})": frechet_distance(carried, seen),
                f"its floor ({judge.name}, held out, n={len(held_out)} against {m})": frechet_distance(held_out, seen),
            }
        return metrics

    def draw(model: nn.Module, n: int, generator: torch.Generator) -> Tensor:
        return carry(model, of_class(load("test"), k_0).x[:n], generator)[1]

    width = {"width": 64, "multipliers": (1, 2, 2), "blocks": 2} if scale == "full" else {"width": 16, "blocks": 1}
    return Recipe(
        name=name,
        model=partial(UNet, channels, **width, attention=(1,), dropout=0.1),
        batches=lambda batch_size, generator: between_sets(
            of_class(load("train"), k_0), of_class(load("train"), k_1), batch_size, generator, blur=BLUR
        ),
        loss=flow_matching,
        plan=replace(base.plan, steps=20_000 if scale == "full" else 50, batch_size=128 if scale == "full" else 16),
        evaluate=evaluate,
        draw=draw,
        data=f"{source} to {target}, {base.data}",
    )
