"""What each stage of the CIFAR-10 chain makes of few Euler steps, and what it cost to train."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path as File
from typing import Any

import torch

from flowlib.datasets import cifar10
from flowlib.errors import InputError
from flowlib.recipes.judges import encoders_of
from flowlib.recipes.pictures import FULL, LAPTOP
from flowlib.recipes.recipe import Scale
from flowlib.recipes.reflow_pictures import frechet_by_steps, rf2_cifar10, rf2_cifar10_distilled
from flowlib.recipes.results import RESULTS_FOLDER, Row, fill
from flowlib.recipes.rf_cifar10 import SHAPE, rf_cifar10
from flowlib.recipes.stages import weights_of
from flowlib.training.speed import forward_flops

STEPS = (1, 2, 4, 8, 100)
STAGES = {"rf_cifar10": rf_cifar10, "rf2_cifar10": rf2_cifar10, "rf2_cifar10_distilled": rf2_cifar10_distilled}
PROTOCOLS = {"laptop": replace(LAPTOP, n=250, reference=2000), "full": FULL}


def chain_cifar10(path: str | File | None = None, seeds: Sequence[int] = (1,)) -> list[Row]:
    """Fill the table: one row for every stage whose weights lie in ``runs``, at the scale that its card names.

    A row holds the budget of the stage (pictures seen, operations of its training, minutes of its card) and, for every
    judge at hand, the Frechet distance to training pictures by the number of Euler steps, beside its floor. All stages
    are drawn from the same noise.

    Args:
        path: the table, ``data/results/chain_cifar10.jsonl`` if left out.
        seeds: of the noise.

    Raises:
        InputError: a stage that has not been trained; rows of the stages before it are kept.

    Chapter 05 shows it.
    """
    path = path or RESULTS_FOLDER / "chain_cifar10.jsonl"
    rows: list[Row] = []
    for stage in STAGES:
        scale = _card(stage)["scale"]
        rows = fill(path, [{"stage": stage, "scale": scale, "seed": seed} for seed in seeds], _measure)
    return rows


def _card(stage: str) -> dict[str, Any]:
    path = weights_of(STAGES[stage]()).with_suffix(".json")
    if not path.is_file():
        cure = f"run `flowlib train {stage}` to its end, which writes it"
        raise InputError(stage, expected="a card beside the weights", got=f"no {path}", cure=cure)
    return json.loads(path.read_text())


def _measure(stage: str, scale: Scale, seed: int) -> dict[str, Any]:
    card, recipe, protocol = _card(stage), STAGES[stage](scale), PROTOCOLS[scale]
    model = recipe.load(weights_of(recipe)).to("cuda" if torch.cuda.is_available() else "cpu")
    pictures = card["plan"]["steps"] * card["plan"]["batch_size"]
    device = next(model.parameters()).device
    one = torch.zeros(1, *SHAPE, device=device), torch.zeros(1, device=device)
    steps = (1,) if stage.endswith("distilled") else STEPS
    found = frechet_by_steps(
        model, SHAPE, None, protocol, steps, cifar10("train"), cifar10("test"), encoders_of("cifar10"), seed=seed
    )
    budget = {
        "pictures": pictures,
        "data": card["data"],
        "parameters": sum(p.numel() for p in model.parameters()),
        "operations": 3 * forward_flops(model, *one) * pictures,
        "minutes": card["minutes"],
        "hardware": card["hardware"],
    }
    return budget | {name: value.value for name, value in found.items()}
