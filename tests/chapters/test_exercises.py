"""Every exercise: the solution passes its check, the stub fails, a plausible wrong answer fails."""

import runpy
from pathlib import Path

import pytest

from flowlib.coursework.checks import CheckFailed
from flowlib.coursework.exercises import is_stale, parse
from flowlib.coursework.trial import run_exercise, stub

CHAPTERS = Path(__file__).parents[2] / "chapters"
FOLDERS = sorted(path.parent for path in CHAPTERS.glob("*/solutions.ipynb"))
CHECKED = [(folder, one.number) for folder in FOLDERS for one in parse(folder / "solutions.ipynb") if one.points]

# What students write, a file for each chapter: under the number and the mistake, the source of the answer.
WRONG = {
    key: answer
    for path in sorted(Path(__file__).parent.glob("wrong_*.py"))
    for key, answer in runpy.run_path(str(path))["WRONG"].items()
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
