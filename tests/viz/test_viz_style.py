import io

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from flowlib import viz
from flowlib.viz.style import RC, small_png


def lightness(rgb: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB colours (..., 3) in [0, 1]."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    y = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)


def test_sequential_map_falls_evenly_in_lightness_from_white() -> None:
    light = lightness(viz.SEQUENTIAL(np.linspace(0, 1, 101))[:, :3])
    assert light[0] == pytest.approx(100, abs=0.1)
    assert light[-1] < 15
    np.testing.assert_allclose(light, np.linspace(light[0], light[-1], 101), atol=4)


def test_line_colours_are_seen_on_white() -> None:
    assert (lightness(viz.SPEED(np.linspace(0, 1, 64))[:, :3]) < 80).all()
    assert all(lightness(np.array(to_rgb(color))) < 75 for color in viz.PALETTE)


def test_diverging_map_is_white_at_zero() -> None:
    assert min(viz.DIVERGING(0.5)[:3]) > 0.95


def test_use_sets_the_style() -> None:
    with mpl.rc_context():
        viz.use()
        assert mpl.rcParams["figure.dpi"] == RC["figure.dpi"] <= 80
        assert mpl.rcParams["axes.prop_cycle"].by_key()["color"] == list(viz.PALETTE)


def test_row_has_square_panels_side_by_side() -> None:
    axes = viz.row(3, size=2.0)
    assert axes.shape == (3,)
    assert tuple(axes[0].figure.get_size_inches()) == (6.0, 2.0)
    assert viz.row(1).shape == (1,)


def test_plane_is_equal_and_keeps_limits_when_none_are_given() -> None:
    ax = viz.row(1)[0]
    assert viz.plane(ax, (-3.0, 5.0)) is ax
    assert ax.get_aspect() == 1.0
    viz.samples(np.array([[100.0, 0.0]]), ax=ax)
    assert ax.get_xlim() == ax.get_ylim() == (-3.0, 5.0)


def test_small_png_has_the_same_bytes_each_time_and_no_metadata() -> None:
    picture = Image.fromarray(np.arange(48 * 48 * 3, dtype=np.uint8).reshape(48, 48, 3))
    assert small_png(picture) == small_png(picture)
    assert Image.open(io.BytesIO(small_png(picture))).info == {}


def test_small_png_keeps_rare_colours_and_whole_photographs() -> None:
    ramp = np.repeat(np.linspace(0, 255, 256).astype(np.uint8)[None, :, None], 200, axis=0).repeat(3, axis=2)
    ramp[100, 100:104] = (213, 94, 0)
    small = np.asarray(Image.open(io.BytesIO(small_png(Image.fromarray(ramp)))).convert("RGB")).astype(int)
    assert abs(small[100, 101] - np.array([213, 94, 0])).max() <= 12
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(small_png(Image.fromarray(noise))))), noise)
