"""Five families on one target in the plane: the runs and the table of chapter 00."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from flowlib.datasets import between
from flowlib.densities import Gaussian, GaussianMixture, pinwheel
from flowlib.errors import InputError
from flowlib.estimates import Estimate
from flowlib.evaluation import wasserstein
from flowlib.flows import CNF, Flow, MatchedFlow, SplineFlow
from flowlib.layers import MADE, ConditionedMLP
from flowlib.models import MLP
from flowlib.objectives import flow_matching
from flowlib.paths import OT, VP
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.recipes.results import Row, fill
from flowlib.solvers import DOPRI5, RK4
from flowlib.training import Plan

Road = Literal["normalizing", "continuous", "diffusion", "rectified", "autoregressive"]
ROADS: tuple[Road, ...] = ("normalizing", "continuous", "diffusion", "rectified", "autoregressive")
N, BLOCKS = 1000, 5  # samples of a distance, and how many distances are averaged


def family_2d(scale: Scale = "laptop", *, road: Road = "rectified") -> Recipe:
    """Train one family on the pinwheel, on fresh samples at every step; its model has ``log_prob`` and ``sample``.

    - normalizing: four couplings of splines, by maximum likelihood
    - continuous: a velocity field, by maximum likelihood
    - diffusion: the noise, by regression on the VP path
    - rectified: the velocity, by regression on straight paths
    - autoregressive: one triangular spline, the law of the first coordinate and that of the second given the first

    Args:
        scale: laptop (some ten seconds of one core) or full.
        road: which family.

    Raises:
        InputError: another family.
    """
    if road not in ROADS:
        raise InputError("road", expected=f"one of {', '.join(ROADS)}", got=repr(road))
    target = pinwheel()
    return Recipe(
        name=f"{road}_pinwheel",
        model=partial(_model, road, target, scale),
        batches=lambda size, generator: between(Gaussian(torch.zeros(2)), target, size, generator),
        loss=matching if road in ("diffusion", "rectified") else likelihood,
        plan=_plan(road, scale),
        evaluate=partial(judge, target),
        draw=draw,
        data="pinwheel with five arms, fresh samples",
    )


def likelihood(flow: Flow, x_0: Tensor, x_1: Tensor) -> Tensor:
    """Negative log-likelihood of the data; the noise of the batch is not needed."""
    return -flow.log_prob(x_1).mean()


def matching(flow: MatchedFlow, x_0: Tensor, x_1: Tensor) -> Tensor:
    """Regression of the flow's network on what it predicts, on the flow's path."""
    return flow_matching(flow.v, x_0, x_1, path=flow.path, predict=flow.predict)


def draw(model: nn.Module, n: int, generator: torch.Generator) -> Tensor:
    """Draw ``n`` samples of a trained family."""
    return exactly(model).sample(n, generator=generator)


def exactly(model: nn.Module) -> Flow:
    """The same flow, for judging: an ODE is solved with steps that it chooses, its divergence computed in full."""
    assert isinstance(model, Flow)
    if isinstance(model, CNF):
        model.method, model.probe = DOPRI5, None
    return model.eval()


def _model(road: Road, target: GaussianMixture, scale: Scale) -> Flow:
    width = 64 if scale == "laptop" else 128
    if road == "continuous":
        return CNF(MLP(2, width=width, depth=3), (2,), method=RK4, steps=4, probe="rademacher")
    if road == "diffusion":
        return MatchedFlow(MLP(2, width=2 * width, depth=3), (2,), VP(), predict="noise")
    if road == "rectified":
        return MatchedFlow(MLP(2, width=2 * width, depth=3), (2,), OT())
    if road == "normalizing":
        flow = SplineFlow(2, layers=4, bins=16, width=width)
    else:
        flow = SplineFlow(2, layers=1, bins=32, autoregressive=True, width=2 * width)
    flow.initialise(target.sample(2000, torch.Generator().manual_seed(0)))
    return flow


def _plan(road: Road, scale: Scale) -> Plan:
    matched = road in ("diffusion", "rectified")
    steps = 2000 if matched else 500 if road == "continuous" else 1000
    return Plan(
        steps=steps if scale == "laptop" else 20_000,
        batch_size=512 if matched else 256,
        lr=4e-3 if matched else 1e-2 if road == "continuous" else 5e-3,
        lr_schedule="cosine",
        clip=10.0,
        ema=0.99,
    )


# ---------------------------------------------------------------- judging


@torch.no_grad()
def judge(target: GaussianMixture, model: nn.Module, *, blocks: int = BLOCKS) -> dict[str, Estimate]:
    """KL divergence, W2 and its sampling floor, from ``blocks`` thousand samples.

    Both terms of ``KL = E[log p - log q]`` are taken at the same points: what these share cancels in the error.
    """
    flow, generator = exactly(model), torch.Generator().manual_seed(1)
    x, y = target.sample(N * blocks, generator), target.sample(N * blocks, generator)
    log_q = torch.cat([flow.log_prob(part) for part in x.split(N)])
    drawn = flow.sample(N * blocks, generator=generator)
    return {
        "KL": Estimate.of(target.log_prob(x) - log_q),
        "W2": wasserstein(drawn, x, blocks=blocks),
        "W2 floor": wasserstein(y, x, blocks=blocks),
    }


@contextmanager
def calls_counted(flow: Flow) -> Iterator[list[int]]:
    """Count how often a network of ``flow`` is evaluated: a list of one number."""
    count = [0]
    networks = [module for module in flow.modules() if isinstance(module, MLP | MADE | ConditionedMLP)]

    def one_more(*_: Any) -> None:
        count[0] += 1

    handles = [network.register_forward_hook(one_more) for network in networks]
    try:
        yield count
    finally:
        for handle in handles:
            handle.remove()


def families_2d(path: str | Path, seeds: Sequence[int] = (0, 1, 2)) -> list[Row]:
    """Fill the table: cost and quality of every family from several seeds, some 10 seconds of one core a row."""
    return fill(path, [{"road": road, "seed": seed} for seed in seeds for road in ROADS], measure)


def measure(road: Road, seed: int) -> dict[str, float]:
    """Train one family from one seed and judge it; the seconds are those of one core."""
    recipe = family_2d(road=road).changed(seed=seed)
    start = time.process_time()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # of the times and the probes
        run = recipe.start()
        for _ in run.steps:
            pass
    seconds = time.process_time() - start
    flow = exactly(recipe.finished(run))
    numbers = {"parameters": sum(p.numel() for p in flow.parameters()), "train": round(seconds, 1)}
    for verb in ("log_prob", "sample"):
        with calls_counted(flow) as count:
            start = time.process_time()
            with torch.no_grad():
                flow.sample(N) if verb == "sample" else flow.log_prob(pinwheel().sample(N))
        numbers |= {f"{verb} calls": count[0], f"{verb} seconds": round(time.process_time() - start, 3)}
    return numbers | {name: found.value for name, found in recipe.evaluate(flow).items()}
