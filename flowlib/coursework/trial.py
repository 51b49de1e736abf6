"""Trials: one answer against its check, in one plain namespace, without a kernel.

How every chapter's tests prove that the solution passes, that the stub fails and that a plausible wrong answer fails.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from flowlib.coursework.exercises import Exercise, answer, parse
from flowlib.coursework.notebooks import read
from flowlib.errors import InputError


def run_exercise(chapter: Path, number: str, source: str | None = None) -> None:
    """Run ``source`` as the answer of exercise ``number``, then its check; the exception of a wrong one goes through.

    Runs, in this order: the set-up cells that stand before the exercise and outside all sections, the given cells of
    its own section and the answer in their order, the check. Without ``source`` the solution itself is run. Cells are
    plain Python here: magics fail.
    """
    solutions = chapter / "solutions.ipynb"
    exercises = parse(solutions)
    exercise = next((one for one in exercises if one.number == number and one.points), None)
    if exercise is None:
        checked = ", ".join(one.number for one in exercises if one.points)
        raise InputError("number", expected=f"one of the checked exercises {checked}", got=number)
    notebook = read(solutions)
    with _checks(chapter) as checks:
        namespace: dict[str, Any] = {"__name__": "__main__"}
        for index in _cells_to_run(notebook, exercises, exercise):
            cell = notebook.cells[index].source
            if index == exercise.cells["answer"]:
                cell = answer(notebook, number) if source is None else source
            exec(compile(cell, f"<cell {index + 1}>", "exec"), namespace)
        exec(compile(exercise.call, "<check>", "exec"), namespace | vars(checks))


def stub(chapter: Path, number: str) -> str:
    """Return what stands in ``exercises.ipynb`` where the student writes the code of exercise ``number``."""
    return answer(read(chapter / "exercises.ipynb"), number)


def _cells_to_run(notebook: Any, exercises: list[Exercise], exercise: Exercise) -> list[int]:
    others = {index for one in exercises if one is not exercise for index in one.section}
    return [
        index
        for index in range(exercise.cells["check"])
        if index not in others and notebook.cells[index].cell_type == "code"
    ]


@contextmanager
def _checks(chapter: Path) -> Iterator[ModuleType]:
    """The chapter's ``checks.py`` as the module ``checks`` while the trial lasts: each chapter has its own."""
    spec = importlib.util.spec_from_file_location("checks", chapter / "checks.py")
    if spec is None or spec.loader is None or not (chapter / "checks.py").is_file():
        raise InputError("chapter", expected=f"checks.py in {chapter}", got="none")
    before = sys.modules.get("checks")
    sys.modules["checks"] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.modules.pop("checks")
        if before is not None:
            sys.modules["checks"] = before
