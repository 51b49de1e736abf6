"""The one style of the book: colours by meaning, colour maps, figure sizes, axes of the plane."""

from __future__ import annotations

import base64
import io
import sys
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from flowlib.errors import InputError
from flowlib.viz.arrays import Limits, check_limits

# Okabe and Ito's colours, told apart with every kind of colour vision (their yellow is left out: unseen on white). The
# grey is dark because a lighter one is their green and their purple to the eyes of one man in twenty.
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY, BLACK = "#CC79A7", "#56B4E9", "#666666", "#000000"

NOISE = GREY  # x_0, and whatever is the source
DATA = BLUE  # x_1, and whatever is the target; known densities are blue too
FLOW = VERMILLION  # what a model produces: seen on a density of any height
EXACT = BLACK  # the known answer, drawn dashed
WRONG = PURPLE  # the deliberate mistake of a chapter
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, BLACK)  # classes, methods, curves: in this order
FRAME = "#B0B0B0"

# White is zero; the positions make the lightness L* fall evenly, so that equal steps in value look equal.
SEQUENTIAL = LinearSegmentedColormap.from_list("density", [(0, "white"), (0.36, SKY), (0.63, BLUE), (1, "#00213F")])
SPEED = LinearSegmentedColormap.from_list("speed", plt.get_cmap("plasma")(np.linspace(0, 0.85, 64)))  # no pale end
DIVERGING = plt.get_cmap("RdBu_r")  # white is zero: draw it with vmin = -vmax

PAGE_TEXT = 14  # pixels, of the words around a figure in JupyterLab: no word in a figure is smaller
_SIZE = 9.0  # points, of every word in a figure

RC: dict[Any, Any] = {
    "figure.figsize": (4.0, 3.0),
    "figure.dpi": 72 * PAGE_TEXT / _SIZE,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "savefig.dpi": "figure",
    "font.size": _SIZE,
    "axes.titlesize": _SIZE,
    "axes.labelsize": _SIZE,
    "figure.titlesize": _SIZE,
    "axes.prop_cycle": cycler(color=PALETTE),
    "axes.edgecolor": FRAME,
    "axes.labelcolor": "#333333",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": FRAME,
    "ytick.color": FRAME,
    "xtick.labelcolor": "#555555",
    "ytick.labelcolor": "#555555",
    "xtick.labelsize": _SIZE,
    "ytick.labelsize": _SIZE,
    "legend.frameon": False,
    "legend.fontsize": _SIZE,
    "lines.linewidth": 1.5,
}


def use() -> None:
    """Draw everything from here on in the style of the book: call it in the first cell of a chapter.

    Inside a notebook pictures are also stored as ``small_png``.
    """
    plt.rcParams.update(RC)
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None and hasattr(shell, "kernel"):
        import matplotlib_inline.backend_inline  # noqa: F401  # at its first import it sets a writer: before ours

        shell.display_formatter.formatters["image/png"].for_type(Figure, _notebook_png)


def small_png(picture: Image.Image) -> bytes:
    """Return ``picture`` as a PNG of 256 colours, a third of the bytes; a photograph, which would suffer, keeps all.

    Nothing but the pixels is stored: matplotlib's own writer adds its version.
    """
    full = picture.convert("RGB")
    # the method that keeps rare colours: one thin line must not take on the colour of the area around it
    few = full.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    error = np.abs(np.asarray(few.convert("RGB"), dtype=int) - np.asarray(full)).mean()
    file = io.BytesIO()
    (few if error < 4 else full).save(file, "PNG", optimize=True)
    return file.getvalue()


def _notebook_png(figure: Figure) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight")
    return base64.b64encode(small_png(Image.open(file))).decode()


def figure_axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Return ``ax``, or the axes of a new figure of ``size`` inches where it is None."""
    return plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def plane_axes(ax: Axes | None, limits: Limits | None, size: tuple[float, float] = (3.4, 3.4)) -> Axes:
    """Return ``ax``, or the axes of a new figure, as a piece of the `plane`."""
    if limits is not None:
        check_limits(limits)  # before a figure is opened
    return plane(figure_axes(ax, size), limits)


def row(n: int, size: float = 2.4) -> np.ndarray:
    """Return the axes of a new figure with ``n`` square panels side by side, each ``size`` inches wide: shape (n,)."""
    if n < 1:
        raise InputError("n", expected="one panel or more", got=n)
    return plt.subplots(1, n, figsize=(n * size, size), layout="constrained", squeeze=False)[1][0]


def plane(ax: Axes, limits: Limits | None = None) -> Axes:
    """Make ``ax`` a piece of the plane: equal scales, a light frame, few ticks; ``limits`` hold for both axes.

    Without limits the ones that are there stay, or follow what is drawn.
    """
    ax.set_aspect("equal")
    for side in ax.spines.values():
        side.set(visible=True, color=FRAME, linewidth=0.8)
    ax.tick_params(length=2)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 4, 5, 10]))
    if limits is not None:
        check_limits(limits)
        ax.set(xlim=limits, ylim=limits)
    return ax
