"""The ledger of runs: one line for each of the weights that the book ships, read from the cards beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from flowlib.recipes.recipe import WEIGHTS
from flowlib.recipes.results import RESULTS_FOLDER, Row, rewrite


def ledger(path: str | Path | None = None, seeds: Sequence[int] = (), *, weights: Path = WEIGHTS) -> list[Row]:
    """Write the table of runs: what it took, and what came out by which protocol.

    Args:
        path: the table, ``data/results/ledger.jsonl`` if left out; written anew.
        seeds: of the runs to list, all by default.
        weights: the folder of the cards.

    Returns:
        A row a run, by name.
    """
    rows = (_row(json.loads(card.read_text())) for card in sorted(weights.glob("*.json")))
    return rewrite(path or RESULTS_FOLDER / "ledger.jsonl", rows, seeds)


def _row(card: Row) -> Row:
    plan = card["plan"]
    return {
        "run": card["recipe"],
        "scale": card["scale"],
        "seed": plan["seed"],
        "hardware": card["hardware"],
        "minutes": card["minutes"],
        "samples": plan["steps"] * plan["batch_size"],
        "data": card["data"],
        "commit": card["commit"],
        "protocol": list(card["metrics"]),
        "result": {name: [m["value"], m["error"]] for name, m in card["metrics"].items()},
        "sha256": card["sha256"],
    }
