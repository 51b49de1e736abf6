"""The particle explorer: models side by side and in step, as thousands of particles on a canvas."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets
from matplotlib.axes import Axes

from flowlib.errors import InputError
from flowlib.shapes import Field
from flowlib.solvers import RK4, solve
from flowlib.viz.arrays import Array, Limits, as_array, check_limits
from flowlib.viz.density import samples
from flowlib.viz.player import WIDGET_VIEW, picture, strip
from flowlib.viz.style import small_png
from flowlib.viz.trajectory import labels
from flowlib.viz.widgets.packing import CELLS, TIMES, Packed, pack, pack_field
from flowlib.viz.widgets.theme import DARK, LIGHT

MOST_PANELS = 3
MOST_BYTES = 1_080_000  # of all panels; a third more where a notebook or a page stores them as text
FINEST = 0.002  # of the width of a panel: less than a pixel
HERE = Path(__file__).parent


class Explorer(anywidget.AnyWidget):
    """Particles with a play button and a slider, as the last line of a cell shows them; `explore` makes one.

    What a reader sees lives in the browser. The kernel, where there is one, does one thing: it solves the path of a
    particle that was dropped with a click.

    Attributes:
        t: the time that is shown, when the particles rest.
        still: four times side by side, a PNG: what a front end without widgets shows.
    """

    _esm = HERE / "explorer.js"
    _css = HERE / "explorer.css"
    n = traitlets.Int().tag(sync=True)
    panels: Any = traitlets.List().tag(sync=True)
    limits: Any = traitlets.List().tag(sync=True)
    data = traitlets.Bytes().tag(sync=True)
    field = traitlets.Bytes().tag(sync=True)
    colors = traitlets.Bytes().tag(sync=True)
    palette = traitlets.Dict().tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)
    solves = traitlets.Bool().tag(sync=True)
    t = traitlets.Float(0.0).tag(sync=True)

    def __init__(self, fields: list[Field | None], still: bytes, **state: object) -> None:
        super().__init__(palette={"light": LIGHT, "dark": DARK}, solves=any(fields), **state)
        self.fields, self.still = fields, still
        self.on_msg(self._answer)

    def __repr__(self) -> str:
        names = ", ".join(panel["name"] for panel in self.panels)
        return f"Explorer({self.n} particles: {names})"

    def _repr_mimebundle_(self, **kwargs: object) -> tuple[dict, dict]:
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        still = base64.b64encode(self.still).decode()
        return {"text/plain": repr(self), "image/png": still, WIDGET_VIEW: view}, {}

    def solved(self, x: tuple[float, float], t: float, points: int = 33) -> list[list[list[float]] | None]:
        """Return the path through ``x`` at time ``t`` in each panel, at evenly spaced times; None without a field."""
        return [None if v is None else _path(v, x, t, points) for v in self.fields]

    def _answer(self, widget: object, content: dict[str, Any], buffers: object) -> None:
        if content.get("kind") != "drop":
            return
        start = time.perf_counter()
        reply: dict[str, Any] = {"kind": "path", "id": content["id"], "paths": []}
        try:
            reply["paths"] = self.solved(tuple(content["x"]), float(content["t"]))
        except Exception as error:  # the reader's own field may fail in any way; the click must tell, not the log
            reply["error"] = f"The kernel could not solve this path: {error}"
        reply["milliseconds"] = round(1000 * (time.perf_counter() - start))
        self.send(reply)


def explore(
    trajectories: Mapping[str, Array],
    times: Array | None = None,
    *,
    v: Field | Mapping[str, Field] | None = None,
    color_by: str | Array = "origin",
    limits: Limits = (-4.0, 4.0),
) -> Explorer:
    """Show one to three sets of paths side by side: play, scrub t, follow one particle, drop your own.

    The paths are computed beforehand and stored in the notebook, so that the cell is alive in a static page too. Where
    particle i is the same noise in every panel, pointing at it shows what each model makes of it.

    Args:
        trajectories: name of a panel to the states of N particles, (T, N, 2): ``solve(...).trajectory``, or
            ``torch.stack([x_0, x_1])`` for straight lines. N is the same in all panels, T need not be.
        times: the times of the states, (T,), increasing, where they are not evenly spaced.
        v: the field behind a panel, or a mapping from panels to fields: for its arrows, and for the paths of
            particles that are dropped.
        color_by: "origin" colours a particle by the quadrant where it starts, labels of shape (N,) by its class.
        limits: lowest and highest coordinate that is shown, for both axes.

    Raises:
        InputError: no panel or more than three, panels of different N, too many particles, a field without a panel.
    """
    check_limits(limits)
    if not 1 <= len(trajectories) <= MOST_PANELS:
        raise InputError("trajectories", expected=f"1 to {MOST_PANELS} panels", got=len(trajectories))
    x = {name: as_array(f"trajectories[{name!r}]", path, "T N 2") for name, path in trajectories.items()}
    sizes = {len(path[0]) for path in x.values()}
    if len(sizes) > 1 or any(len(path) < 2 or not np.isfinite(path).all() for path in x.values()):
        got = [path.shape for path in x.values()]
        raise InputError(
            "trajectories", expected="finite states, as many particles in each, at 2 times or more", got=got
        )
    fields = _fields(v, list(x))
    width = limits[1] - limits[0]
    packed = [pack(p, _times(times, len(p)), MOST_BYTES // len(x), FINEST * width) for p in x.values()]
    grids = [pack_field(u, limits) if u else None for u in fields]
    color = labels(color_by, next(iter(x.values()))[0]) % len(LIGHT["particles"])
    return Explorer(
        fields,
        _still(packed, list(x), color, limits),
        n=sizes.pop(),
        panels=[_panel(name, p, grid) for name, p, grid in zip(x, packed, grids, strict=True)],
        limits=list(map(float, limits)),
        data=b"".join(p.code.tobytes() for p in packed),
        field=b"".join(grid[0].tobytes() for grid in grids if grid),
        colors=np.asarray(color, dtype=np.uint8).tobytes(),
        label=f"Particle explorer: {', '.join(x)}",
    )


def _fields(v: Field | Mapping[str, Field] | None, names: list[str]) -> list[Field | None]:
    if isinstance(v, Mapping):
        if unknown := set(v) - set(names):
            raise InputError("v", expected=f"fields of {', '.join(names)}", got=", ".join(sorted(unknown)))
        return [v.get(name) for name in names]
    return [v for _ in names]


def _times(times: Array | None, n: int) -> np.ndarray:
    if times is None or (len(times) != n == 2):  # two states are the two ends
        return np.linspace(0.0, 1.0, n)
    t = as_array("times", times, str(n))
    if not (np.diff(t) > 0).all():
        raise InputError("times", expected="increasing times", got=t.tolist())
    return t


def _panel(name: str, packed: Packed, grid: tuple[np.ndarray, float, float] | None) -> dict[str, Any]:
    _, unit, top = grid or (None, 1.0, 1.0)
    cells, times = (CELLS, TIMES) if grid else (0, 0)
    arrows = {"cells": cells, "times": times, "scale": unit, "top": top}
    return {"name": name, "knots": len(packed.code), "low": packed.low, "high": packed.high, **arrows}


def _path(v: Field, x: tuple[float, float], t: float, points: int) -> list[list[float]]:
    """Solve from time t to both ends, keeping evenly spaced times; the state at t itself is not among them."""
    now = torch.tensor([x], dtype=torch.get_default_dtype())
    grid = torch.linspace(0, 1, points)
    sides = grid[grid < t].flip(0), grid[grid > t]
    with torch.no_grad():
        back, on = (_side(v, now, t, side) for side in sides)
    here = [now[0].tolist()] if (grid == t).any() else []
    return back[::-1] + here + on


def _side(v: Field, now: torch.Tensor, t: float, side: torch.Tensor) -> list[list[float]]:
    if not len(side):
        return []
    times = torch.cat([torch.tensor([t]), side])
    return solve(v, now, times, RK4).trajectory[1:, 0].tolist()


def _still(packed: list[Packed], names: list[str], color: np.ndarray, limits: Limits) -> bytes:
    """Draw four times, each with all panels: at most 600 particles, which is what a small picture can show."""
    few = np.linspace(0, len(color) - 1, min(600, len(color))).astype(int)

    def draw(axes: Any, t: float) -> None:
        for ax, one, name in zip(np.atleast_1d(axes), packed, names, strict=True):
            _crowd(ax, one.at(t)[few], color[few], limits)
            ax.set_title(name)

    frames = [picture(draw, t, f"t = {t:.2f}", len(names), 2.4) for t in (0.0, 1 / 3, 2 / 3, 1.0)]
    return small_png(strip(frames, columns=max(1, 4 // len(names))))


def _crowd(ax: Axes, x: np.ndarray, color: np.ndarray, limits: Limits) -> None:
    for label, dots in enumerate(LIGHT["particles"]):
        if (color == label).any():
            samples(x[color == label], ax, dots, limits=limits)
