"""Draws the pictures at the top of the README, the still and the moving one: `python chapters/picture.py`."""

import io
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image

from flowlib import viz
from flowlib.densities import Gaussian, eight_gaussians
from flowlib.paths import OT, exact_velocity
from flowlib.recipes import rf_digits
from flowlib.solvers import MIDPOINT, RK4, solve
from flowlib.viz.player import picture


def still() -> None:
    """Lines that cross, the flow with the same crowd, and digits on their way out of noise."""
    viz.use()
    generator = torch.Generator().manual_seed(3)
    target = eight_gaussians()
    x_0, x_1 = Gaussian(torch.zeros(2)).sample(150, generator), target.sample(150, generator)
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.1), width_ratios=[1, 1, 1.35], layout="constrained")
    viz.straight_lines(x_0, x_1, axes[0], limits=(-4, 4), alpha=0.5).set_title("straight lines cross")
    flow = solve(exact_velocity(OT(), target), x_0, torch.linspace(0, 1, 101), RK4).trajectory
    viz.trajectories(flow, ax=axes[1], limits=(-4, 4)).set_title("the flow does not, and moves the same crowd")
    c = torch.tensor([2, 0, 4, 7, 6])
    v, times = rf_digits().load(), torch.linspace(0, 1, 8)
    with torch.no_grad():
        noise = torch.randn(len(c), 1, 8, 8, generator=generator)
        path = solve(lambda x, t: v(x, t, c), noise, times, MIDPOINT).trajectory
    viz.image_paths(path, times, columns=8, ax=axes[2]).set_title("handwritten digits come out of noise")
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=110, bbox_inches="tight")


def moving(particles: int = 400, trails: int = 28, frames: int = 71) -> None:
    """Ten seconds of two crowds from the same noise to the same data: straight lines, and the flow."""
    generator, target = torch.Generator().manual_seed(5), eight_gaussians()
    x_0, x_1 = Gaussian(torch.zeros(2)).sample(particles, generator), target.sample(particles, generator)
    times = torch.linspace(0, 1, frames)
    lines = x_0 + times[:, None, None] * (x_1 - x_0)
    flow = solve(exact_velocity(OT(), target), x_0, times, RK4).trajectory
    quadrant = 2 * (x_0[:, 1] < 0) + (x_0[:, 0] < 0)

    def draw(axes: np.ndarray, k: int) -> None:
        for ax, crowd, name in zip(axes, (lines, flow), ("straight lines cross", "the flow does not"), strict=True):
            for q in range(4):
                color = viz.PALETTE[q]
                ax.plot(*crowd[: k + 1, :trails][:, quadrant[:trails] == q].unbind(2), color=color, lw=1, alpha=0.7)
                viz.samples(crowd[k, quadrant == q], ax, color, size=10, alpha=1.0, limits=(-4, 4))
            ax.set(title=name, xticks=[], yticks=[])

    drawn = [picture(draw, k, f"t = {times[k]:.2f}", 2, 3.2) for k in range(frames)]
    palette = drawn[-1].quantize(40, method=Image.Quantize.MAXCOVERAGE)
    first, *rest = [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in drawn]
    file = io.BytesIO()
    seconds = [0.5, *[0.1] * (frames - 2), 2.5]
    first.save(file, "GIF", save_all=True, append_images=rest, duration=[int(1000 * s) for s in seconds], loop=0)
    Path(__file__).with_suffix(".gif").write_bytes(file.getvalue())


if __name__ == "__main__":
    still()
    moving()
