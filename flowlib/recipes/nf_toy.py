"""Normalizing and continuous flows of toy densities in the plane: the runs of chapters 01 and 02."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from flowlib.densities import Density, checkerboard, eight_gaussians, moons
from flowlib.errors import InputError
from flowlib.estimates import Estimate
from flowlib.flows import CNF, MAF, Flow, RealNVP, SplineFlow
from flowlib.models import MLP
from flowlib.objectives import negative_log_likelihood
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.solvers import RK4
from flowlib.training import Plan

Family = Literal["realnvp", "maf", "spline", "cnf"]
Toy = Literal["moons", "eight_gaussians", "checkerboard"]
FAMILIES: tuple[Family, ...] = ("realnvp", "maf", "spline", "cnf")
TOYS: dict[Toy, Callable[[], Density]] = {
    "moons": partial(moons, noise=0.1),
    "eight_gaussians": eight_gaussians,
    "checkerboard": checkerboard,
}


def nf_toy(scale: Scale = "laptop", *, family: Family = "spline", toy: Toy = "moons") -> Recipe:
    """Train one family of flows on one toy by maximum likelihood, on fresh samples at every step.

    Args:
        scale: laptop (about half a minute on one core) or full.
        family: realnvp, maf, spline (coupling) or cnf.
        toy: moons with noise 0.1, eight_gaussians as FFJORD has them, or the checkerboard.

    Raises:
        InputError: another family or toy.
    """
    if family not in FAMILIES:
        raise InputError("family", expected=f"one of {', '.join(FAMILIES)}", got=repr(family))
    if toy not in TOYS:
        raise InputError("toy", expected=f"one of {', '.join(TOYS)}", got=repr(toy))
    target = TOYS[toy]()
    return Recipe(
        name=f"{family}_{toy}",
        model=partial(_model, family, target, scale),
        batches=partial(_stream, target),
        loss=negative_log_likelihood,
        plan=_plan(family, scale),
        evaluate=partial(_evaluate, target),
        draw=draw,
        data=f"{toy}, fresh samples, entropy {target.entropy():.4f} nats",
    )


def draw(model: nn.Module, n: int, generator: torch.Generator) -> Tensor:
    """Draw ``n`` samples of a flow."""
    assert isinstance(model, Flow)
    return model.sample(n, generator=generator)


def _model(family: Family, target: Density, scale: Scale) -> Flow:
    layers, width = (8, 64) if scale == "laptop" else (16, 128)
    if family == "realnvp":
        return RealNVP(2, layers=layers, width=width)
    if family == "maf":
        return MAF(2, layers=layers, width=width)
    if family == "cnf":
        # A probe makes a step twice as fast as the exact divergence; the judge below uses adaptive steps and no probe.
        return CNF(MLP(2, width=width, depth=3), (2,), method=RK4, steps=5, probe="rademacher")
    flow = SplineFlow(2, layers=6, bins=8) if scale == "laptop" else SplineFlow(2, layers=8, bins=16)
    flow.initialise(target.sample(2000, torch.Generator().manual_seed(0)))
    return flow


def _plan(family: Family, scale: Scale) -> Plan:
    lr = {"realnvp": 2e-3, "maf": 2e-3, "spline": 3e-3, "cnf": 1e-2}[family]
    if scale == "full":
        return Plan(steps=10_000, batch_size=512, lr=lr, lr_schedule="cosine", clip=10.0, ema=0.999)
    steps = 1200 if family == "cnf" else 2500
    return Plan(steps=steps, batch_size=256, lr=lr, lr_schedule="cosine", clip=10.0, ema=0.99)


def _stream(target: Density, batch_size: int, generator: torch.Generator) -> Iterator[tuple[Tensor]]:
    while True:
        yield (target.sample(batch_size, generator),)


@torch.no_grad()
def _evaluate(target: Density, model: nn.Module) -> dict[str, Estimate]:
    """NLL, floor, and their difference from the same samples: what the samples share cancels there."""
    flow = CNF(model.v, (2,)) if isinstance(model, CNF) else model
    assert isinstance(flow, Flow)
    x = target.sample(20_000, torch.Generator().manual_seed(1))
    log_p, log_q = target.log_prob(x), torch.cat([flow.log_prob(part) for part in x.split(5000)])
    return {
        "NLL (nats)": Estimate.of(-log_q),
        "entropy floor (nats)": Estimate(target.entropy(), 0.0),
        "KL = NLL - floor (nats, paired)": Estimate.of(log_p - log_q),
    }
