"""The card that lies beside shipped weights: what they are, and how to make them again."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import subprocess
from dataclasses import asdict
from pathlib import Path

import torch

from flowlib.estimates import Estimate
from flowlib.recipes.recipe import Recipe


def write_card(
    path: Path,
    recipe: Recipe,
    *,
    scale: str,
    weights: Path,
    seconds: float,
    device: str,
    metrics: dict[str, Estimate],
    processes: int = 1,
) -> None:
    """Write a JSON card: the recipe and its numbers, data, commit, minutes, hardware, versions, metrics, hash."""
    hardware = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    card = {
        "recipe": recipe.name,
        "scale": scale,
        "plan": {name: value if value != float("inf") else None for name, value in asdict(recipe.plan).items()},
        "data": recipe.data,
        "commit": commit_of(),
        "minutes": round(seconds / 60, 1),
        "hardware": hardware if processes == 1 else f"{processes} x {hardware}",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "metrics": {name: {"value": m.value, "error": _number(m.error)} for name, m in metrics.items()},
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    path.write_text(json.dumps(card, indent=2) + "\n")


def _number(x: float) -> float | None:
    """A number, or None for one that JSON has no word for, such as the error of a Frechet distance, which is NaN."""
    return x if math.isfinite(x) else None


def commit_of(folder: Path = Path(__file__).parent) -> str:
    """Commit of the checkout that holds ``folder``, "-dirty" behind it where files differ; "unknown" outside of one.

    What lies in data/ does not count: a run that makes shipped weights anew has just written over them.
    """

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True)

    try:
        head = git("rev-parse", "--short=12", "HEAD")
        changed = git("diff", "--quiet", "HEAD", "--", ":/", ":(top,exclude)data")
    except OSError:
        return "unknown"
    if head.returncode:
        return "unknown"
    return head.stdout.strip() + ("-dirty" if changed.returncode else "")
