"""The newcomer's command: it trains, writes a picture that moves, and opens it only where there is a display."""

import io

import pytest
import torch
from PIL import Image

from flowlib.cli import main, show
from flowlib.densities import eight_gaussians

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.fixture
def opened(monkeypatch):
    """Few frames, and no browser: what would have been opened."""
    found = []
    monkeypatch.setattr(show, "TIMES", torch.linspace(0, 1, 3))
    monkeypatch.setattr(show, "HELD", 1)
    monkeypatch.setattr(show.webbrowser, "open", found.append)
    return found


@pytest.mark.parametrize("display", [True, False])
def test_one_command_writes_an_animation_and_says_where(tmp_path, capsys, opened, monkeypatch, display):
    monkeypatch.setattr(show, "has_display", lambda: display)
    path = tmp_path / "first.gif"
    assert main(["show", "--steps", "3", "--out", str(path)]) == 0
    said = capsys.readouterr().out
    assert f"See {path}" in said
    assert "make read" in said
    assert opened == ([path.as_uri()] if display else [])
    gif = Image.open(io.BytesIO(path.read_bytes()))
    frames = []
    for k in range(gif.n_frames):
        gif.seek(k)
        frames.append(gif.convert("RGB").tobytes())
    assert len(set(frames)) == 3


def test_it_can_be_told_not_to_open_anything(tmp_path, opened, monkeypatch):
    monkeypatch.setattr(show, "has_display", lambda: True)
    assert main(["show", "--steps", "1", "--out", str(tmp_path / "a.gif"), "--no-open"]) == 0
    assert opened == []


def test_lines_and_flow_share_their_start_and_each_reaches_the_data():
    lines, flow = show.plane(300)
    assert torch.equal(lines[0], flow[0])
    halfway = len(lines) // 2
    torch.testing.assert_close(lines[2] - lines[1], lines[halfway] - lines[halfway - 1], atol=1e-5, rtol=0)
    target = eight_gaussians()
    near = (flow[-1][:, None] - target.means).norm(dim=2).min(1).values
    assert (near < 1.2).double().mean() > 0.9
    assert (lines[-1][:, None] - target.means).norm(dim=2).min(1).values.max() < 1.6  # 4.5 standard deviations


def test_digits_start_as_noise_and_end_as_what_the_judge_reads():
    from flowlib.recipes import judge_digits

    x = show.handwriting()
    assert x.shape == (len(show.TIMES), 25, 1, 8, 8)
    read = judge_digits().load()(x[-1]).argmax(1)
    assert (read == torch.arange(25) % 10).double().mean() > 0.9


@pytest.mark.parametrize(
    ("environment", "platform", "expected"),
    [({}, "linux", False), ({"DISPLAY": ":0"}, "linux", True), ({"WAYLAND_DISPLAY": "w"}, "linux", True),
     ({}, "darwin", True)],
)  # fmt: skip
def test_a_terminal_without_a_display_is_known(monkeypatch, environment, platform, expected):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(show.sys, "platform", platform)
    assert show.has_display() is expected


def test_another_kind_of_file_is_refused_before_anything_is_trained(tmp_path, capsys):
    assert main(["show", "--out", str(tmp_path / "flow.mp4")]) == 2
    assert "--out: expected a name that ends in .gif, got" in capsys.readouterr().err
