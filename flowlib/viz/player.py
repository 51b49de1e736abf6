"""A slider over pictures that lives without a kernel, and a still picture where there are no widgets at all.

The frames are drawn beforehand and kept in the notebook; the browser alone moves from one to the next. So the same
cell is alive in JupyterLab and in a static page, is a film strip on GitHub, and gives the same pictures in each run.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from flowlib.errors import InputError
from flowlib.viz.arrays import Array
from flowlib.viz.style import RC, small_png

MOST_FRAMES = 24
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


@dataclass(frozen=True, repr=False)
class Player:
    """Frames with a slider, as the last line of a cell shows them.

    Attributes:
        frames: PNG pictures of one size.
        still: some of them side by side, a PNG: what a front end without widgets shows.
        widget: play button, slider and frames, linked in the browser; None when it was not wanted.
        title: what moves, in words.
        interval: milliseconds a frame.
    """

    frames: list[bytes]
    still: bytes
    widget: Any
    title: str
    interval: int

    def __repr__(self) -> str:
        return f"Player({self.title})"

    def _repr_mimebundle_(self, **kwargs: object) -> dict[str, Any]:
        bundle: dict[str, Any] = {"text/plain": repr(self), "image/png": base64.b64encode(self.still).decode()}
        if self.widget is not None:
            bundle[WIDGET_VIEW] = self.widget._repr_mimebundle_()[WIDGET_VIEW]
        return bundle

    def gif(self) -> bytes:
        """Return the frames as an animated GIF that repeats for ever: for a README."""
        first, *rest = [Image.open(io.BytesIO(frame)) for frame in self.frames]
        file = io.BytesIO()
        first.save(file, "GIF", save_all=True, append_images=rest, duration=self.interval, loop=0)
        return file.getvalue()


def player(
    draw: Callable[..., object],
    frames: Array,
    *,
    label: str = "t",
    values: Array | None = None,
    interval: int = 300,
    still: Sequence[int] | None = None,
    widget: bool = True,
    panels: int = 1,
    size: float = 3.0,
) -> Player:
    """Draw ``draw(ax, frame)`` for every frame, and put the pictures under a slider.

    Every frame is stored in the notebook: about twelve are enough, and 24 the most. Fix the scales of what ``draw``
    calls (``limits``, ``vmax``, ``max_speed``), or they will change from frame to frame.

    Args:
        draw: draws one frame on the axes it is given.
        frames: what ``draw`` is called with, one after the other: times, or the states of a trajectory.
        label: what the slider moves.
        values: its value for each frame, a number or a word; default: the frames themselves.
        interval: milliseconds a frame when playing.
        still: indices of the frames in the still picture; default: four, evenly spaced.
        widget: whether to make the slider; without it only the still picture is shown.
        panels: axes side by side; with two or more, ``draw`` receives an array of them.
        size: of a panel in inches.
    """
    if not 1 <= len(frames) <= MOST_FRAMES:
        cure = "each is stored in the notebook: take every k-th"
        raise InputError("frames", expected=f"1 to {MOST_FRAMES}", got=len(frames), cure=cure)
    values = frames if values is None else values
    if len(values) != len(frames):
        raise InputError("values", expected=f"one for each of {len(frames)} frames", got=len(values))
    if panels < 1:
        raise InputError("panels", expected="one or more", got=panels)
    chosen = np.linspace(0, len(frames) - 1, min(4, len(frames))).round().astype(int) if still is None else still
    if not len(chosen) or not all(0 <= i < len(frames) for i in chosen):
        raise InputError("still", expected=f"indices of the {len(frames)} frames", got=still)
    titles = [f"{label} = {_word(value)}" for value in values]
    pictures = [picture(draw, frame, title, panels, size) for frame, title in zip(frames, titles, strict=True)]
    film = strip([pictures[i] for i in chosen], columns=max(1, 4 // panels))
    pngs = [small_png(picture) for picture in pictures]
    title = f"{len(frames)} frames, {titles[0]} to {_word(values[-1])}"
    return Player(pngs, small_png(film), _widget(pngs, label, interval) if widget else None, title, interval)


def _word(value: object) -> str:
    if isinstance(value, str):
        return value
    number = np.asarray(value)
    if number.size != 1:
        cure = "name the frames: player(draw, frames, values=times)"
        raise InputError("values", expected="one number or word a frame", got=f"shape {number.shape}", cure=cure)
    return f"{number.item():.2f}" if np.issubdtype(number.dtype, np.floating) else str(number.item())


def picture(draw: Callable[..., object], frame: object, title: str, panels: int, size: float) -> Image.Image:
    """Draw one frame, away from pyplot: a notebook shows every figure that pyplot knows."""
    with mpl.rc_context(RC):
        figure = Figure(figsize=(panels * size, size), layout="constrained")
        canvas = FigureCanvasAgg(figure)
        draw(figure.subplots(1, panels), frame)
        figure.suptitle(title, fontsize=9)
        canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def strip(pictures: list[Image.Image], columns: int) -> Image.Image:
    """Put pictures of one size into lines of ``columns``."""
    width, height = pictures[0].size
    columns = min(columns, len(pictures))
    film = Image.new("RGB", (width * columns, height * -(-len(pictures) // columns)), "white")
    for i, picture in enumerate(pictures):
        film.paste(picture, (i % columns * width, i // columns * height))
    return film


def _widget(frames: list[bytes], label: str, interval: int) -> Any:
    import ipywidgets as w

    last = len(frames) - 1
    layout = w.Layout()  # one for all pictures: each would be written into the notebook
    play = w.Play(value=0, min=0, max=last, interval=interval)
    whole = {"description_width": "initial"}  # a long label is not cut
    slider = w.IntSlider(value=0, min=0, max=last, description=label, readout=False, style=whole)
    stack = w.Stack([w.Image(value=frame, format="png", layout=layout) for frame in frames], selected_index=0)
    w.jslink((play, "value"), (slider, "value"))
    w.jslink((slider, "value"), (stack, "selected_index"))
    return w.VBox([w.HBox([play, slider]), stack])
