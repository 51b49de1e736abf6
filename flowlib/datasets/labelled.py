"""Samples and their classes, as plain tensors, and the endless streams of batches that training reads.

A stream is made where the data lives and with the generator that it is given: a set that fits on the GPU is moved there
once (``data.to("cuda")``) and, with a generator of the GPU, no batch crosses over from the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from flowlib.datasets.stream import Stream
from flowlib.densities import Density
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

    def to(self, device: torch.device | str) -> Labelled:
        """Return the set on ``device``."""
        return Labelled(self.x.to(device), self.c.to(device))


def flipped(x: Batch, generator: torch.Generator | None = None) -> Batch:
    """Mirror each picture left to right with probability 1/2: a second picture of the same world, for nothing."""
    device = generator.device if generator is not None else x.device
    heads = torch.rand(len(x), device=device, generator=generator).to(x.device) < 0.5
    return torch.where(heads[:, None, None, None], x.flip(-1), x)


def epochs(data: Labelled, batch_size: int, generator: torch.Generator, *, flip: bool = False) -> Stream:
    """Yield batches (x_1, c) for ever; each pass is a new permutation, whose remainder is dropped.

    Args:
        data: the set.
        batch_size: samples a batch.
        generator: of the permutations and the flips.
        flip: whether pictures are mirrored at random.

    Raises:
        InputError: batches larger than the set.
    """

    def rows(index: Tensor) -> tuple[Batch, Labels]:
        here = index.to(data.x.device)
        x_1 = data.x.index_select(0, here)  # data.x[here], in a half to a fifth of the time
        return (flipped(x_1, generator) if flip else x_1), data.c[here]

    return Stream(rows, generator, size=len(data.x), batch_size=batch_size)


def from_noise(
    data: Labelled,
    batch_size: int,
    generator: torch.Generator,
    *,
    flip: bool = False,
    pairing: Callable[..., Tensor] | None = None,
) -> Stream:
    """Yield batches (x_0, x_1, c) for ever, with fresh noise x_0 ~ N(0, I) for each sample of the data.

    Args:
        data: the set.
        batch_size: samples a batch.
        generator: of the permutations, the flips, the noise and the pairing.
        flip: whether pictures are mirrored at random.
        pairing: (x_0, x_1, generator) to the index of x_0 that meets x_1, such as ``flowlib.paths.optimal_transport``;
            x_1 and its labels stay where they are. Left out, pairs are independent.
    """

    def with_noise(x_1: Batch, c: Labels) -> tuple[Batch, Batch, Labels]:
        x_0 = randn(x_1.shape, like=x_1, generator=generator)
        return (x_0 if pairing is None else x_0.index_select(0, pairing(x_0, x_1, generator))), x_1, c

    return epochs(data, batch_size, generator, flip=flip).map(with_noise)


def between(
    source: Density,
    target: Density,
    batch_size: int,
    generator: torch.Generator,
    *,
    pairing: Callable[..., Tensor] | None = None,
) -> Stream:
    """Yield batches (x_0, x_1) for ever, drawn from two densities: independently, or joined by a ``pairing``."""

    def draw() -> tuple[Batch, Batch]:
        x_0, x_1 = source.sample(batch_size, generator), target.sample(batch_size, generator)
        return (x_0 if pairing is None else x_0[pairing(x_0, x_1, generator)]), x_1

    return Stream(draw, generator)
