"""Draws the picture at the top of the README: `python chapters/picture.py`."""

from pathlib import Path

import matplotlib.pyplot as plt
import torch

from flowlib import viz
from flowlib.densities import Gaussian, eight_gaussians
from flowlib.paths import OT, exact_velocity
from flowlib.recipes import rf_digits
from flowlib.solvers import MIDPOINT, RK4, solve


def main() -> None:
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


if __name__ == "__main__":
    main()
