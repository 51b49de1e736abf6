"""A velocity field at one time, as arrows."""

from __future__ import annotations

from typing import Any, SupportsFloat

import numpy as np
import torch
from matplotlib.axes import Axes

from flowlib.shapes import Field
from flowlib.viz.arrays import Limits, cell_centres, evaluate
from flowlib.viz.style import SPEED, plane_axes


def field(
    v: Field,
    t: SupportsFloat,
    limits: Limits = (-4.0, 4.0),
    n: int = 20,
    ax: Axes | None = None,
    max_speed: float | None = None,
) -> Axes:
    """Draw the velocity ``v(x, t)`` as n x n arrows; length and colour are its speed |v|.

    Args:
        v: the field; called once with x of shape (n*n, 2) and t of shape (n*n,), on the CPU, without gradients.
        t: the time, 0 is noise and 1 is data.
        limits: lowest and highest coordinate, for both axes.
        n: arrows a side.
        ax: where to draw; a new figure when None.
        max_speed: the speed whose arrow is as long as a cell (default: the highest); faster ones are drawn at that
            length. Give it to compare panels or the frames of a player.
    """
    velocity = evaluate("v(x, t)", lambda x: v(x, torch.full_like(x[:, 0], float(t))), limits, n, "N 2")
    speed = np.linalg.norm(velocity, axis=-1)
    top = float(np.nanmax(speed)) if max_speed is None else max_speed
    cell = (limits[1] - limits[0]) / n
    # an arrow's length is min(|v| / top, 1) cells; the field at rest has no direction to draw
    arrows = velocity * (cell / np.maximum(speed, top or 1.0))[..., None]
    points = cell_centres(limits, n)
    style: dict[str, Any] = {"cmap": SPEED, "clim": (0.0, top or 1.0), "pivot": "mid", "width": 0.005, "minlength": 0.5}
    in_data_units: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1.0}
    ax = plane_axes(ax, limits)
    ax.quiver(*np.moveaxis(points, -1, 0), *np.moveaxis(arrows, -1, 0), speed, **style, **in_data_units)
    return ax
