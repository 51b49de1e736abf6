"""How a training went."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from flowlib.errors import InputError
from flowlib.viz.arrays import Array, as_array
from flowlib.viz.style import EXACT, figure_axes


def training_curve(
    losses: Array,
    ax: Axes | None = None,
    smooth: int = 50,
    floor: float | None = None,
    label: str | None = None,
    color: str | None = None,
) -> Axes:
    """Draw the loss of every step, faint, and its running mean.

    Args:
        losses: one number a step, (T,).
        ax: where to draw; a new figure when None. Draw several runs on one ``ax`` to compare them.
        smooth: steps in the mean, which looks back only; 1 draws the losses alone.
        floor: the lowest loss that any model can have. It is not zero: a regression onto noisy targets keeps their
            variance, a likelihood the entropy of the data.
        label: what the legend calls this run.
        color: of the curve; None takes the next of the palette.
    """
    y = as_array("losses", losses, "T").astype(float)
    if smooth < 1:
        raise InputError("smooth", expected="one step or more", got=smooth)
    ax = figure_axes(ax, (4.2, 2.6))
    steps = np.arange(1, len(y) + 1)
    (mean,) = ax.plot(steps, _running_mean(y, smooth), color=color, label=label)
    if smooth > 1:
        ax.plot(steps, y, color=mean.get_color(), alpha=0.25, linewidth=0.8, zorder=1)
    if floor is not None:
        ax.axhline(floor, color=EXACT, linestyle="--", linewidth=1.0, label="floor")
    ax.set(xlabel="step", ylabel="loss")
    if ax.get_legend_handles_labels()[1]:
        ax.legend()
    return ax


def _running_mean(y: np.ndarray, n: int) -> np.ndarray:
    """Return the mean of the last ``n`` values at each place, of fewer at the start.

    A convolution, not a difference of running sums: there one NaN would spoil every later value.
    """
    return np.convolve(y, np.ones(n))[: len(y)] / np.minimum(np.arange(1, len(y) + 1), n)
