"""Batches of images as one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from flowlib.errors import InputError
from flowlib.viz.arrays import Array, as_array
from flowlib.viz.style import figure_axes


def images(
    x: Array,
    columns: int = 8,
    titles: Sequence[object] | None = None,
    ax: Axes | None = None,
    size: float = 0.6,
) -> Axes:
    """Draw a batch of images in reading order, pixel by pixel, one white pixel between them.

    Args:
        x: (B, C, H, W) with values in [-1, 1] and C = 1 or 3; what lies outside is clipped.
        columns: images in a line.
        titles: a word above each image, B of them; "" for none.
        ax: where to draw; a new figure when None.
        size: width of an image in inches, on a new figure.
    """
    pixels = _pixels("x", x, "B C H W")
    names = [""] * len(pixels) if titles is None else [str(title) for title in titles]
    if len(names) != len(pixels):
        raise InputError("titles", expected=f"one for each of {len(pixels)} images", got=len(names))
    if columns < 1:
        raise InputError("columns", expected="one or more", got=columns)
    columns = min(columns, len(pixels))
    picture, corners = _mosaic(pixels, columns, names)
    scale = size / pixels.shape[2]
    ax = figure_axes(ax, (picture.shape[1] * scale, picture.shape[0] * scale))
    ax.imshow(picture, interpolation="nearest")
    ax.axis("off")
    for name, (top, left) in zip(names, corners, strict=True):
        ax.text(left + pixels.shape[2] / 2 - 0.5, top - 0.8, name, ha="center", va="bottom")
    return ax


def image_paths(
    trajectory: Array,
    times: Array | None = None,
    columns: int = 8,
    ax: Axes | None = None,
    size: float = 0.6,
) -> Axes:
    """Draw how images come about: a row for each sample, a column for each time.

    Args:
        trajectory: (T, B, C, H, W), values in [-1, 1].
        times: those times, (T,), written above the columns.
        columns: times that are shown, evenly spaced in their order, the first and the last among them.
        ax: where to draw; a new figure when None.
        size: width of an image in inches, on a new figure.
    """
    x = as_array("trajectory", trajectory, "T B C H W")
    shown = np.linspace(0, len(x) - 1, min(columns, len(x))).round().astype(int)
    titles = None
    if times is not None:
        t = as_array("times", times, str(len(x)))
        titles = [f"{t[i]:.2f}" for i in shown] + [""] * (len(shown) * (x.shape[1] - 1))
    rows = x[shown].swapaxes(0, 1).reshape(-1, *x.shape[2:])
    return images(rows, len(shown), titles, ax, size)


def _pixels(name: str, x: Array, shape: str) -> np.ndarray:
    """Return (B, H, W, 3) in [0, 1] from (B, C, H, W) in [-1, 1]."""
    array = as_array(name, x, shape)
    if array.shape[1] not in (1, 3):
        raise InputError(name, expected="1 or 3 channels, (B, C, H, W)", got=f"shape {array.shape}")
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(name, expected="float values in [-1, 1]", got=array.dtype, cure="x / 127.5 - 1 for bytes")
    grey = (array.clip(-1.0, 1.0) + 1.0) / 2.0
    return np.moveaxis(np.broadcast_to(grey, (len(grey), 3, *grey.shape[2:])), 1, -1)


def _mosaic(pixels: np.ndarray, columns: int, names: list[str]) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Return the picture and the upper left corner of each image in it; a line with titles has room above it."""
    _, height, width, _ = pixels.shape
    lines = [names[i : i + columns] for i in range(0, len(names), columns)]
    rooms = [max(1, int(np.ceil(0.28 * width))) if any(line) else 1 for line in lines]
    tops = [sum(rooms[: i + 1]) + i * height for i in range(len(lines))]
    picture = np.ones((tops[-1] + height + 1, columns * (width + 1) + 1, 3))
    corners = [(tops[i // columns], i % columns * (width + 1) + 1) for i in range(len(pixels))]
    for image, (top, left) in zip(pixels, corners, strict=True):
        picture[top : top + height, left : left + width] = image
    return picture, corners
