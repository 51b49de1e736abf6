"""Stages that learn from an earlier stage: a 2-rectified flow from the pairs of a 1-rectified one, a student from both.

Each stage is one recipe, so one command, ``flowlib train NAME --scale full``. It finds the weights of the stage before
it, makes the pairs that are missing beside them, and trains. A stage that was killed continues: whole shards are kept.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import nn

from flowlib.errors import InputError
from flowlib.recipes.recipe import WEIGHTS, Recipe
from flowlib.rectify import Pairs, PairShards, converge, flow_pairs, open_shards, write_shards
from flowlib.training import load_checkpoint
from flowlib.training.distributed import size as world_size

RUNS = Path("runs")  # where the command line writes weights unless it is told otherwise


def weights_of(recipe: Recipe) -> Path:
    """Find the weights of a stage: those that ``flowlib train`` left in this folder, or the ones the book ships.

    Raises:
        InputError: neither is there.
    """
    file = f"{recipe.name}.safetensors"
    for path in (RUNS / recipe.name / file, WEIGHTS / file):
        if path.is_file():
            return path
    expected = f"trained weights of {recipe.name}, the stage before"
    cure = f"run `flowlib train {recipe.name}` first, at the same scale"
    raise InputError(recipe.name, expected=expected, got=f"no {RUNS / recipe.name / file}", cure=cure)


def pairs_of(
    teacher: Recipe,
    event_shape: tuple[int, ...],
    *,
    num_classes: int,
    shards: int,
    size: int,
    dtype: torch.dtype = torch.float32,
    tolerance: float = 1e-3,
) -> PairShards:
    """Open the pairs of a trained recipe, after making those that are missing, in ``runs/NAME/pairs``.

    The number of solver steps is found once (`converge`) and becomes a fact of the set, with the hash
    of the weights; shard k has noise and classes of seed k. A GPU is used where there is one.

    Args:
        teacher: whose flow makes the pairs.
        event_shape: of one sample of noise.
        num_classes: classes to draw from, evenly; 0 for a field without condition.
        shards: how many files.
        size: pairs in each.
        dtype: on disk.
        tolerance: of the solver, see `flow_pairs`.
    """
    folder = RUNS / teacher.name / "pairs"
    path = weights_of(teacher)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if world_size() > 1:
        found = open_shards(folder)  # made by one process: the same command without torchrun, until it trains
        mine = {"teacher": teacher.name, "weights": digest, "size": size, "dtype": str(dtype)}
        if len(found.shards) < shards or any(found.facts.get(k) != v for k, v in mine.items()):
            expected, cure = f"{shards} shards of pairs made with {path}", "run it without torchrun until it trains"
            raise InputError("pairs", expected=expected, got=f"others in {folder}", cure=cure)
        return found
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = teacher.load(path).to(device)
    batch_size = 2000 if device == "cuda" else 250

    def starts(k: int, n: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        generator = torch.Generator().manual_seed(k)
        c = torch.randint(num_classes, (n,), generator=generator).to(device) if num_classes else None
        return torch.randn(n, *event_shape, generator=generator).to(device), c

    def make(k: int) -> Pairs:
        x_0, c = starts(k, size)
        return flow_pairs(model, x_0, c, steps=steps, batch_size=batch_size)

    steps, _ = converge(model, *starts(0, min(size, batch_size)), tolerance=tolerance)
    facts = {
        "teacher": teacher.name,
        "weights": digest,
        "solver": f"{steps} midpoint steps, found on {device}",
        "size": size,
    }
    return write_shards(folder, make, count=shards, facts=facts, dtype=dtype)


def load_teacher(teacher: Recipe, model: nn.Module) -> None:
    """Put the teacher's trained weights into a new network of the same sizes."""
    load_checkpoint(weights_of(teacher), model)
