"""The card that lies beside shipped weights: what they are, and how to make them again."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from dataclasses import asdict
from pathlib import Path

import torch

from flowlib.estimates import Estimate
from flowlib.recipes.recipe import Recipe


def write_card(
    path: Path, recipe: Recipe, *, scale: str, weights: Path, seconds: float, device: str, metrics: dict[str, Estimate]
) -> None:
    """Write a JSON card: the recipe and its numbers, data, commit, minutes, hardware, versions, metrics, hash."""
    card = {
        "recipe": recipe.name,
        "scale": scale,
        "plan": {name: value if value != float("inf") else None for name, value in asdict(recipe.plan).items()},
        "data": recipe.data,
        "commit": _commit(),
        "minutes": round(seconds / 60, 1),
        "hardware": torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "metrics": {name: {"value": m.value, "error": m.error} for name, m in metrics.items()},
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    path.write_text(json.dumps(card, indent=2) + "\n")


def _commit() -> str:
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()
