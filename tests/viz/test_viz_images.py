import numpy as np
import pytest
from matplotlib.axes import Axes

from flowlib import viz

RGB = np.random.default_rng(0).uniform(-1, 1, size=(5, 3, 4, 6))


def picture_of(ax: Axes) -> np.ndarray:
    return np.asarray(ax.images[0].get_array())


def test_pixels_are_at_their_place_with_one_white_pixel_between(ax: Axes) -> None:
    viz.images(RGB, columns=3, ax=ax)
    picture = picture_of(ax)
    assert picture.shape == (2 * 4 + 3, 3 * 6 + 4, 3)  # two lines of three, gaps around each
    channel, row, column = 2, 3, 1
    value = (RGB[4, channel, row, column] + 1) / 2  # image 4: second line, second column
    assert picture[1 + 4 + 1 + row, 1 + 6 + 1 + column, channel] == pytest.approx(value)
    gaps = np.ones(picture.shape[:2], bool)
    for top in (1, 6):
        for left in (1, 8, 15):
            gaps[top : top + 4, left : left + 6] = False
    assert (picture[gaps] == 1).all()
    assert (picture[6:10, 15:21] == 1).all()  # there is no sixth image
    assert ax.images[0].get_interpolation() == "nearest"


def test_grey_is_black_to_white_and_clipped(ax: Axes, caplog: pytest.LogCaptureFixture) -> None:
    viz.images(np.array([-5.0, -1.0, 0.0, 1.0, 7.0]).reshape(1, 1, 1, 5), ax=ax)
    np.testing.assert_allclose(picture_of(ax)[1, 1:6], np.repeat([[0], [0], [0.5], [1], [1]], 3, axis=1))
    assert not caplog.records  # matplotlib would clip too, and complain


def test_titles_stand_above_their_images(ax: Axes) -> None:
    viz.images(RGB[:4], columns=2, titles=["a", "b", "", "d"], ax=ax)
    a, b, _, d = ax.texts
    assert [text.get_text() for text in ax.texts] == ["a", "b", "", "d"]
    assert a.get_position()[0] < b.get_position()[0] == d.get_position()[0]
    assert a.get_position()[1] == b.get_position()[1] < d.get_position()[1]
    picture = picture_of(ax)
    top, left = round(d.get_position()[1] + 0.8), 1 + 6 + 1
    np.testing.assert_allclose(picture[top : top + 4, left : left + 6], (np.moveaxis(RGB[3], 0, -1) + 1) / 2)


def test_a_row_of_image_paths_is_a_sample_and_a_column_a_time(ax: Axes) -> None:
    times = np.linspace(0, 1, 5)
    trajectory = np.broadcast_to(times[:, None, None, None, None], (5, 2, 1, 3, 3)) * np.array([1.0, -1.0]).reshape(
        1, 2, 1, 1, 1
    )
    viz.image_paths(trajectory, times, columns=3, ax=ax)
    picture = picture_of(ax)
    middles = picture[[-7, -3]][:, [2, 6, 10], 0]  # lines of 3 pixels and gaps of 1, counted from below
    np.testing.assert_allclose(middles, [[0.5, 0.75, 1.0], [0.5, 0.25, 0.0]])
    assert [text.get_text() for text in ax.texts] == ["0.00", "0.50", "1.00", "", "", ""]


def test_a_new_figure_has_the_shape_of_the_mosaic() -> None:
    wide = viz.images(RGB, columns=5, size=1.0).figure.get_size_inches()
    assert wide[0] / wide[1] == pytest.approx((5 * 7 + 1) / 6)
    assert wide[0] == pytest.approx((5 * 7 + 1) / 6)  # each image is size inches wide
