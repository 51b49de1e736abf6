"""The published 2-D table: its data are the paper's, its energies are right, and it can be resumed."""

import importlib
from dataclasses import replace

import pytest
import torch

from flowlib.densities import Gaussian
from flowlib.evaluation import path_energy
from flowlib.paths import OT, exact_velocity
from flowlib.recipes.pairings_2d import LAWS, PLAN, TASKS, npe, pairings_2d
from flowlib.recipes.results import read

table = importlib.import_module("flowlib.recipes.pairings_2d")


def test_the_laws_are_the_papers():
    """Eight modes of deviation 1 at radius 5; moons stretched by 2 and moved by -1; an S in 1.5 times its size."""
    n = 20_000
    modes = LAWS["8gaussians"](n, 0)
    angle = torch.atan2(modes[:, 1], modes[:, 0])
    along = modes[angle.abs() < 0.2]
    assert abs(float(along[:, 0].mean()) - 5) < 0.25  # a wedge holds more of what lies far out
    assert abs(float(modes.square().sum(1).mean()) - 27) < 0.3  # 5^2 + 2
    wide = LAWS["wide 8gaussians"](n, 0)
    assert abs(float(wide.square().sum(1).mean()) - (144 + 2 * 1.5**2)) < 1.5
    moons = LAWS["moons"](n, 0)
    torch.testing.assert_close(moons.mean(0), torch.tensor([0.0, -0.5]), rtol=0, atol=0.03)  # 2 (0.5, 0.25) - 1
    upper = moons[moons[:, 1] > 0.2]
    assert abs(float((upper + 1).norm(dim=1).mean()) - 2) < 0.02  # circle of radius 2 about (-1, -1)
    assert abs(float((upper + 1).norm(dim=1).std()) - 0.1) < 0.02  # noise 2 x 0.05
    s_curve = LAWS["s-curve"](n, 0)
    assert abs(float(s_curve[:, 1].abs().max()) - 3) < 0.5  # 1.5 x 2
    assert abs(float(s_curve[:, 0].abs().max()) - 1.5) < 0.4
    spread = LAWS["wide moons"](n, 0)
    torch.testing.assert_close(torch.stack([spread.mean(), spread.std()]), torch.tensor([0.0, 7.0]), rtol=0, atol=1e-4)
    assert not torch.equal(LAWS["moons"](50, 0), LAWS["moons"](50, 1))


def test_plan_is_the_protocol():
    assert (PLAN.steps, PLAN.batch_size, PLAN.lr, PLAN.weight_decay) == (20_000, 512, 1e-3, 1e-5)
    assert table.METHODS["OT-CFM"][0].noise == 0.1
    assert table.METHODS["FM"][0].sigma_min == 0.1
    assert table.METHODS["SB-CFM"][0].noise == table.METHODS["SB-CFM"][1].keywords["sigma"] == 1.0


def test_npe_of_the_known_gaussians(float64):
    """N(0, 1) to N(2, 0.4^2), independent pairs: NPE = 0.0394, from the exact field."""
    target = Gaussian(torch.tensor([2.0]), torch.tensor([[0.16]]))
    x_0 = torch.special.ndtri((torch.arange(4000) + 0.5) / 4000)[:, None]  # quantiles: no chance in the mean
    energy = float(path_energy(exact_velocity(OT(), target), x_0, steps=50))
    rows = [
        {"task": "a", "method": "floor", "transport": 4.36},
        {"task": "a", "method": "I-CFM", "energy": energy},
        {"task": "b", "method": "I-CFM", "energy": 9.0},
    ]
    assert abs(npe(rows, "a", "I-CFM")[0] - 0.0394) < 3e-4
    assert npe(rows, "b", "I-CFM") == []


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "t.jsonl"
    points, table.POINTS = table.POINTS, 64
    plan = replace(PLAN, steps=3, batch_size=32)
    pairings_2d(path, [42], plan=plan)
    yield path, plan
    table.POINTS = points


def test_every_cell_is_measured_once(small, monkeypatch):
    path, plan = small
    rows = read(path)
    assert {(r["task"], r["method"]) for r in rows} == {
        (task, method)
        for task in TASKS
        for method in table.ROWS
        if task.startswith("N") or method not in ("FM", "SB-CFM")
    }
    assert [r["method"] for r in rows][-3:] == ["SB-CFM"] * 3
    assert all(r["W2"] > 0 for r in rows)
    before = path.read_text()
    monkeypatch.setattr(table, "_measure", lambda **cell: pytest.fail("measured twice"))
    pairings_2d(path, [42], plan=plan)
    assert path.read_text() == before


def test_a_cell_is_the_same_every_time(small):
    path, plan = small
    (row,) = (r for r in read(path) if (r["task"], r["method"]) == ("N to moons", "OT-CFM"))
    again = table._measure("N to moons", "OT-CFM", 42, plan.steps, plan)
    assert again == {"W2": row["W2"], "energy": row["energy"]}


def test_energy_and_distance_of_a_field_that_shifts(monkeypatch):
    """A constant velocity (3, 4) has energy 25 in any number of steps, and carries N to N + (3, 4)."""
    monkeypatch.setattr(table, "POINTS", 500)
    monkeypatch.setattr(table, "_trained", lambda *_: lambda x, t: torch.tensor([3.0, 4.0]).expand(x.shape))
    monkeypatch.setitem(table.TASKS, "N to N", ("N", "N"))
    row = table._measure("N to N", "I-CFM", 42, PLAN.steps, PLAN)
    assert row["energy"] == pytest.approx(25, rel=1e-4)
    assert row["W2"] == pytest.approx(5, abs=0.3)
