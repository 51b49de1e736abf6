"""Latents on disk: pictures that were encoded once, so that a flow in latents never runs the encoder.

Kept are mean and log-variance of each posterior, not one draw of it: every pass draws anew, which costs nothing. With
them the index keeps two moments of every shard, and so the statistics of the whole set, before anything is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from flowlib.datasets.labelled import Labelled
from flowlib.datasets.shards import Kind, Shards, open_shards, write_shards
from flowlib.datasets.stream import Stream
from flowlib.errors import InputError
from flowlib.shapes import Batch, Labels
from flowlib.tensors import randn


class Encoded(NamedTuple):
    """Posteriors of pictures, and their classes.

    Attributes:
        mean: (N, C, h, w).
        logvar: logarithm of the variance, (N, C, h, w).
        c: classes, (N,).
    """

    mean: Tensor
    logvar: Tensor
    c: Tensor


class Posterior(Protocol):
    """What an encoder answers."""

    @property
    def mean(self) -> Tensor:
        """Of the latents, (B, C, h, w)."""

    @property
    def logvar(self) -> Tensor:
        """Logarithm of their variance, (B, C, h, w)."""


LATENTS = Kind("latents", lambda state: Encoded(state["mean"].float(), state["logvar"].float(), state["c"]))


@dataclass(frozen=True)
class LatentShards:
    """A finished folder of latents.

    Attributes:
        shards: its files.
        mean: E z of each channel over the set, (C,).
        std: standard deviation of each channel, (C,).
        shift: E z over all channels.
        scale: 1 / the standard deviation over all channels.
    """

    shards: Shards[Encoded]
    mean: Float[Tensor, " C"]
    std: Float[Tensor, " C"]
    shift: float
    scale: float

    def batches(
        self, batch_size: int, generator: torch.Generator, *, shift: float | None = None, scale: float | None = None
    ) -> Stream:
        """Yield batches (z, c) for ever, ``z = scale (mean + exp(logvar / 2) eps - shift)`` with fresh eps ~ N(0, I).

        Args:
            batch_size: samples a batch, no more than in a shard.
            generator: of the order and of eps.
            shift: by default that of the set; the decoder must know which.
            scale: likewise.
        """
        a = self.scale if scale is None else scale
        b = self.shift if shift is None else shift

        def drawn(mean: Batch, logvar: Tensor, c: Labels) -> tuple[Tensor, Tensor]:
            eps = randn(mean.shape, like=mean, generator=generator)
            return a * (mean + torch.exp(logvar / 2) * eps - b), c

        return self.shards.batches(batch_size, generator).map(drawn)

    def from_noise(
        self, batch_size: int, generator: torch.Generator, *, shift: float | None = None, scale: float | None = None
    ) -> Stream:
        """Yield batches (x_0, x_1, c) for ever, x_1 the latents of ``batches`` and x_0 ~ N(0, I): a flow's batches."""

        def with_noise(z: Tensor, c: Tensor) -> tuple[Tensor, ...]:
            return randn(z.shape, like=z, generator=generator), z, c

        return self.batches(batch_size, generator, shift=shift, scale=scale).map(with_noise)


def write_latents(
    folder: str | Path,
    encode: Callable[[Tensor], Posterior],
    data: Labelled,
    *,
    facts: Mapping[str, Any],
    size: int = 5000,
    batch_size: int = 250,
    dtype: torch.dtype = torch.float16,
) -> LatentShards:
    """Encode a set of pictures to ``folder``, except what is there already: a killed run continues.

    Args:
        folder: made when missing.
        encode: pictures to their posterior, such as ``Autoencoder.encode``.
        data: the set; mirror it before, where mirrored pictures are wanted: latents cannot be mirrored.
        facts: what the latents depend on, as JSON: the hash of the weights, the set.
        size: the most pictures in a shard; shards are of one size, or one picture smaller.
        batch_size: pictures through the encoder at a time.
        dtype: of mean and logvar on disk.

    Raises:
        InputError: an empty set; the folder holds latents made with other facts, or files that are not of this set.
    """
    if not len(data.x):
        raise InputError("data", expected="at least one picture", got="none")

    count = math.ceil(len(data.x) / size)

    @torch.no_grad()
    def make(k: int) -> dict[str, Tensor]:
        rows = slice(len(data.x) * k // count, len(data.x) * (k + 1) // count)
        parts = [encode(part) for part in data.x[rows].split(batch_size)]
        mean, logvar = torch.cat([part.mean for part in parts]), torch.cat([part.logvar for part in parts])
        return {"mean": mean.to(dtype), "logvar": logvar.to(dtype), "c": data.c[rows]}

    wanted = dict(facts) | {"pictures": len(data.x), "size": size, "dtype": str(dtype)}
    return _with_statistics(write_shards(folder, make, LATENTS, count=count, facts=wanted, note=_moments))


def open_latents(folder: str | Path) -> LatentShards:
    """Open a finished folder of latents.

    Raises:
        InputError: no index, an unfinished set, a missing, truncated or foreign shard; the message names the file.
    """
    return _with_statistics(open_shards(folder, LATENTS))


def _moments(encoded: Encoded) -> dict[str, list[float]]:
    """``E z`` and ``E z^2 = E (mean^2 + exp(logvar))`` of each channel: exact, nothing is drawn."""
    mean, logvar = encoded.mean.double(), encoded.logvar.double()
    second = mean.square() + logvar.exp()
    return {"z": mean.mean((0, 2, 3)).tolist(), "z^2": second.mean((0, 2, 3)).tolist()}


def _with_statistics(shards: Shards[Encoded]) -> LatentShards:
    n = torch.tensor([shard["latents"] for shard in shards.shards], dtype=torch.float64)
    first, second = (
        (n / n.sum()) @ torch.tensor([shard[key] for shard in shards.shards], dtype=torch.float64)
        for key in ("z", "z^2")
    )
    shift = float(first.mean())
    scale = float((second.mean() - shift**2).rsqrt())
    return LatentShards(shards, first.float(), (second - first.square()).sqrt().float(), shift, scale)
