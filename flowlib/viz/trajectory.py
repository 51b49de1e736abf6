"""Paths of samples through the plane: the curved ones of a solver, the straight ones of a pairing."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import is_color_like

from flowlib.errors import InputError
from flowlib.viz.arrays import Array, Limits, as_array
from flowlib.viz.style import DATA, FLOW, NOISE, PALETTE, SPEED, plane_axes


def trajectories(
    trajectory: Array,
    times: Array | None = None,
    ax: Axes | None = None,
    color_by: str | Array = "origin",
    limits: Limits | None = None,
    alpha: float = 0.7,
    max_speed: float | None = None,
    colorbar: bool = False,
) -> Axes:
    """Draw N paths with their start points (the colour of noise) and end points (the colour of a model's samples).

    Args:
        trajectory: where the samples are at each of T times, (T, N, 2): ``solve(...).trajectory``.
        times: those times, (T,), not necessarily evenly spaced; only speeds depend on them. Default: even, from 0 to 1.
        ax: where to draw; a new figure when None.
        color_by: "speed" colours each piece by |dx|/dt, "origin" each path by the quadrant it starts in, labels of
            shape (N,) each path by its class, and any colour is the one of all.
        limits: of both axes; None keeps those that are there, or shows every path.
        alpha: opacity of the lines: lower it for many.
        max_speed: the speed at the end of the colour map (default: the highest); give it to compare panels.
        colorbar: whether to draw the scale of the speeds.
    """
    x = as_array("trajectory", trajectory, "T N 2")
    if len(x) < 2:
        raise InputError("trajectory", expected="two times or more", got=len(x))
    lines = _lines(x, color_by, times, max_speed)
    if colorbar and lines.get_array() is None:
        raise InputError("colorbar", expected='False, or color_by="speed"', got=colorbar)
    ax = plane_axes(ax, limits, (4.0, 3.4) if colorbar else (3.4, 3.4))
    _draw(ax, x, lines, alpha, FLOW)
    if colorbar:
        ax.figure.colorbar(lines, ax=ax, label="speed |dx/dt|", shrink=0.85)
    return ax


def straight_lines(
    x_0: Array,
    x_1: Array,
    ax: Axes | None = None,
    color_by: str | Array = "origin",
    limits: Limits | None = None,
    alpha: float = 0.7,
) -> Axes:
    """Draw the interpolations ``x_t = (1 - t) x_0 + t x_1`` of N pairs, both (N, 2). Unlike a flow's paths they cross.

    ``color_by`` as for `trajectories`; end points have the colour of data.
    """
    start, end = as_array("x_0", x_0, "N 2"), as_array("x_1", x_1, "N 2")
    if start.shape != end.shape:
        raise InputError("x_1", expected=f"the shape of x_0, {start.shape}", got=end.shape)
    x = np.stack([start, end])
    lines = _lines(x, color_by)
    return _draw(plane_axes(ax, limits), x, lines, alpha, DATA)


def _draw(ax: Axes, x: np.ndarray, lines: LineCollection, alpha: float, end: str) -> Axes:
    lines.set(linewidth=1.0, alpha=alpha, capstyle="round", rasterized=True)
    ax.add_collection(lines)
    for points, color in ((x[0], NOISE), (x[-1], end)):
        ax.scatter(points[:, 0], points[:, 1], s=7, color=color, linewidths=0, zorder=3, rasterized=True)
    return ax


def _lines(
    x: np.ndarray, color_by: str | Array, times: Array | None = None, max_speed: float | None = None
) -> LineCollection:
    if isinstance(color_by, str) and color_by == "speed":
        return _by_speed(x, times, max_speed)
    return LineCollection(list(x.swapaxes(0, 1)), colors=_colours(color_by, x[0]))


def _by_speed(x: np.ndarray, times: Array | None, max_speed: float | None) -> LineCollection:
    t = np.linspace(0.0, 1.0, len(x)) if times is None else as_array("times", times, str(len(x)))
    pieces = np.stack([x[:-1], x[1:]], axis=2).reshape(-1, 2, 2)
    speed = np.linalg.norm(np.diff(x, axis=0), axis=-1) / np.abs(np.diff(t))[:, None]  # t falls in a flow back to noise
    lines = LineCollection(list(pieces), array=speed.reshape(-1), cmap=SPEED)
    lines.set_clim(0.0, max_speed)
    return lines


def _colours(color_by: str | Array, origin: np.ndarray) -> list[str]:
    if isinstance(color_by, str) and color_by != "origin":
        if not is_color_like(color_by):
            raise InputError("color_by", expected='"speed", "origin", labels or a colour', got=repr(color_by))
        return [color_by]
    return [PALETTE[label % len(PALETTE)] for label in labels(color_by, origin)]


def labels(color_by: str | Array, origin: np.ndarray) -> np.ndarray:
    """Return a class for each path, (N,): the quadrant of its ``origin`` (N, 2), or the labels that were given."""
    if isinstance(color_by, str):
        if color_by != "origin":
            raise InputError("color_by", expected='"origin" or labels', got=repr(color_by))
        return 2 * (origin[:, 1] < 0) + (origin[:, 0] < 0)
    return as_array("color_by", color_by, str(len(origin))).astype(int)
