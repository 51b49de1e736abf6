import base64
import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from PIL import Image

from flowlib import viz
from flowlib.errors import InputError
from flowlib.viz.player import WIDGET_VIEW

TIMES = np.linspace(0, 1, 5)


def draw(ax: Axes, t: float) -> None:
    viz.samples(np.array([[4 * t - 2, 0.0]]), ax=ax, size=400, limits=(-3.0, 3.0))


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_frames_differ_and_move_what_is_drawn() -> None:
    frames = [pixels(png) for png in viz.player(draw, TIMES, widget=False).frames]
    assert len({frame.shape for frame in frames}) == 1
    blue = [np.argwhere(frame[..., 2] - frame[..., 0] > 60)[:, 1].mean() for frame in frames]
    np.testing.assert_allclose(np.diff(blue), np.diff(blue)[0], atol=1.0)  # to the right, evenly
    assert blue[-1] - blue[0] > 100


def test_the_same_call_gives_the_same_bytes_whatever_the_style_outside() -> None:
    first = viz.player(draw, TIMES, widget=False)
    with plt.rc_context({"font.size": 30, "figure.dpi": 200}):
        second = viz.player(draw, TIMES, widget=False)
    assert (first.frames, first.still, first.gif()) == (second.frames, second.still, second.gif())


def test_a_cell_shows_the_widget_and_the_still_picture() -> None:
    player = viz.player(draw, TIMES)
    bundle = player._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/png", WIDGET_VIEW}
    assert base64.b64decode(bundle["image/png"]) == player.still
    assert bundle[WIDGET_VIEW]["model_id"] == player.widget.model_id
    assert bundle["text/plain"] == "Player(5 frames, t = 0.00 to 1.00)"  # nothing random: nbval compares it


def test_ipython_keeps_both_kinds_and_stores_them_as_text() -> None:
    from IPython.core.formatters import DisplayFormatter

    data, _ = DisplayFormatter().format(viz.player(draw, TIMES))
    assert {"image/png", WIDGET_VIEW} < set(data)
    assert isinstance(data["image/png"], str)


def test_without_a_widget_only_the_still_picture_is_shown() -> None:
    player = viz.player(draw, TIMES, widget=False)
    assert player.widget is None
    assert set(player._repr_mimebundle_()) == {"text/plain", "image/png"}


def test_play_button_slider_and_pictures_are_linked_in_the_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    import ipywidgets

    links = []
    monkeypatch.setattr(ipywidgets, "jslink", lambda source, target: links.append((source, target)))
    player = viz.player(draw, TIMES, label="time", interval=120)
    (play, slider), stack = player.widget.children[0].children, player.widget.children[1]
    assert [image.value for image in stack.children] == player.frames
    assert (play.max, slider.max, play.interval, slider.description) == (4, 4, 120, "time")
    assert links == [((play, "value"), (slider, "value")), ((slider, "value"), (stack, "selected_index"))]


def test_the_still_picture_is_a_strip_of_the_chosen_frames() -> None:
    player = viz.player(draw, TIMES, still=(0, 3), widget=False)
    strip, first, fourth = pixels(player.still), pixels(player.frames[0]), pixels(player.frames[3])
    assert abs(strip - np.concatenate([first, fourth], axis=1)).max() <= 16  # another palette of 256 colours
    assert pixels(viz.player(draw, TIMES, widget=False).still).shape[1] == 4 * first.shape[1]


def test_panels_are_given_as_an_array_and_stacked_in_the_still_picture() -> None:
    def draw_two(axes: np.ndarray, t: float) -> None:
        assert axes.shape == (2,)
        draw(axes[0], t)
        draw(axes[1], 1 - t)

    player = viz.player(draw_two, TIMES, panels=2, size=2.0, widget=False)
    height, width = pixels(player.frames[0]).shape[:2]
    assert width == 2 * height == 448
    assert pixels(player.still).shape[:2] == (2 * height, 2 * width)


def test_values_name_the_frames() -> None:
    states = torch.zeros(2, 7, 2)
    player = viz.player(lambda ax, x: viz.samples(x, ax=ax), states, values=["VP", "OT"], label="path", widget=False)
    assert repr(player) == "Player(2 frames, path = VP to OT)"
    assert repr(viz.player(draw, [0, 1], label="step", widget=False)) == "Player(2 frames, step = 0 to 1)"


def test_nothing_is_left_for_pyplot_to_show() -> None:
    viz.player(draw, TIMES)
    assert not plt.get_fignums()


def test_a_player_with_a_field_over_a_density_keeps_to_its_budget() -> None:
    def log_prob(x: torch.Tensor) -> torch.Tensor:
        return -(x**2).sum(1)

    def busy(ax: Axes, t: float) -> None:
        viz.field(lambda x, t: -x * t[:, None], t, n=14, ax=viz.density(log_prob, ax=ax), max_speed=4.0)

    frames = viz.player(busy, TIMES, widget=False).frames
    assert Image.open(io.BytesIO(frames[0])).size == (336, 336)  # three inches of the page
    assert max(map(len, frames)) < 15_000  # 13,884 with words as large as the page's


def test_the_gif_plays_all_frames_for_ever() -> None:
    gif = Image.open(io.BytesIO(viz.player(draw, TIMES, interval=200, widget=False).gif()))
    assert (gif.n_frames, gif.info["duration"], gif.info["loop"]) == (5, 200, 0)


@pytest.mark.parametrize(
    ("argument", "arguments"),
    [
        ("frames", {"frames": []}),
        ("frames", {"frames": range(25)}),
        ("values", {"frames": TIMES, "values": TIMES[1:]}),
        ("values", {"frames": np.zeros((3, 7, 2))}),
        ("still", {"frames": TIMES, "still": [5]}),
        ("panels", {"frames": TIMES, "panels": 0}),
    ],
)
def test_a_wrong_input_is_named(argument: str, arguments: dict) -> None:
    with pytest.raises(InputError) as error:
        viz.player(draw, **arguments, widget=False)
    assert error.value.argument == argument
