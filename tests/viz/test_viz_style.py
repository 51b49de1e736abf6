import io
import itertools

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from flowlib import viz
from flowlib.viz.style import PAGE_TEXT, RC, small_png

DARK_PAGES = ("#111111", "#181818", "#1e1e1e")  # of JupyterLab and of the usual themes of a static book

# How linear RGB looks without one kind of cone: Machado, Oliveira and Fernandes 2009, table 1, severity 1.0.
EYES = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
COLOURS = {*viz.PALETTE, viz.NOISE, viz.DATA, viz.FLOW, viz.EXACT, viz.WRONG}


def linear(rgb: np.ndarray) -> np.ndarray:
    """Linear RGB of sRGB colours in [0, 1]."""
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def cielab(color: object, eyes: str = "all cones") -> np.ndarray:
    """CIELAB coordinates of a colour as some eyes see it; a step of about 2 is just seen, side by side."""
    seen = np.clip(EYES[eyes] @ linear(np.array(to_rgb(color))), 0, 1)
    x, y, z = np.array([f if f > 0.008856 else (7.787 * f + 16 / 116) ** 3 for f in XYZ @ seen / XYZ.sum(1)])
    return np.array([116 * np.cbrt(y) - 16, 500 * (np.cbrt(x) - np.cbrt(y)), 200 * (np.cbrt(y) - np.cbrt(z))])


def lightness(rgb: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB colours (..., 3) in [0, 1]."""
    y = linear(rgb) @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)


@pytest.mark.parametrize("eyes", EYES)
def test_no_two_colours_look_alike_to_any_eyes(eyes: str) -> None:
    apart = {
        pair: np.linalg.norm(cielab(pair[0], eyes) - cielab(pair[1], eyes))
        for pair in itertools.combinations(sorted(COLOURS), 2)
    }
    assert len(COLOURS) == 8
    assert min(apart.values()) > 15, min(apart, key=lambda pair: apart[pair])


@pytest.mark.parametrize("eyes", EYES)
def test_the_particles_of_a_dark_explorer_are_told_apart_and_seen(eyes: str) -> None:
    from flowlib.viz.widgets.theme import DARK

    colors = [cielab(color, eyes) for color in DARK["particles"]]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(colors, 2)) > 12
    assert min(np.linalg.norm(color - cielab(DARK["background"], eyes)) for color in colors) > 40


@pytest.mark.parametrize("eyes", EYES)
def test_every_colour_is_seen_on_a_white_page_and_all_but_black_on_a_dark_one(eyes: str) -> None:
    for color in COLOURS:
        pages = ["white"] if color == viz.EXACT else ["white", *DARK_PAGES]
        for page in pages:
            assert np.linalg.norm(cielab(color, eyes) - cielab(page, eyes)) > 30, (color, page)


def test_colours_in_the_lab_are_those_of_the_standard() -> None:
    np.testing.assert_allclose(cielab("red"), [53.24, 80.09, 67.20], atol=0.02)  # Lindbloom's calculator, D65
    np.testing.assert_allclose(cielab("#0072B2")[0], lightness(np.array(to_rgb("#0072B2"))), atol=0.01)
    for grey in ("black", "#777777", "white"):  # eyes that lack a cone see grey as grey
        for eyes in EYES:
            np.testing.assert_allclose(cielab(grey, eyes), cielab(grey), atol=0.02)


def test_a_figure_stays_white_on_a_dark_page() -> None:
    with mpl.rc_context(RC):
        file = io.BytesIO()
        plt.figure().savefig(file, format="png")
    assert set(Image.open(file).convert("RGBA").get_flattened_data()) == {(255, 255, 255, 255)}


def test_words_in_a_figure_are_as_large_as_those_of_the_page() -> None:
    """Measured on drawn text, so that no relative size such as "small" slips through."""
    with mpl.rc_context(RC):
        ax = viz.trajectories(np.random.default_rng(0).normal(size=(3, 9, 2)), color_by="speed", colorbar=True)
        ax.set(title="title", xlabel="x", ylabel="y")
        ax.plot([0, 1], label="line")
        ax.legend()
        pictures = viz.images(np.zeros((2, 1, 8, 8)), titles=["0.1", "0.2"])
        for figure in (ax.figure, pictures.figure):
            figure.canvas.draw()
            words = [text for text in figure.findobj(mpl.text.Text) if text.get_text() and text.get_visible()]
            assert len(words) >= 2
            for word in words:
                assert word.get_fontsize() * figure.dpi / 72 >= PAGE_TEXT - 1e-9, word


def test_a_figure_is_no_finer_than_its_words_ask_for() -> None:
    """Its bytes grow with the square of this: a word of the smallest size is as large as the page's, and no larger."""
    assert RC["font.size"] * RC["figure.dpi"] / 72 == pytest.approx(PAGE_TEXT)
    assert RC["savefig.dpi"] == "figure"


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
        assert mpl.rcParams["figure.dpi"] == RC["figure.dpi"]
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
