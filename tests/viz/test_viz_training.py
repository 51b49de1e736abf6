import numpy as np
from matplotlib.axes import Axes

from flowlib import viz
from flowlib.viz.training import _running_mean


def test_running_mean_looks_back_only() -> None:
    y = np.arange(1.0, 7.0)
    np.testing.assert_allclose(_running_mean(y, 3), [1, 1.5, 2, 3, 4, 5])
    np.testing.assert_allclose(_running_mean(y, 100), [1, 1.5, 2, 2.5, 3, 3.5])


def test_one_bad_step_does_not_spoil_the_rest() -> None:
    y = np.ones(20)
    y[5] = np.nan
    assert np.isnan(_running_mean(y, 3)).sum() == 3


def test_curve_mean_and_floor_are_drawn(ax: Axes) -> None:
    losses = [4.0, 2.0, 3.0]
    viz.training_curve(losses, ax=ax, smooth=2, floor=1.5, label="OT")
    mean, raw, floor = ax.lines
    np.testing.assert_array_equal(raw.get_xydata(), [[1, 4], [2, 2], [3, 3]])
    np.testing.assert_array_equal(mean.get_ydata(), [4, 3, 2.5])
    np.testing.assert_array_equal(floor.get_ydata(), [1.5, 1.5])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["OT", "floor"]
    assert ax.get_xlabel() == "step"


def test_runs_on_one_axes_take_different_colours(ax: Axes) -> None:
    viz.training_curve([1.0, 2.0], ax=ax, smooth=1)
    viz.training_curve([2.0, 3.0], ax=ax, smooth=1)
    assert len(ax.lines) == 2
    assert ax.lines[0].get_color() != ax.lines[1].get_color()
    assert ax.get_legend() is None
