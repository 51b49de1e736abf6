"""Distributions in the plane: a density that is known, samples, and the density that samples show."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from flowlib.viz.arrays import Array, Limits, as_array, check_limits, evaluate
from flowlib.viz.style import DATA, SEQUENTIAL, plane_axes


def density(
    log_prob: Callable[[Tensor], Tensor],
    limits: Limits = (-4.0, 4.0),
    resolution: int = 100,
    ax: Axes | None = None,
    vmax: float | None = None,
) -> Axes:
    """Draw ``p(x) = exp(log_prob(x))``, white where it is zero.

    Args:
        log_prob: points (N, 2) to log-densities (N,); called once, on the CPU, without gradients.
        limits: lowest and highest coordinate, for both axes.
        resolution: cells a side; the density is evaluated at their centres.
        ax: where to draw; a new figure when None.
        vmax: the density of the darkest colour (default: the highest); give it to compare panels.
    """
    log_p = evaluate("log_prob", log_prob, limits, resolution, "N")
    return _heat(plane_axes(ax, limits), np.exp(log_p), limits, vmax)


def histogram(
    x: Array, bins: int = 60, limits: Limits = (-4.0, 4.0), ax: Axes | None = None, vmax: float | None = None
) -> Axes:
    """Draw the density that samples ``x`` of shape (N, 2) show: the share of them in a cell, over the cell's area."""
    points = as_array("x", x, "N 2")
    check_limits(limits)
    counts = np.histogram2d(points[:, 1], points[:, 0], bins=bins, range=(limits, limits))[0]
    cell = ((limits[1] - limits[0]) / bins) ** 2
    return _heat(plane_axes(ax, limits), counts / (len(points) * cell), limits, vmax)


def samples(
    x: Array,
    ax: Axes | None = None,
    color: str = DATA,
    size: float = 6.0,
    alpha: float = 0.6,
    limits: Limits | None = None,
    label: str | None = None,
    most: int = 5000,
) -> Axes:
    """Draw the points ``x`` of shape (N, 2).

    Args:
        x: the samples.
        ax: where to draw; a new figure when None.
        color: a colour with a meaning: NOISE, DATA, FLOW, EXACT.
        size: area of a dot in square points.
        alpha: opacity of a dot.
        limits: of both axes; None keeps those that are there, or shows every point.
        label: what a legend calls them.
        most: of more points than this, that many are drawn, evenly spaced in their order: the same in every run.
    """
    points = as_array("x", x, "N 2")
    if len(points) > most:
        points = points[np.linspace(0, len(points) - 1, most).astype(int)]
    ax = plane_axes(ax, limits)
    ax.scatter(points[:, 0], points[:, 1], s=size, color=color, alpha=alpha, linewidths=0, label=label, rasterized=True)
    return ax


def _heat(ax: Axes, values: np.ndarray, limits: Limits, vmax: float | None) -> Axes:
    ax.imshow(values, cmap=SEQUENTIAL, origin="lower", extent=(*limits, *limits), vmin=0.0, vmax=vmax, zorder=0)
    return ax
