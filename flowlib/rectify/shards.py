"""Pairs on disk, as shards that a killed run continues (``flowlib.datasets.shards``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from flowlib.datasets import shards
from flowlib.datasets.shards import Kind, Shards
from flowlib.rectify.pairs import Pairs

PairShards: TypeAlias = Shards[Pairs]
PAIRS = Kind("pairs", lambda state: Pairs(state["x_0"].float(), state["x_1"].float(), state.get("c")))


def write_shards(
    folder: str | Path,
    make: Callable[[int], Pairs],
    *,
    count: int,
    facts: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
) -> PairShards:
    """Write the pairs ``make(0) .. make(count - 1)`` to ``folder``, except those that are there already.

    Args:
        folder: made when missing.
        make: from the number of a shard to its pairs, which depend on it and the facts alone.
        count: shards wanted; a later call may ask for more.
        facts: what the pairs depend on, as JSON: weights, solver, seed, size of a shard.
        dtype: of x_0 and x_1 on disk; float16 halves the space and rounds data in [-1, 1] to 5e-4. They are read as
            float32.

    Raises:
        InputError: the folder holds pairs made with other facts, or files that are not of this set.
    """

    def tensors(k: int) -> dict[str, Tensor]:
        x_0, x_1, c = make(k)
        return {"x_0": x_0.to(dtype), "x_1": x_1.to(dtype)} | ({} if c is None else {"c": c})

    return shards.write_shards(folder, tensors, PAIRS, count=count, facts=dict(facts) | {"dtype": str(dtype)})


def open_shards(folder: str | Path) -> PairShards:
    """Open a finished folder of pairs; hashes are compared when a shard is loaded.

    Raises:
        InputError: no index, an unfinished set, a missing, truncated or foreign shard; the message names the file.
    """
    return shards.open_shards(folder, PAIRS)
