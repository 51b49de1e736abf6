import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba

from flowlib import viz

PATHS = np.random.default_rng(0).normal(size=(4, 3, 2))


def lines_of(ax: Axes) -> LineCollection:
    return next(c for c in ax.collections if isinstance(c, LineCollection))


def test_the_lines_are_the_trajectory_and_its_ends_are_marked(ax: Axes) -> None:
    viz.trajectories(PATHS, ax=ax)
    lines, start, end = ax.collections
    np.testing.assert_array_equal(np.stack(lines.get_segments()), PATHS.swapaxes(0, 1))
    np.testing.assert_array_equal(start.get_offsets(), PATHS[0])
    np.testing.assert_array_equal(end.get_offsets(), PATHS[-1])
    np.testing.assert_allclose(start.get_facecolor()[0], to_rgba(viz.NOISE))
    np.testing.assert_allclose(end.get_facecolor()[0], to_rgba(viz.FLOW))


def test_speed_is_length_over_time_on_an_uneven_grid(ax: Axes) -> None:
    times = np.array([0.0, 0.1, 0.5, 1.0])
    viz.trajectories(PATHS, times, ax=ax, color_by="speed")
    segments, speed = np.stack(lines_of(ax).get_segments()), np.asarray(lines_of(ax).get_array())
    index = 1 * 3 + 2  # the second piece of the third path
    np.testing.assert_array_equal(segments[index], PATHS[1:3, 2])
    np.testing.assert_allclose(speed[index], np.linalg.norm(PATHS[2, 2] - PATHS[1, 2]) / 0.4)
    assert lines_of(ax).get_clim() == (0.0, speed.max())


def test_time_may_run_backwards(ax: Axes) -> None:
    times = np.array([1.0, 0.7, 0.3, 0.0])
    viz.trajectories(PATHS, times, ax=ax, color_by="speed", max_speed=9.0)
    assert (np.asarray(lines_of(ax).get_array()) > 0).all()
    assert lines_of(ax).get_clim() == (0.0, 9.0)


def test_the_colour_bar_is_added_when_asked() -> None:
    ax = viz.trajectories(PATHS, color_by="speed", colorbar=True)
    assert len(ax.figure.axes) == 2
    assert len(viz.trajectories(PATHS, color_by="speed").figure.axes) == 1


def test_paths_are_coloured_by_quadrant_label_or_one_colour(ax: Axes) -> None:
    start = np.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0], [2.0, 3.0]])
    for color_by, numbers in (("origin", [0, 1, 2, 3, 0]), (np.array([6, 7, 0, 1, 1]), [6, 0, 0, 1, 1])):
        viz.trajectories(np.stack([start, 0 * start]), ax=ax, color_by=color_by, alpha=1.0)
        np.testing.assert_allclose(lines_of(ax).get_colors(), [to_rgba(viz.PALETTE[i]) for i in numbers])
        ax.clear()
    viz.trajectories(PATHS, ax=ax, color_by=viz.WRONG, alpha=1.0)
    np.testing.assert_allclose(lines_of(ax).get_colors(), [to_rgba(viz.WRONG)])


def test_all_paths_are_inside_the_limits_when_none_are_given() -> None:
    ax = viz.trajectories(10 * PATHS)
    ax.figure.canvas.draw()
    low, high = zip(ax.get_xlim(), ax.get_ylim(), strict=True)
    assert (low <= 10 * PATHS).all()
    assert (high >= 10 * PATHS).all()


def test_straight_lines_join_the_pairs(ax: Axes) -> None:
    viz.straight_lines(PATHS[0], PATHS[1], ax=ax)
    np.testing.assert_array_equal(np.stack(lines_of(ax).get_segments()), np.stack([PATHS[0], PATHS[1]], 1))
    np.testing.assert_allclose(ax.collections[-1].get_facecolor()[0], to_rgba(viz.DATA))
