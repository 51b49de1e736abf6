"""What each stage of the CIFAR-10 chain makes of few Euler steps, and what it cost to train."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path as File

import torch

from flowlib.errors import InputError
from flowlib.recipes.reflow_pictures import rf2_cifar10, rf2_cifar10_distilled
from flowlib.recipes.results import RESULTS_FOLDER, Row, rewrite
from flowlib.recipes.rf_cifar10 import SHAPE, rf_cifar10
from flowlib.recipes.stages import weights_of
from flowlib.training.speed import forward_flops

STAGES = {"rf_cifar10": rf_cifar10, "rf2_cifar10": rf2_cifar10, "rf2_cifar10_distilled": rf2_cifar10_distilled}


def chain_cifar10(path: str | File | None = None, seeds: Sequence[int] = ()) -> list[Row]:
    """Write the table of the chain: a row a stage, read from the card beside its weights.

    A row holds the budget (pictures seen in training, its operations, minutes) and what the stage printed of itself:
    the Frechet distance by the number of Euler steps, for every judge that was at hand, and its floor.

    Args:
        path: the table, ``data/results/chain_cifar10.jsonl`` if left out; written anew.
        seeds: of the runs to list, all by default.

    Raises:
        InputError: a stage that has not been trained; nothing is written then.

    Chapter 05 shows it.
    """
    return rewrite(path or RESULTS_FOLDER / "chain_cifar10.jsonl", [_row(stage) for stage in STAGES], seeds)


def _row(stage: str) -> Row:
    path = weights_of(STAGES[stage]()).with_suffix(".json")
    if not path.is_file():
        cure = f"run `flowlib train {stage}` to its end, which writes it"
        raise InputError(stage, expected="a card beside the weights", got=f"no {path}", cure=cure)
    card = json.loads(path.read_text())
    with torch.device("meta"):
        model = STAGES[stage](card["scale"]).model()
        operations = 3 * forward_flops(model, torch.empty(1, *SHAPE), torch.empty(1))
    pictures = card["plan"]["steps"] * card["plan"]["batch_size"]
    metrics = {name: m["value"] for name, m in card["metrics"].items()}
    return {
        "stage": stage,
        "scale": card["scale"],
        "seed": card["plan"]["seed"],
        "parameters": sum(p.numel() for p in model.parameters()),
        "data": card["data"],
        "pictures": pictures,
        "operations": operations * pictures,
        "minutes": card["minutes"],
        "hardware": card["hardware"],
        "Frechet": {name: value for name, value in metrics.items() if "Frechet" in name and "Euler" in name},
        "floor": {name: value for name, value in metrics.items() if "floor" in name and "steps" not in name},
    }
