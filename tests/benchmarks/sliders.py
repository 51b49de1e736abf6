"""How soon a slider answers: ``python tests/benchmarks/sliders.py``; exits with 1 where one needs more than 100 ms.

The frames of a player lie in the notebook, and moving its slider shows another one: the kernel has no part in it. What
takes time is to read the frame, which is measured here for every frame of every chapter by decoding it to pixels, as a
browser does before it paints. Beside it stands what one frame takes that the kernel draws when it is asked.
"""

from __future__ import annotations

import base64
import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from flowlib import viz
from flowlib.densities import eight_gaussians
from flowlib.paths import OT, exact_velocity
from flowlib.solvers import RK4, solve

CHAPTERS = Path(__file__).parents[2] / "chapters"
STATE = "application/vnd.jupyter.widget-state+json"
LIMIT = 0.1  # seconds: later than that, hand and eye part


def main() -> int:
    """Print a line a player; return 1 if one answers too late."""
    torch.set_num_threads(1)
    slowest = 0.0
    for path in sorted(CHAPTERS.glob("??_*/??_*.ipynb")):
        for label, frames in players(path):
            worst = max(seconds(partial(pixels, png)) for png in frames)
            kilobytes = sum(map(len, frames)) / 1000
            line = f"{len(frames):3d} frames {kilobytes:5.0f} kB, slowest {1000 * worst:5.1f} ms"
            print(f"{path.parent.name:24s} {label:18s} {line}")
            slowest = max(slowest, worst)
    print(f"{'drawn by the kernel':24s} {'t':18s} {'':18s} {1000 * seconds(drawn_when_asked):13.1f} ms")
    return int(slowest > LIMIT)


def pixels(png: bytes) -> None:
    """Decode a frame."""
    Image.open(io.BytesIO(png)).convert("RGBA").load()


def players(path: Path) -> Iterator[tuple[str, list[bytes]]]:
    """The players that a notebook stores: what their sliders move, and their frames."""
    models = json.loads(path.read_text())["metadata"].get("widgets", {}).get(STATE, {}).get("state", {})
    for stack in (model for model in models.values() if model["model_name"] == "StackModel"):
        children = [models[child.removeprefix("IPY_MODEL_")] for child in stack["state"]["children"]]
        yield label_of(models, stack), [base64.b64decode(child["buffers"][0]["data"]) for child in children]


def label_of(models: dict[str, Any], stack: dict[str, Any]) -> str:
    """The word beside the slider that is linked to a stack of frames, in the browser."""
    for link in (model["state"] for model in models.values() if model["model_name"] == "LinkModel"):
        source, target = (models[end[0].removeprefix("IPY_MODEL_")] for end in (link["source"], link["target"]))
        if target is stack:
            return source["state"]["description"]
    return "linked to nothing"


def drawn_when_asked() -> None:
    """One frame of chapter 04's first picture, computed and drawn afresh."""
    x_0 = torch.randn(600, 2, generator=torch.Generator().manual_seed(0))
    x = solve(exact_velocity(OT(), eight_gaussians()), x_0, torch.linspace(0, 0.5, 51), RK4).x
    viz.player(lambda ax, x: viz.samples(x, ax, limits=(-4, 4)), [x], values=[0.5], widget=False)


def seconds(work: Callable[[], object], times: int = 5) -> float:
    """Median time of ``work``, in seconds of the processor, after one call to warm up."""
    work()
    taken = []
    for _ in range(times):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return sorted(taken)[times // 2]


if __name__ == "__main__":
    sys.exit(main())
