"""What every drawing function keeps: the axes it is given, tensors and arrays alike, errors that name the argument."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes

from flowlib import viz
from flowlib.errors import InputError
from flowlib.viz.arrays import as_array, cell_centres

POINTS = np.random.default_rng(0).normal(size=(30, 2))
PATHS = np.random.default_rng(0).normal(size=(5, 7, 2))
IMAGES = np.random.default_rng(0).normal(size=(6, 3, 4, 5))

DRAW: dict[str, tuple[Callable[..., Axes], tuple[Any, ...]]] = {
    "samples": (viz.samples, (POINTS,)),
    "histogram": (viz.histogram, (POINTS,)),
    "trajectories": (viz.trajectories, (PATHS, np.linspace(0, 1, 5) ** 2)),
    "straight_lines": (viz.straight_lines, (POINTS, POINTS + 1)),
    "images": (viz.images, (IMAGES,)),
    "image_paths": (viz.image_paths, (np.stack([IMAGES, IMAGES]), np.array([0.0, 1.0]))),
    "training_curve": (viz.training_curve, (np.arange(9.0),)),
}


def log_prob(x: torch.Tensor) -> torch.Tensor:
    return -(x**2).sum(1)


def rotate(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return torch.stack([-x[:, 1], x[:, 0]], 1) * t[:, None]


def drawn(ax: Axes) -> np.ndarray:
    ax.figure.canvas.draw()
    return np.asarray(ax.figure.canvas.buffer_rgba())


@pytest.mark.parametrize("name", DRAW)
def test_the_axes_given_come_back(name: str, ax: Axes) -> None:
    draw, arrays = DRAW[name]
    assert draw(*arrays, ax=ax) is ax
    assert len(plt.get_fignums()) == 1
    assert ax.has_data()


@pytest.mark.parametrize("draw", [lambda ax: viz.density(log_prob, ax=ax), lambda ax: viz.field(rotate, 0.5, ax=ax)])
def test_the_axes_given_come_back_from_functions_of_functions(draw: Callable[[Axes], Axes], ax: Axes) -> None:
    assert draw(ax) is ax
    assert ax.has_data()


@pytest.mark.parametrize("name", DRAW)
def test_tensors_that_need_gradients_are_drawn_like_arrays(name: str) -> None:
    draw, arrays = DRAW[name]
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    np.testing.assert_array_equal(drawn(draw(*tensors)), drawn(draw(*arrays)))


@pytest.mark.parametrize("name", DRAW)
def test_a_new_figure_is_made_without_axes(name: str) -> None:
    draw, arrays = DRAW[name]
    assert draw(*arrays).figure is not draw(*arrays).figure


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("x", lambda: viz.samples(np.zeros((3, 3)))),
        ("x", lambda: viz.samples(np.zeros((0, 2)))),
        ("x", lambda: viz.histogram(np.zeros(4))),
        ("limits", lambda: viz.histogram(POINTS, limits=(1.0, -1.0))),
        ("limits", lambda: viz.density(log_prob, limits=(2.0, 2.0))),
        ("limits", lambda: viz.samples(POINTS, limits=(2.0, 1.0))),
        ("log_prob", lambda: viz.density(lambda x: x)),
        ("v(x, t)", lambda: viz.field(lambda x, t: x[:, 0], 0.5)),
        ("trajectory", lambda: viz.trajectories(POINTS)),
        ("trajectory", lambda: viz.trajectories(PATHS[:1])),
        ("times", lambda: viz.trajectories(PATHS, np.arange(4.0), color_by="speed")),
        ("color_by", lambda: viz.trajectories(PATHS, color_by=np.zeros(3, int))),
        ("color_by", lambda: viz.trajectories(PATHS, color_by="orign")),
        ("colorbar", lambda: viz.trajectories(PATHS, colorbar=True)),
        ("x_0", lambda: viz.straight_lines(PATHS, POINTS)),
        ("x_1", lambda: viz.straight_lines(POINTS, POINTS[1:])),
        ("x", lambda: viz.images(IMAGES[0])),
        ("x", lambda: viz.images(IMAGES[:, :2])),
        ("x", lambda: viz.images((IMAGES > 0).astype(np.uint8))),
        ("titles", lambda: viz.images(IMAGES, titles=["one"])),
        ("columns", lambda: viz.images(IMAGES, columns=0)),
        ("trajectory", lambda: viz.image_paths(IMAGES)),
        ("times", lambda: viz.image_paths(IMAGES[None], np.zeros(2))),
        ("losses", lambda: viz.training_curve(POINTS)),
        ("smooth", lambda: viz.training_curve([1.0], smooth=0)),
        ("n", lambda: viz.row(0)),
    ],
)
def test_a_wrong_input_is_named(argument: str, call: Callable[[], object]) -> None:
    with pytest.raises(InputError) as error:
        call()
    assert error.value.argument == argument
    assert not plt.get_fignums(), "a figure was opened before the inputs were checked"


def test_bfloat16_and_lists_become_arrays() -> None:
    np.testing.assert_array_equal(as_array("x", torch.ones(2, dtype=torch.bfloat16), "N"), [1.0, 1.0])
    np.testing.assert_array_equal(as_array("x", [1, 2], "2"), [1, 2])


def test_cell_centres_are_the_middles_of_the_cells() -> None:
    centres = cell_centres((-1.0, 3.0), 2)
    np.testing.assert_allclose(centres[0, 1], [2.0, 0.0])  # row 0 is low, column 1 is right
    np.testing.assert_allclose(centres[1, 0], [0.0, 2.0])


def test_flowlib_does_not_import_the_pictures() -> None:
    code = (
        "import sys, flowlib; assert not {'matplotlib', 'ipywidgets', 'flowlib.viz'} & set(sys.modules)\n"
        "import flowlib.viz; assert 'ipywidgets' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
