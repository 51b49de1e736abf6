"""Reflow of the digits and its student: the pictures of chapter 05."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from flowlib.datasets import digits, grey_levels
from flowlib.estimates import Estimate
from flowlib.evaluation import accuracy, frechet_distance, two_sample_accuracy
from flowlib.evaluation.features import features
from flowlib.objectives import flow_matching
from flowlib.objectives.distillation import distillation
from flowlib.recipes.judge_digits import judge_digits
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.recipes.rf_digits import draw_digits, rf_digits
from flowlib.recipes.stages import load_teacher, pairs_of
from flowlib.rectify import Pairs, PairShards, flow_pairs
from flowlib.solvers import EULER
from flowlib.training import Plan

SIZE = 1000  # pairs a shard
# In units of [-1, 1], where a grey level is 0.125. The pairs of the nearly straight flow cost a quarter of the others.
TOLERANCE = {"rf_digits": 1e-3, "rf2_digits": 5e-3}


def rf2_digits(scale: Scale = "laptop") -> Recipe:
    """Train the 2-rectified flow of the digits: ``rf_digits``'s network and weights, on the pairs of its flow.

    The full run makes 10 000 pairs first, about 15 minutes of one core, and keeps them in ``runs/rf_digits/pairs``.
    """
    return _stage("rf2_digits", rf_digits(scale), flow_matching, scale, shards=10, steps=1000, judged=(1, 2, 4, 20))


def rf2_digits_distilled(scale: Scale = "laptop") -> Recipe:
    """Train the one-step student of ``rf2_digits``, from its weights, on 4000 pairs of its flow."""
    return _stage("rf2_digits_distilled", rf2_digits(scale), distillation, scale, shards=4, steps=400, judged=(1,))


def _stage(
    name: str,
    teacher: Recipe,
    loss: Callable[..., Tensor],
    scale: Scale,
    *,
    shards: int,
    steps: int,
    judged: tuple[int, ...],
) -> Recipe:
    full = scale == "full"
    return Recipe(
        name=name,
        # A pair has one answer, so there is nothing for dropout to blur.
        model=partial(teacher.model, dropout=0.0),  # type: ignore[call-arg]
        batches=lambda batch_size, generator: _pairs(teacher, shards if full else 0).batches(batch_size, generator),
        loss=loss,
        plan=Plan(
            steps=steps if full else 60,
            batch_size=128 if full else 64,
            lr=1e-3,
            warmup=50,
            lr_schedule="cosine",
            clip=1.0,
            ema=0.999 if full else 0.95,
        ),
        evaluate=partial(evaluate_few_steps, steps=judged),
        draw=lambda model, n, generator: draw_digits(model, torch.arange(n) % 10, generator, steps=1, method=EULER),
        data=f"{shards * SIZE if full else 500} pairs of {teacher.name}",
        warm=partial(load_teacher, teacher),
    )


def _pairs(teacher: Recipe, shards: int) -> Pairs | PairShards:
    """Pairs of the teacher's flow; without shards few and with a looser solver, to show the way."""
    if shards:
        return pairs_of(teacher, (1, 8, 8), num_classes=10, shards=shards, size=SIZE, tolerance=TOLERANCE[teacher.name])
    x_0 = torch.randn(500, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return flow_pairs(teacher.load(), x_0, torch.arange(500) % 10, steps=8)


def evaluate_few_steps(model: nn.Module, *, steps: tuple[int, ...]) -> dict[str, Estimate]:
    """Judge the samples of each number of Euler steps, as many of each class as the training set has."""
    found: dict[str, Estimate] = {}
    for n in steps:
        found |= {f"{name} ({n} Euler)": value for name, value in judge_samples(model, n).items()}
    return found


def judge_samples(model: nn.Module, steps: int, seed: int = 1) -> dict[str, Estimate]:
    """Recognition, distance to the training digits on the judge's features (rounded to grey levels), two-sample score.

    Args:
        model: a field v(x, t, c).
        steps: Euler steps.
        seed: of the noise.
    """
    c = digits("train").c
    return judge_drawn(draw_digits(model, c, torch.Generator().manual_seed(seed), steps=steps, method=EULER))


def judge_drawn(x: Tensor) -> dict[str, Estimate]:
    """The same three numbers of pictures x, (1437, 1, 8, 8), drawn in the classes of the training digits."""
    train, judge = digits("train"), judge_digits().load()
    return {
        "recognised": accuracy(judge, x, train.c),
        "Frechet distance": frechet_distance(*(features(judge.features, u) for u in (x, train.x))),  # type: ignore[arg-type]
        "told from training digits": two_sample_accuracy(train.x, grey_levels(x)),
    }


def judge_floor(splits: int = 8, seed: int = 0) -> dict[str, Estimate]:
    """What ``judge_drawn`` would say of real digits: means over splits of the training set into halves, class by class.

    A Frechet distance of two samples of one law falls as 1/n, so that of two halves is twice that of two whole sets:
    half of it is returned. Recognised are the held-out digits.

    Args:
        splits: number of splits.
        seed: of the splits.
    """
    train, held_out, judge = digits("train"), digits("test"), judge_digits().load()
    generator, distances, told = torch.Generator().manual_seed(seed), [], []
    for _ in range(splits):
        order = torch.randperm(len(train.c), generator=generator)
        order = order[train.c[order].argsort(stable=True)]  # shuffled, class by class
        halves = [train.x[order[k::2][: len(order) // 2]] for k in (0, 1)]
        distance = frechet_distance(*(features(judge.features, u) for u in halves))  # type: ignore[arg-type]
        distances.append(distance.value / 2)
        told.append(two_sample_accuracy(*halves).value)
    return {
        "recognised": accuracy(judge, held_out.x, held_out.c),
        "Frechet distance": Estimate.of(torch.tensor(distances)),
        "told from training digits": Estimate.of(torch.tensor(told)),
    }
