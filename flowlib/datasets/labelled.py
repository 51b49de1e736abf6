"""Samples and their classes, as plain tensors, and the endless streams of batches that training reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch

from flowlib.densities import Density
from flowlib.errors import InputError
from flowlib.shapes import Batch, Labels
from flowlib.tensors import randn


class Labelled(NamedTuple):
    """A data set that fits in memory.

    Attributes:
        x: samples; images are float32 (N, C, H, W) in [-1, 1].
        c: classes, int64 (N,).
    """

    x: Batch
    c: Labels


def epochs(data: Labelled, batch_size: int, generator: torch.Generator) -> Iterator[tuple[Batch, Labels]]:
    """Yield batches (x_1, c) for ever; each pass is a new permutation, whose remainder is dropped."""
    if not 1 <= batch_size <= len(data.x):
        raise InputError("batch_size", expected=f"1 to {len(data.x)}, the size of the set", got=batch_size)
    while True:
        order = torch.randperm(len(data.x), generator=generator)
        for index in order[: len(order) // batch_size * batch_size].split(batch_size):
            yield data.x[index], data.c[index]


def from_noise(data: Labelled, batch_size: int, generator: torch.Generator) -> Iterator[tuple[Batch, Batch, Labels]]:
    """Yield batches (x_0, x_1, c) for ever, with fresh noise x_0 ~ N(0, I) for each sample of the data."""
    for x_1, c in epochs(data, batch_size, generator):
        yield randn(x_1.shape, like=x_1, generator=generator), x_1, c


def between(
    source: Density, target: Density, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Batch, Batch]]:
    """Yield batches (x_0, x_1) for ever, drawn independently from two densities."""
    while True:
        yield source.sample(batch_size, generator), target.sample(batch_size, generator)
