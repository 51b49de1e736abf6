"""Grading: run a folder of submissions against a chapter's official checks and write the table of grades.

Submissions are ``<student>.ipynb`` or ``<student>/exercises.ipynb``. Each runs in a kernel process and a folder of its
own; whatever it does, it is one row of the table. The student's code cells run in order; in place of every check cell,
and behind an answer whose check cell is gone, runs the official check. A cell that hangs or ends the process costs
itself alone: the kernel starts again and runs the other cells.

This keeps mistakes and simple tricks out of the table; it is no wall. Submitted code runs with the rights of whoever
grades, and code that rewrites Python, torch or flowlib beneath a check can deceive it. Grade strangers in a container.
"""

from __future__ import annotations

import ast
import inspect
import re
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from flowlib.coursework import checks, judge
from flowlib.coursework.exercises import TEXT_STUB, Exercise, check_calls, parse, role
from flowlib.coursework.grades import Row, as_csv, as_markdown
from flowlib.coursework.kernel import Kernel
from flowlib.coursework.notebooks import read, save
from flowlib.errors import InputError

MEMORY = 8 * 2**30  # bytes that a student's process may hold
MOST_STOPS = 10  # cells of one submission that may hang or end the process before the rest is left
NOT_SUBMISSIONS = ("grades.csv", "grades.md", "checks.py", "README.md")


@dataclass(frozen=True)
class Official:
    """The teacher's side of a chapter, read once, before any submission runs."""

    exercises: list[Exercise]
    checks: str  # the text of checks.py
    modules: dict[str, tuple[str, str]]  # name: (path, text) of the modules that the judge builds


@dataclass(frozen=True)
class Step:
    """One cell to run: the student's own, or the official check of exercise ``number``."""

    place: str  # "cell 7" or "check 4.1"
    source: str
    number: str = ""


@dataclass
class Outcome:
    """What is known of a submission while it runs."""

    passed: set[str] = field(default_factory=set)
    remarks: list[str] = field(default_factory=list)
    stops: set[int] = field(default_factory=set)  # the steps that hung or ended the process
    furthest: int = -1  # the last step that was run: no check is run twice


def grade(chapter: Path, submissions: Path, *, out: Path, cell_seconds: int = 60) -> list[Row]:
    """Grade every submission, write ``grades.csv`` and ``grades.md`` into ``out``, print the table, return its rows."""
    official = read_official(chapter)
    found = find_submissions(submissions)
    rows = [
        grade_one(student, path, official, cell_seconds)
        for student, path in tqdm(found, desc="grading", unit="student", disable=None)
    ]
    out.mkdir(parents=True, exist_ok=True)
    save(out / "grades.csv", as_csv(rows, official.exercises))
    save(out / "grades.md", as_markdown(rows, official.exercises))
    print(as_markdown(rows, official.exercises), end="")
    return rows


def read_official(chapter: Path) -> Official:
    """Return the chapter's exercises and checks; every exercise with points must have its check in ``checks.py``."""
    exercises = parse(chapter / "solutions.ipynb")
    path = chapter / "checks.py"
    if not path.is_file():
        raise InputError("chapter", expected=f"checks.py in {chapter}", got="none")
    source = path.read_text(encoding="utf-8")
    defined = {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    for exercise in exercises:
        if exercise.points and exercise.call.partition("(")[0] not in defined:
            raise InputError(str(path), expected=f"a function {exercise.call}", got="none")
    helpers = (str(checks.__file__), inspect.getsource(checks))
    private = f"official_{secrets.token_hex(8)}"
    modules = {checks.__name__: helpers, private: (str(path.resolve()), source)}
    return Official(exercises, source, modules)


def find_submissions(folder: Path) -> list[tuple[str, Path]]:
    """Return student and notebook of every submission; a file of another kind is one too, and earns its remark."""
    if not folder.is_dir():
        raise InputError("submissions", expected="a folder of submissions", got=f"no folder {folder}")
    found = [
        (entry.name, entry / "exercises.ipynb") if entry.is_dir() else (entry.stem, entry)
        for entry in sorted(folder.iterdir())
        if entry.name not in NOT_SUBMISSIONS and not entry.name.startswith((".", "_"))
    ]
    if not found:
        cure = "name them <student>.ipynb or <student>/exercises.ipynb"
        raise InputError("submissions", expected="at least one submission", got=f"nothing in {folder}", cure=cure)
    return found


def grade_one(student: str, path: Path, official: Official, cell_seconds: int = 60) -> Row:
    """Grade one submission; nothing that is wrong with it stops the others."""
    outcome, words = Outcome(), set[str]()
    try:
        cells = read(path).cells
        steps, remarks = plan(cells, official.exercises)
        outcome.remarks += remarks + _shipped_checks(path, official)
        words = _answered_in_words(cells)
        _run(steps, official, cell_seconds, outcome)
    except InputError as error:
        outcome.remarks.append(str(error))
    except Exception as error:  # such as a kernel that does not start
        outcome.remarks.append(f"grading stopped: {type(error).__name__}: {error}")
    points = {one.number: one.points * (one.number in outcome.passed) for one in official.exercises if one.points}
    to_read = {one.number: one.points_to_read for one in official.exercises if one.number in words}
    return Row(student, points, sum(one.points for one in official.exercises), to_read, tuple(outcome.remarks))


# ---------------------------------------------------------------- what to run


def plan(cells: Sequence[Any], exercises: Sequence[Exercise]) -> tuple[list[Step], list[str]]:
    """Return the steps of a submission, official checks in their places, and remarks on what was changed."""
    calls = {exercise.number: exercise.call for exercise in exercises if exercise.points}
    numbers = {number for cell in cells if (number := _role(cell)[1])}
    if not numbers & {exercise.number for exercise in exercises}:
        return [], [f"not this chapter: exercises {', '.join(sorted(numbers)) or 'none'}"]
    steps: list[Step] = []
    remarks: list[str] = []
    answers: dict[str, Step] = {}
    for index, cell in enumerate(cells):
        if cell.cell_type != "code":
            continue
        name, number = _role(cell)
        if name == "check" and number in calls:
            checked = [one for one in check_calls(cell.source) if one in calls] or [number]
            steps += [Step(f"check {one}", calls[one], one) for one in checked]
            if cell.source.strip() != "\n".join(calls[one] for one in checked):
                remarks.append(f"check cell of {number} edited; the official one was run")
            continue
        steps.append(Step(f"cell {index + 1}", cell.source))
        if name == "answer":
            answers[number] = steps[-1]
        if _touches_checks(cell.source):
            remarks.append(f"cell {index + 1} redefines a check; the official one was run")
    for number in calls:
        remarks += _complete(steps, answers, number, calls[number])
    return steps, remarks


def _complete(steps: list[Step], answers: dict[str, Step], number: str, call: str) -> list[str]:
    """Put the official check behind the answer, or last of all, where the submission has none; say what is missing."""
    missing = [] if number in answers else [f"no answer cell for {number}"]
    if not any(step.number == number for step in steps):
        missing.append(f"no check cell for {number}")
        behind = steps.index(answers[number]) + 1 if number in answers else len(steps)
        steps.insert(behind, Step(f"check {number}", call, number))
    return missing


def _role(cell: Any) -> tuple[str, str]:
    """Return what a student's cell is: by its id, which survives edits; by its text, where a tool dropped the ids."""
    match = re.fullmatch(r"(answer|words|check)-(\d+)-(\d+)", str(cell.get("id", "")))
    return (match[1], f"{match[2]}.{match[3]}") if match else role(cell)


def _touches_checks(source: str) -> bool:
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    stored = [node for node in nodes if isinstance(getattr(node, "ctx", None), ast.Store)]
    names = [str(getattr(node, "id", getattr(node, "attr", ""))) for node in stored]
    names += [node.name for node in nodes if isinstance(node, ast.FunctionDef)]
    return any(re.fullmatch(r"check_\d+_\d+", name) for name in names)


def _answered_in_words(cells: Sequence[Any]) -> set[str]:
    answered = set()
    for cell in cells:
        name, number = _role(cell)
        written = re.sub(r"\*\*Answer [\d.]+\*\*", "", cell.source).replace(TEXT_STUB.format(number=number), "")
        if name == "words" and written.strip():
            answered.add(number)
    return answered


def _shipped_checks(path: Path, official: Official) -> list[str]:
    shipped = path.parent / "checks.py"
    if not shipped.is_file() or shipped.read_text(encoding="utf-8", errors="replace") == official.checks:
        return []
    return ["came with a checks.py that differs; the official one was run"]


# ---------------------------------------------------------------- running


def _run(steps: Sequence[Step], official: Official, seconds: int, outcome: Outcome) -> None:
    with tempfile.TemporaryDirectory(prefix="flowlib-grade-", ignore_cleanup_errors=True) as name:
        work = Path(name, "work")
        work.mkdir()
        (work / "checks.py").write_text(official.checks, encoding="utf-8")
        while not _run_once(steps, Path(name), official, seconds, outcome):
            if len(outcome.stops) >= MOST_STOPS:
                outcome.remarks.append(f"left after {MOST_STOPS} cells that hung or ended the process")
                return


def _run_once(steps: Sequence[Step], folder: Path, official: Official, seconds: int, outcome: Outcome) -> bool:
    """Run the steps in one kernel, without those that stopped an earlier one; tell whether all are done."""
    with Kernel(folder) as kernel:
        kernel.run(_kernel_side(f"limit_memory({MEMORY})"), seconds=60, history=False)
        for index, step in enumerate(steps):
            if index in outcome.stops or (step.number and index <= outcome.furthest):
                continue
            outcome.furthest = max(outcome.furthest, index)
            nonce = secrets.token_hex(16)
            source = _judged(step, official, nonce) if step.number else step.source
            reply = kernel.run(source, seconds, history=not step.number)
            if step.number and reply.finished and nonce in reply.shown:
                outcome.passed.add(step.number)
            if reply.stopped:
                outcome.remarks.append(f"{step.place} {reply.stopped}")
                outcome.stops.add(index)
            if not reply.alive or len(outcome.stops) >= MOST_STOPS:
                return False
    return True


def _judged(step: Step, official: Official, nonce: str) -> str:
    return _kernel_side(f"judge(student, {step.source!r}, {official.modules!r}, {nonce!r})")


def _kernel_side(call: str) -> str:
    """A cell that runs ``call`` beside ``judge.py``'s text in a namespace of its own: the student's stays clean."""
    return f"exec({inspect.getsource(judge) + call!r}, {{'student': globals()}})"
