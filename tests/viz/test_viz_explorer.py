import base64
import json

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicHermiteSpline

from flowlib.densities import Gaussian, eight_gaussians
from flowlib.errors import InputError
from flowlib.paths import OT, exact_velocity
from flowlib.solvers import RK4, solve
from flowlib.viz.player import WIDGET_VIEW
from flowlib.viz.widgets import explore
from flowlib.viz.widgets.packing import CELLS, STEPS, TIMES, Packed, pack, pack_field, weights
from flowlib.viz.widgets.theme import DARK, LIGHT

PATHS = np.random.default_rng(0).normal(size=(5, 7, 2))


@pytest.fixture(scope="module")
def flow() -> torch.Tensor:
    x_0 = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    return solve(exact_velocity(OT(), eight_gaussians()), x_0, torch.linspace(0, 1, 65), RK4).trajectory


@pytest.mark.parametrize("knots", [2, 3, 5, 9])
def test_the_weights_are_those_of_a_cubic_with_difference_slopes(knots: int) -> None:
    p = np.random.default_rng(knots).normal(size=knots)
    slopes = np.concatenate([[p[1] - p[0]], (p[2:] - p[:-2]) / 2, [p[-1] - p[-2]]]) * (knots - 1)
    judge = CubicHermiteSpline(np.linspace(0, 1, knots), p, slopes)
    for t in np.linspace(0, 1, 41):
        index, weight = weights(t, knots)
        np.testing.assert_allclose(weight @ p[index], judge(t), atol=1e-12)


def test_straight_lines_take_two_knots_and_stay_straight() -> None:
    ends = PATHS[:2]
    lines = np.stack([(1 - t) * ends[0] + t * ends[1] for t in np.linspace(0, 1, 9)])
    packed = pack(lines, np.linspace(0, 1, 9), 10**6, 0.01)
    assert len(packed.code) == 2
    for t in (0.0, 0.3, 1.0):
        np.testing.assert_allclose(packed.at(t), (1 - t) * ends[0] + t * ends[1], atol=2e-4)


def test_a_flow_is_kept_to_the_tolerance_with_the_fewest_knots(flow: torch.Tensor) -> None:
    x, times = flow.numpy(), np.linspace(0, 1, 65)

    def error(packed: Packed) -> float:
        return max(np.abs(packed.at(t) - known).max() for t, known in zip(times, x, strict=True))

    fine, coarse = pack(x, times, 10**6, 0.016), pack(x, times, 10**6, 0.2)
    assert error(fine) < 0.016
    assert error(coarse) < 0.2
    assert len(coarse.code) < len(fine.code)
    with_less = pack(x, times, 4 * 200 * (len(fine.code) // 2 + 1), 0.016)
    assert error(with_less) >= 0.016, "half the knots would have done"


def test_uneven_times_are_respected() -> None:
    t = np.array([0.0, 0.1, 0.15, 0.6, 1.0])
    x = t[:, None, None] * np.array([[[1.0, -2.0]]])
    np.testing.assert_allclose(pack(x, t, 10**6, 0.01).at(0.5), [[0.5, -1.0]], atol=1e-3)


def test_a_field_is_kept_at_the_cells_and_at_times_inside() -> None:
    code, unit, top = pack_field(lambda x, t: torch.stack([x[:, 0], t], 1), (-3.0, 3.0))
    assert code.shape == (TIMES, CELLS, CELLS, 2)
    velocity = code * unit
    centres = -3 + (np.arange(CELLS) + 0.5) * 6 / CELLS
    np.testing.assert_allclose(velocity[4, 2, :, 0], centres, atol=unit)
    np.testing.assert_allclose(velocity[:, 0, 0, 1], (np.arange(TIMES) + 0.5) / TIMES, atol=unit)
    assert 0 < top <= np.hypot(3, 1)


def test_three_panels_of_5000_particles_take_less_than_a_megabyte_and_a_half() -> None:
    curved = np.random.default_rng(0).normal(size=(40, 5000, 2)).cumsum(0)  # as many knots as there are allowed
    v = exact_velocity(OT(), Gaussian(torch.zeros(2)))
    explorer = explore({"a": curved, "b": curved, "c": curved}, v=v, limits=(-20.0, 20.0))
    assert min(panel["knots"] for panel in explorer.panels) >= 17
    state = explorer.get_state()
    text = json.dumps(state, default=lambda x: base64.b64encode(x).decode() if isinstance(x, bytes) else str(x))
    assert len(text) < 1.5e6


def test_a_cell_shows_the_widget_and_the_still_picture(flow: torch.Tensor) -> None:
    explorer = explore({"lines": flow[[0, -1]], "flow": flow})
    bundle, _ = explorer._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/png", WIDGET_VIEW}
    assert base64.b64decode(bundle["image/png"]) == explorer.still
    assert bundle[WIDGET_VIEW]["model_id"] == explorer.model_id
    assert bundle["text/plain"] == "Explorer(200 particles: lines, flow)"
    again = explore({"lines": flow[[0, -1]], "flow": flow})
    assert (again.still, again.data, again.colors) == (explorer.still, explorer.data, explorer.colors)


def test_the_state_holds_the_panels_one_after_the_other(flow: torch.Tensor) -> None:
    explorer = explore({"lines": flow[[0, -1]], "flow": flow})
    first = explorer.panels[0]
    assert (first["knots"], first["cells"]) == (2, 0)
    code = np.frombuffer(explorer.data, "<u2")
    assert len(code) == 2 * 200 * sum(panel["knots"] for panel in explorer.panels)
    start = first["low"] + code[:400].reshape(200, 2) * (first["high"] - first["low"]) / STEPS
    np.testing.assert_allclose(start, flow[0], atol=2e-4)


def test_colours_are_quadrants_or_labels(flow: torch.Tensor) -> None:
    quadrants = np.frombuffer(explore({"flow": flow}).colors, np.uint8)
    np.testing.assert_array_equal(quadrants, (2 * (flow[0, :, 1] < 0) + (flow[0, :, 0] < 0)).numpy())
    assert set(explore({"flow": flow}, color_by=np.full(200, 8)).colors) == {8 % len(LIGHT["particles"])}


def test_a_dropped_particle_follows_the_field_both_ways() -> None:
    """For N(0, 1) to N(m, c^2) the flow is x_t = t m + (1 - t + t c) x_0 along its own line of quantiles."""
    law = Gaussian(torch.tensor([2.0, 0.0]), 0.25)
    explorer = explore({"lines": PATHS, "flow": PATHS}, v={"flow": exact_velocity(OT(), law)})
    nothing, path = explorer.solved((1.3, 0.4), 0.3)
    assert nothing is None
    times = np.linspace(0, 1, 33)
    spread = np.sqrt((1 - times) ** 2 + 0.25 * times**2)
    start = (np.array([1.3, 0.4]) - 0.3 * np.array([2.0, 0.0])) / np.hypot(0.7, 0.15)
    np.testing.assert_allclose(path, times[:, None] * [2.0, 0.0] + spread[:, None] * start, atol=2e-3)


@pytest.mark.parametrize("t", [0.0, 0.5, 1.0])
def test_a_particle_may_be_dropped_on_a_time_of_the_grid(t: float) -> None:
    (path,) = explore({"flow": PATHS}, v=lambda x, t: torch.ones_like(x)).solved((0.0, 0.0), t)
    np.testing.assert_allclose(path, np.stack([np.linspace(0, 1, 33) - t] * 2, 1), atol=1e-6)


def test_the_kernel_answers_a_click_and_tells_when_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        if len(x) == 1:
            raise RuntimeError("no luck")
        return torch.ones_like(x)

    for v, error in ((lambda x, t: torch.ones_like(x), None), (broken, "no luck")):
        explorer, sent = explore({"flow": PATHS}, v=v), []
        monkeypatch.setattr(explorer, "send", sent.append)
        explorer._answer(explorer, {"kind": "drop", "id": 3, "t": 0.5, "x": [0.1, 0.2]}, [])
        assert sent[0]["id"] == 3
        assert error in sent[0]["error"] if error else len(sent[0]["paths"][0]) == 33
        json.dumps(sent[0])


def _linear(color: str) -> np.ndarray:
    rgb = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_everything_stands_out_from_the_page(theme: dict) -> None:
    def luminance(color: str) -> float:
        return float(_linear(color) @ [0.2126, 0.7152, 0.0722])

    def contrast(color: str) -> float:
        low, high = sorted((luminance(color), luminance(theme["background"])))
        return (high + 0.05) / (low + 0.05)

    assert min(contrast(theme[name]) for name in ("ink", "arrows", "own")) > 4.5
    assert min(map(contrast, theme["particles"])) > 2


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("trajectories", lambda: explore({})),
        ("trajectories", lambda: explore(dict.fromkeys("abcd", PATHS))),
        ("trajectories", lambda: explore({"a": PATHS, "b": PATHS[:, :3]})),
        ("trajectories", lambda: explore({"a": PATHS[:1]})),
        ("trajectories", lambda: explore({"a": np.full((2, 3, 2), np.nan)})),
        ("trajectories", lambda: explore({"a": np.zeros((2, 200_000, 2))})),
        ("trajectories['a']", lambda: explore({"a": np.zeros((2, 3, 3))})),
        ("times", lambda: explore({"a": PATHS}, np.array([0, 0.5, 0.4, 0.8, 1.0]))),
        ("v", lambda: explore({"a": PATHS}, v={"b": lambda x, t: x})),
        ("color_by", lambda: explore({"a": PATHS}, color_by="speed")),
        ("limits", lambda: explore({"a": PATHS}, limits=(1.0, 1.0))),
    ],
)
def test_a_wrong_input_is_named(argument: str, call) -> None:
    with pytest.raises(InputError) as error:
        call()
    assert error.value.argument == argument
