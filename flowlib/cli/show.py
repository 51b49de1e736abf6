"""The first command a newcomer types: train a flow, and watch it move."""

from __future__ import annotations

import os
import sys
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flowlib.errors import InputError
from flowlib.recipes import rf_digits, rf_toy
from flowlib.solvers import EULER, MIDPOINT, solve
from flowlib.training import check_writable

TIMES, HELD = torch.linspace(0, 1, 20), 4  # of the frames; how many times the last one is shown again


@dataclass(kw_only=True)
class Show:
    """Train a small flow here and now, and write an animation: lines that cross, the flow that does not, digits.

    Attributes:
        out: the animation, a GIF
        steps: of the training, some ten seconds of one core
        open: whether to open it where there is a display
    """

    out: Path = Path("flow.gif")
    steps: int = 1000
    open: bool = True

    def run(self) -> None:
        """Train, draw, write, open."""
        if self.out.suffix != ".gif":
            raise InputError("--out", expected="a name that ends in .gif", got=str(self.out))
        check_writable(self.out.parent)
        print("A flow from noise to eight Gaussians, trained on random straight lines:", flush=True)
        lines, flow = plane(self.steps)
        print("Drawing it, beside handwritten digits by weights that come with the book ...", flush=True)
        self.out.write_bytes(animation(lines, flow, handwriting()))
        print(f"See {self.out.resolve()}")
        if self.open and has_display():
            webbrowser.open(self.out.resolve().as_uri())
        print("Next: make read, and chapters/00_map")


def plane(steps: int) -> tuple[Tensor, Tensor]:
    """Train a rectified flow; return 120 points on their straight lines and along the flow, each (T, 120, 2)."""
    recipe = rf_toy().changed(steps=steps)
    run = recipe.start()
    for _ in run.steps:
        pass
    x_0, x_1 = next(recipe.batches(120, torch.Generator().manual_seed(1)))
    with torch.no_grad():
        path = solve(run.ema.model, x_0, torch.linspace(0, 1, 5 * (len(TIMES) - 1) + 1), EULER)
    return torch.stack([torch.lerp(x_0, x_1, t.item()) for t in TIMES]), path.trajectory[::5]


def handwriting() -> Tensor:
    """Return 25 digits on their way out of noise, (T, 25, 1, 8, 8)."""
    v, c = rf_digits().load(), torch.arange(25) % 10
    x_0 = torch.randn(25, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return solve(lambda x, t: v(x, t, c), x_0, TIMES, MIDPOINT).trajectory


def animation(lines: Tensor, flow: Tensor, digits: Tensor) -> bytes:
    """Draw the three, side by side, at every time: a GIF."""
    from flowlib import viz

    last = len(TIMES) - 1
    frames = [*range(len(TIMES)), *[last] * HELD]

    def draw(axes: Any, k: int) -> None:
        for ax, way, name in zip(axes, (lines, flow), ("straight lines cross", "the flow does not"), strict=False):
            viz.trajectories(torch.cat([way[:1], way[: k + 1]]), ax=ax, limits=(-4, 4), alpha=0.5).set_title(name)
        viz.images(digits[k], columns=5, ax=axes[2]).set_title("digits out of noise")

    values = [float(TIMES[k]) for k in frames]
    return viz.player(draw, frames, values=values, panels=3, size=3.0, still=(last,), widget=False, interval=120).gif()


def has_display() -> bool:
    """Whether a window can be opened: anywhere but on a Linux machine that one is logged in to through a terminal."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
