import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from flowlib import viz


def log_prob(x: torch.Tensor) -> torch.Tensor:
    return -((x[:, 0] - 1) ** 2) / 2 - 2 * (x[:, 1] + 2) ** 2  # highest at (1, -2): no symmetry to hide behind


def test_density_is_exp_log_p_at_the_cell_centres(ax: Axes) -> None:
    viz.density(log_prob, limits=(-4.0, 4.0), resolution=40, ax=ax)
    (image,) = ax.images
    values = np.asarray(image.get_array())
    x, y = -4 + 0.2 * (5 + 0.5), -4 + 0.2 * (12 + 0.5)  # column 5, row 12
    np.testing.assert_allclose(values[12, 5], np.exp(-((x - 1) ** 2) / 2 - 2 * (y + 2) ** 2), rtol=1e-5)
    row, column = np.unravel_index(values.argmax(), values.shape)
    assert image.origin == "lower"
    assert image.get_extent() == [-4, 4, -4, 4]
    assert abs(-4 + 0.2 * (column + 0.5) - 1) <= 0.11
    assert abs(-4 + 0.2 * (row + 0.5) + 2) <= 0.11


def test_the_darkest_pixel_on_the_page_is_at_the_mode(ax: Axes) -> None:
    viz.density(log_prob, ax=ax)
    ax.figure.canvas.draw()
    pixels = np.asarray(ax.figure.canvas.buffer_rgba())[..., :3].sum(-1).astype(float)
    column, row_from_below = ax.transData.transform((1.0, -2.0))
    mode = pixels[len(pixels) - 1 - int(row_from_below), int(column)]
    assert mode < 120
    assert pixels[int(row_from_below), int(column)] > 600  # the mirror image of the mode is white


def test_density_calls_once_without_gradients_and_shares_a_scale(ax: Axes) -> None:
    shapes = []

    def counted(x: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(x.shape))
        assert not torch.is_grad_enabled()
        return x.sum(1)

    viz.density(counted, resolution=10, ax=ax, vmax=7.0)
    assert shapes == [(100, 2)]
    assert ax.images[0].get_clim() == (0.0, 7.0)


def test_histogram_is_the_share_of_samples_over_the_area_of_a_cell(ax: Axes) -> None:
    x = np.array([[0.5, 3.5], [0.6, 3.6], [2.5, 0.5], [9.0, 9.0]])
    viz.histogram(x, bins=4, limits=(0.0, 4.0), ax=ax)
    expected = np.zeros((4, 4))
    expected[3, 0], expected[0, 2] = 0.5, 0.25  # [row = second coordinate, column = first]; one sample lies outside
    np.testing.assert_allclose(np.asarray(ax.images[0].get_array()), expected)


def test_samples_are_drawn_where_they_are(ax: Axes) -> None:
    x = np.array([[0.0, 1.0], [2.0, -1.0]])
    viz.samples(x, ax=ax, color=viz.FLOW, alpha=0.25, label="model")
    (dots,) = ax.collections
    np.testing.assert_array_equal(dots.get_offsets(), x)
    np.testing.assert_allclose(dots.get_facecolor()[0], to_rgba(viz.FLOW, 0.25))
    assert dots.get_rasterized()
    assert ax.get_legend_handles_labels()[1] == ["model"]


def test_many_samples_are_thinned_evenly(ax: Axes) -> None:
    x = np.stack([np.arange(1001.0), np.zeros(1001)], 1)
    viz.samples(x, ax=ax, most=11)
    np.testing.assert_array_equal(np.asarray(ax.collections[0].get_offsets())[:, 0], np.arange(0, 1001, 100))
