"""What a transformer lacks beside convolutions: both learn to read from few digits, and from few digits moved about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from flowlib.datasets import Labelled, Stream, digits, epochs
from flowlib.evaluation import accuracy
from flowlib.models import Classifier, ViT
from flowlib.recipes.results import RESULTS_FOLDER, Row, fill
from flowlib.recipes.vit_cifar10 import shifted
from flowlib.recipes.vit_digits import cross_entropy
from flowlib.training import Plan, train

SEEDS = (0, 1, 2)
SETS = ((100, False), (1437, False), (1437, True))  # training digits, and whether they are moved at random
PLAN = Plan(steps=250, batch_size=64, lr=2e-3, warmup=20, lr_schedule="cosine", weight_decay=0.05, clip=1.0)
NETS: dict[str, Callable[[], nn.Module]] = {
    "convolutions": partial(Classifier, width=16),
    "transformer": partial(ViT, 1, 10, size=8, patch=2, width=64, depth=4, heads=4),
}


def few_digits(path: str | Path | None = None, seeds: Sequence[int] = SEEDS, *, plan: Plan = PLAN) -> list[Row]:
    """Fill the table: one row for every network, training set of ``SETS`` and seed that has none yet.

    A row holds the share of the 360 held-out digits that is read, as they are and moved by one pixel.

    Args:
        path: the table, ``data/results/few_digits.jsonl`` if left out.
        seeds: of the choice of digits, weights and batches; all of one seed come before the next.
        plan: of every training.

    Chapter 10 shows it.
    """
    cells = [
        {"net": net, "digits": n, "moved": moved, "seed": seed, "steps": plan.steps}
        for seed in seeds
        for n, moved in SETS
        for net in NETS
    ]

    def measure(net: str, digits: int, moved: bool, seed: int, steps: int) -> dict[str, float]:
        return read_digits(net, digits, moved, seed, plan=plan)

    return fill(path or RESULTS_FOLDER / "few_digits.jsonl", cells, measure)


def read_digits(net: str, n: int, moved: bool, seed: int, *, plan: Plan = PLAN) -> dict[str, float]:
    """Train a network of ``NETS`` on n digits, moved at random or not; accuracy on the held-out ones, two ways.

    Both networks of a seed see the same digits in the same batches.
    """
    generator = torch.Generator().manual_seed(seed)
    whole = digits("train")
    rows = torch.randperm(len(whole.x), generator=generator)[:n]
    stream: Stream = epochs(Labelled(whole.x[rows], whole.c[rows]), plan.batch_size, generator)
    if moved:
        stream = stream.map(lambda x, c: (shifted(x, 1, generator), c))
    with torch.random.fork_rng(devices=[]):  # dropout too
        torch.manual_seed(seed)
        model = NETS[net]()
        for _ in train(cross_entropy, model, stream, plan):
            pass
    x, c = digits("test")
    return {"as they are": accuracy(model, x, c).value, "moved by a pixel": accuracy(model, *moved_by_one(x, c)).value}


def moved_by_one(x: Tensor, c: Tensor) -> Labelled:
    """Every picture four times, moved by one pixel to each side; what comes in is -1, the background."""
    padded = nn.functional.pad(x, (1, 1, 1, 1), value=-1.0)
    h, w = x.shape[2:]
    moves = ((0, 1), (2, 1), (1, 0), (1, 2))
    return Labelled(torch.cat([padded[:, :, i : i + h, j : j + w] for i, j in moves]), c.repeat(4))
