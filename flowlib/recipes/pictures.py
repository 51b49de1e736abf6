"""What the recipes of rectified flow on pictures share: drawing, and a report in which each number has its protocol."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from flowlib.datasets import Labelled
from flowlib.estimates import Estimate
from flowlib.evaluation import bits_per_dim, features, fidelity, frechet_distance, nearest_distance
from flowlib.evaluation.features import Encoder
from flowlib.flows import MatchedFlow
from flowlib.objectives import flow_matching
from flowlib.recipes.judges import with_inception
from flowlib.sampling import sample
from flowlib.solvers import EULER, HEUN, MIDPOINT, RK4, Tableau
from flowlib.tensors import randn, to_float, to_uint8


@dataclass(frozen=True)
class Protocol:
    """How a model of pictures is drawn from and judged.

    Attributes:
        n: pictures drawn, or as many as the test set has.
        reference: training pictures that they are compared with.
        steps: of the solver.
        method: the solver.
        likelihood: held-out pictures whose bits a dimension are computed.
        draws: K, of the dequantisation.
        solves: steps of the solver, RK4, of the likelihood.
    """

    n: int
    reference: int
    steps: int
    method: Tableau
    likelihood: int
    draws: int
    solves: int


# The midpoint rule never asks for the velocity at t = 1, which Heun does; fifty Heun steps are what published runs use.
LAPTOP = Protocol(n=100, reference=1000, steps=10, method=MIDPOINT, likelihood=10, draws=1, solves=10)
EULERS = (1, 2, 4, 8, 100)  # steps of the tables that ask how straight a flow is
FULL = Protocol(n=10_000, reference=50_000, steps=50, method=HEUN, likelihood=500, draws=5, solves=50)


def draw_pictures(
    model: nn.Module,
    shape: tuple[int, ...],
    n: int,
    c: Tensor | None,
    generator: torch.Generator,
    protocol: Protocol,
) -> Tensor:
    """Draw ``n`` pictures, 250 at a time, (n, *shape), on the CPU."""
    like = next(model.parameters())
    parts = []
    for start in range(0, n, 250):
        x_0 = randn((min(250, n - start), *shape), like=like, generator=generator)
        here = None if c is None else c[start : start + 250].to(like.device)
        parts.append(sample(model, x_0, here, steps=protocol.steps, method=protocol.method).cpu())
    return torch.cat(parts)


@torch.no_grad()
def judge_pictures(
    model: nn.Module,
    protocol: Protocol,
    *,
    train: Labelled,
    test: Labelled,
    by_class: bool,
    judges: dict[str, Encoder],
) -> dict[str, Estimate]:
    """Report the loss and bits a dimension on held-out pictures, copies, and distances by every judge that is at hand.

    Args:
        model: a velocity field, on any device.
        protocol: how many, and by which solver.
        train: the training set.
        test: the held-out set, whose pixels are the published ones.
        by_class: whether the model is told the class.
        judges: encoders of pictures, by name; Inception is added where torch-fidelity is installed.
    """
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(1)
    n, shape = min(protocol.n, len(test.x)), tuple(test.x.shape[1:])
    steps = f"{protocol.method.name} {protocol.steps}"
    metrics = {f"loss, held out, n={n}": _loss(model, Labelled(*(u[:n] for u in test)), by_class, generator)}

    m = min(protocol.likelihood, n)
    x, c = test.x[:m].to(device), test.c[:m].to(device) if by_class else None
    flow = MatchedFlow(model, shape, method=RK4, steps=protocol.solves, probe="rademacher")
    metrics[f"bits/dim, held out, n={m}, K={protocol.draws}, RK4 {protocol.solves}, one probe"] = bits_per_dim(
        flow, x, c, levels=256, samples=protocol.draws, generator=generator, batch_size=50
    )

    generated = draw_pictures(model, shape, n, test.c[:n] if by_class else None, generator, protocol)
    generated = to_float(to_uint8(generated))
    few, near = min(n, 500), train.x[: protocol.reference]
    for name, pictures in (("drawn", generated), ("held out", test.x)):
        metrics[f"nearest of {len(near)} training pictures, {name}, n={few}"] = Estimate.of(
            nearest_distance(pictures[:few], near)
        )
    for judge, encode in with_inception(judges, device).items():
        metrics |= fidelity(encode, f"{judge}, {steps} steps", near, test.x, generated)
    return metrics


def frechet_by_steps(
    model: nn.Module,
    protocol: Protocol,
    *,
    train: Labelled,
    test: Labelled,
    by_class: bool,
    judges: dict[str, Encoder],
    steps: tuple[int, ...] = EULERS,
) -> dict[str, Estimate]:
    """Report the Frechet distance to training pictures by the number of Euler steps from the same noise, and its floor.

    Args:
        model: a velocity field, on any device.
        protocol: how many pictures.
        train: the training set.
        test: the held-out set, for the floor.
        by_class: whether the model is told the class; then it is asked for each of ten in turn.
        judges: encoders of pictures, by name; Inception is added where torch-fidelity is installed.
        steps: the numbers of steps.
    """
    judges = with_inception(judges, next(model.parameters()).device)
    n, shape = min(protocol.n, len(test.x)), tuple(test.x.shape[1:])
    real = {name: features(encode, train.x[: protocol.reference]) for name, encode in judges.items()}
    found: dict[str, Estimate] = {}
    for name, encode in judges.items():
        key = f"its floor ({name}, held out, n={n} against {len(real[name])})"
        found[key] = frechet_distance(features(encode, test.x[:n]), real[name])
    for k in steps:
        c = torch.arange(n) % 10 if by_class else None
        here = replace(protocol, steps=k, method=EULER)
        x = draw_pictures(model, shape, n, c, torch.Generator().manual_seed(1), here)
        for name, encode in judges.items():
            key = f"Frechet distance ({name}, n={n} against {len(real[name])}), Euler {k}"
            found[key] = frechet_distance(features(encode, x), real[name])
    return found


def _loss(model: nn.Module, data: Labelled, by_class: bool, generator: torch.Generator) -> Estimate:
    """Flow-matching loss over pictures, each at its own noise and time; the error is over parts of fifty."""
    device = next(model.parameters()).device
    parts = []
    for x_1, c in zip(data.x.split(50), data.c.split(50), strict=True):
        x_0 = randn(x_1.shape, like=x_1, generator=generator).to(device)
        told = c.to(device) if by_class else None
        parts.append(float(flow_matching(model, x_0, x_1.to(device), told, generator=generator)))
    return Estimate.of(parts)
