"""Batches that join two data sets: what domain transfer trains on."""

from __future__ import annotations

import torch
from torch import Tensor

from flowlib.datasets.labelled import Labelled, epochs
from flowlib.datasets.stream import Stream
from flowlib.errors import InputError
from flowlib.shapes import Batch, Labels
from flowlib.tensors import randn


def of_class(data: Labelled, k: int) -> Labelled:
    """Return the samples of class ``k``.

    Raises:
        InputError: a class without samples.
    """
    rows = (data.c == k).nonzero()[:, 0]
    if not len(rows):
        raise InputError("k", expected=f"one of the classes {data.c.unique().tolist()}", got=k)
    return Labelled(data.x[rows], data.c[rows])


def between_sets(
    source: Labelled,
    target: Labelled,
    batch_size: int,
    generator: torch.Generator,
    *,
    blur: float = 0.0,
    by_class: bool = False,
) -> Stream:
    """Yield batches (x_0, x_1) for ever, with x_1 from ``target`` and x_0 from ``source``, drawn independently.

    A flow cannot split a point, so a finite source has to be blurred: ``x_0 + blur eps``, eps ~ N(0, I), has a density.
    For two densities instead of two sets see `between`.

    Args:
        source: the set that is carried away.
        target: the set that it is carried to; each pass over it is a new permutation.
        batch_size: pairs a batch.
        generator: of everything.
        blur: standard deviation of the noise on x_0.
        by_class: give each x_1 an x_0 of its own class, and yield (x_0, x_1, c).

    Raises:
        InputError: events of two shapes; with ``by_class``, a class of the target that the source lacks.
    """
    if source.x.shape[1:] != target.x.shape[1:]:
        raise InputError(
            "source", expected=f"events of shape {tuple(target.x.shape[1:])}", got=tuple(source.x.shape[1:])
        )
    lacking = set(target.c.tolist()) - set(source.c.tolist()) if by_class else set()
    if lacking:
        raise InputError("source", expected="every class of the target", got=f"none of {sorted(lacking)}")
    members = {k: (source.c == k).nonzero()[:, 0] for k in target.c.unique().tolist()} if by_class else {}

    def with_source(x_1: Batch, c: Labels) -> tuple[Tensor, ...]:
        u = torch.rand(len(x_1), generator=generator, device=generator.device).to(c.device)
        if by_class:
            rows = torch.stack([members[k][int(a * len(members[k]))] for k, a in zip(c.tolist(), u, strict=True)])
        else:
            rows = (u * len(source.x)).long()
        x_0 = source.x[rows]
        x_0 = x_0 + blur * randn(x_0.shape, like=x_0, generator=generator)
        return (x_0, x_1, c) if by_class else (x_0, x_1)

    return epochs(target, batch_size, generator).map(with_source)
