"""Every exercise: the solution passes its check, the stub fails, a plausible wrong answer fails."""

from pathlib import Path

import pytest

from flowlib.coursework.checks import CheckFailed
from flowlib.coursework.exercises import is_stale, parse
from flowlib.coursework.trial import run_exercise, stub

CHAPTERS = Path(__file__).parents[2] / "chapters"
FOLDERS = sorted(path.parent for path in CHAPTERS.glob("*/solutions.ipynb"))
CHECKED = [(folder, one.number) for folder in FOLDERS for one in parse(folder / "solutions.ipynb") if one.points]

# What students write: one entry for each mistake, named by what is wrong with it.
WRONG = {
    ("4.1", "meets too early"): "time, place, velocity, end = 0.25, (1.0, 1.0), (2.0, 0.0), (2.0, 0.0)",
    ("4.1", "velocity of one line"): "time, place, velocity, end = 0.5, (1.0, 1.0), (2.0, 2.0), (2.0, 0.0)",
    ("4.1", "follows its line"): "time, place, velocity, end = 0.5, (1.0, 1.0), (2.0, 0.0), (2.0, 2.0)",
    ("4.2", "time broadcasts"): """
def interpolate(x_0, x_1, t):
    return t * x_1 + (1 - t) * x_0, x_1 - x_0""",
    ("4.2", "time reversed"): """
def interpolate(x_0, x_1, t):
    t = t.reshape(-1, *(1,) * (x_1.ndim - 1))
    return t * x_0 + (1 - t) * x_1, x_0 - x_1""",
    ("4.2", "no return"): """
def interpolate(x_0, x_1, t):
    x_t = x_0""",
    ("4.3", "target reversed"): """
def rectified_flow_loss(v, x_0, x_1, t):
    x_t = t[:, None] * x_1 + (1 - t[:, None]) * x_0
    return (v(x_t, t) - (x_0 - x_1)).square().mean()""",
    ("4.3", "sum over coordinates"): """
def rectified_flow_loss(v, x_0, x_1, t):
    x_t = t[:, None] * x_1 + (1 - t[:, None]) * x_0
    return (v(x_t, t) - (x_1 - x_0)).square().sum(1).mean()""",
    ("4.3", "field at the wrong place"): """
def rectified_flow_loss(v, x_0, x_1, t):
    return (v(x_0, t) - (x_1 - x_0)).square().mean()""",
    ("4.4", "underflows"): """
def finite_set_velocity(x, t, points):
    t = t[:, None]
    weight = torch.exp(-(x[:, None] - t[..., None] * points).square().sum(2) / (2 * (1 - t) ** 2))
    return (weight / weight.sum(1, keepdim=True) @ points - x) / (1 - t)""",
    ("4.4", "variance is not squared"): """
def finite_set_velocity(x, t, points):
    t = t[:, None]
    r = (-(x[:, None] - t[..., None] * points).square().sum(2) / (2 * (1 - t))).softmax(1)
    return (r @ points - x) / (1 - t)""",
    ("4.4", "points not moved towards the noise"): """
def finite_set_velocity(x, t, points):
    t = t[:, None]
    r = (-(x[:, None] - points).square().sum(2) / (2 * (1 - t) ** 2)).softmax(1)
    return (r @ points - x) / (1 - t)""",
    ("4.5", "forgets to divide by 1 - t"): "velocity, flow_end, euler_end = 1.0, 2.4, 2.0",
    ("4.5", "flow taken for the mean"): "velocity, flow_end, euler_end = 2.0, 2.0, 2.0",
    ("4.5", "Euler taken for exact"): "velocity, flow_end, euler_end = 2.0, 2.4, 2.4",
    ("4.6", "compares with the start"): """
def euler_errors(v, z_0, steps):
    results = [solve(v, z_0, torch.linspace(0, 1, n + 1), EULER).x for n in steps]
    return [float((x - z_0).square().sum(1).mean().sqrt()) for x in results]""",
    ("4.6", "another method"): """
def euler_errors(v, z_0, steps):
    right = solve(v, z_0, torch.linspace(0, 1, 401), RK4).x
    results = [solve(v, z_0, torch.linspace(0, 1, n + 1)).x for n in steps]
    return [float((x - right).square().sum(1).mean().sqrt()) for x in results]""",
    ("4.7", "costs swapped"): """
def transport_costs(v, x_0, x_1):
    z_1 = solve(v, x_0, torch.linspace(0, 1, 101), RK4).x
    return float((x_1 - x_0).square().sum(1).mean()), float((z_1 - x_0).square().sum(1).mean())""",
    ("4.7", "one step"): """
def transport_costs(v, x_0, x_1):
    z_1 = x_0 + v(x_0, torch.zeros(len(x_0)))
    return float((z_1 - x_0).square().sum(1).mean()), float((x_1 - x_0).square().sum(1).mean())""",
}


def folder_of(number: str) -> Path:
    (folder,) = (folder for folder in FOLDERS if int(folder.name[:2]) == int(number.split(".")[0]))
    return folder


@pytest.mark.parametrize(("folder", "number"), CHECKED, ids=[number for _, number in CHECKED])
def test_solution_passes(folder, number, capsys):
    run_exercise(folder, number)
    assert f"{number} correct" in capsys.readouterr().out


@pytest.mark.parametrize(("folder", "number"), CHECKED, ids=[number for _, number in CHECKED])
def test_stub_fails(folder, number):
    with pytest.raises((NotImplementedError, CheckFailed), match=f"Exercise {number}|{number} not yet"):
        run_exercise(folder, number, stub(folder, number))


@pytest.mark.parametrize(("number", "mistake"), WRONG, ids=[" ".join(key) for key in WRONG])
def test_wrong_answer_fails(number, mistake):
    with pytest.raises(CheckFailed, match=f"{number} not yet"):
        run_exercise(folder_of(number), number, WRONG[number, mistake])


def test_every_checked_exercise_has_a_wrong_answer():
    assert {number for _, number in CHECKED} == {number for number, _ in WRONG}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_exercises_are_fresh(folder):
    assert not is_stale(folder), f"run `make exercises`: {folder.name}/exercises.ipynb differs from solutions.ipynb"
