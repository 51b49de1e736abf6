"""Exercises: what ``solutions.ipynb`` says, and the ``exercises.ipynb`` that is made from it.

``solutions.ipynb`` is the source. The text of its cells carries everything; no cell metadata is needed. An exercise is
a section, from its heading to the next markdown cell that opens with ``# `` or ``## ``. It holds:

1. the heading, first line of a markdown cell in which the task follows::

       ## Exercise 4.1 · The straight path · 2 points · *code*

   The points are ``2 points`` (given by the check), ``3 to read`` (given by the teacher) or ``2 points + 3 to read``.
   The kind is one of ``by hand``, ``code``, ``experiment``, ``proof``, ``open``.
2. where a check gives points: a code cell whose first line is ``# Exercise 4.1``, and after it the check, a code cell
   that is one call on one line, ``check_4_1(velocity)``.
3. where a teacher gives points: a markdown cell whose first line is ``**Answer 4.1**``.

Both kinds of answer hold regions between ``### BEGIN SOLUTION`` and ``### END SOLUTION``, each alone on its line; in
markdown, ``<!-- BEGIN SOLUTION -->`` and ``<!-- END SOLUTION -->`` do the same and stay invisible. A region becomes the
stub. Every other code cell is given: outside the sections it is set-up that all exercises share, inside a section it
belongs to that exercise alone. No exercise needs the answer of another one.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from flowlib.coursework.notebooks import KERNEL, load, read, save, text
from flowlib.errors import InputError

KINDS = ("by hand", "code", "experiment", "proof", "open")
FORM = "'## Exercise 4.1 · Title · 2 points · *code*'"
HEADING = re.compile(
    r"## Exercise (?P<number>\d+\.\d+) · (?P<title>.+)"
    r" · (?:(?P<points>\d+) points?(?: \+ (?P<more>\d+) to read)?|(?P<to_read>\d+) to read)"
    rf" · \*(?P<kind>{'|'.join(KINDS)})\*"
)
ROLES = {
    "heading": ("markdown", re.compile(r"## Exercise\b\s*(\d+\.\d+)?")),
    "words": ("markdown", re.compile(r"\*\*Answer (\d+\.\d+)\*\*")),
    "answer": ("code", re.compile(r"# Exercise (\d+\.\d+)\s*$")),
}
CODE_STUB = 'raise NotImplementedError("Exercise {number}: your code here")'
TEXT_STUB = "Exercise {number}: your answer here"


@dataclass(frozen=True)
class Exercise:
    """One exercise: what its heading says, its check's call, and where its cells stand in the notebook, from 0."""

    number: str
    title: str
    kind: str
    points: int  # given by the check
    points_to_read: int  # given by the teacher
    call: str  # the check cell, such as "check_4_1(velocity)"; empty where there is none
    section: range
    cells: dict[str, int]  # "heading", and of "answer", "check", "words" those there are


# ---------------------------------------------------------------- reading


def role(cell: Any) -> tuple[str, str]:
    """Return what a cell is (``heading``, ``words``, ``answer``, ``check`` or ``given``) and its exercise's number."""
    first = cell.source.strip().partition("\n")[0]
    for name, (cell_type, pattern) in ROLES.items():
        if cell.cell_type == cell_type and (match := pattern.match(first)):
            return name, match[1] or ""
    calls = check_calls(cell.source) if cell.cell_type == "code" else []
    return ("check", calls[0]) if calls else ("given", "")


def check_calls(source: str) -> list[str]:
    """Return the exercise numbers of a code cell that does nothing but call checks; of any other cell, nothing."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # magics, and whatever else a student types
        return []
    numbers = [_check_number(statement) for statement in body]
    return numbers if all(numbers) else []


def _check_number(statement: ast.stmt) -> str:
    if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)):
        return ""
    called = statement.value.func
    match = re.fullmatch(r"check_(\d+)_(\d+)", called.id) if isinstance(called, ast.Name) else None
    return f"{match[1]}.{match[2]}" if match else ""


def parse(solutions: Path) -> list[Exercise]:
    """Return the exercises of a solutions notebook, in order; ``InputError`` names the cell that breaks the form."""
    cells = read(solutions).cells
    heads = [index for index, cell in enumerate(cells) if role(cell)[0] == "heading"]
    if not heads:
        raise InputError(str(solutions), expected=f"exercises headed {FORM}", got="none")
    exercises = [_exercise(solutions, cells, head) for head in heads]
    _check_numbers(solutions, exercises)
    _check_solutions(solutions, cells, exercises)
    return exercises


def _exercise(path: Path, cells: Sequence[Any], head: int) -> Exercise:
    match = HEADING.fullmatch(cells[head].source.strip().partition("\n")[0].rstrip())
    if match is None:
        _fault(path, cells, head, f"a heading such as {FORM}, its kind one of {', '.join(KINDS)}")
    section = range(head, _end(cells, head))
    points, to_read = int(match["points"] or 0), int(match["more"] or match["to_read"] or 0)
    places = _places(path, cells, section, match["number"])
    wanted = ["answer", "check"] * (points > 0) + ["words"] * (to_read > 0)
    for name in ("answer", "check", "words"):
        if (name in places) != (name in wanted):
            there = "a cell" if name in wanted else "no cell"
            _fault(path, cells, head, f"{there} '{name}' in exercise {match['number']}, as its points say")
    if points and places["check"] < places["answer"]:
        _fault(path, cells, places["check"], f"the check of {match['number']} after its answer")
    call = cells[places["check"]].source.strip() if points else ""
    return Exercise(match["number"], match["title"], match["kind"], points, to_read, call, section, places)


def _end(cells: Sequence[Any], head: int) -> int:
    for index in range(head + 1, len(cells)):
        if cells[index].cell_type == "markdown" and cells[index].source.lstrip().startswith(("# ", "## ")):
            return index
    return len(cells)


def _places(path: Path, cells: Sequence[Any], section: range, number: str) -> dict[str, int]:
    places: dict[str, int] = {}
    for index in section:
        name, named = role(cells[index])
        if name == "given":
            continue
        if named != number:
            _fault(path, cells, index, f"cells of exercise {number} only in its section")
        if name in places:
            _fault(path, cells, index, f"one cell '{name}' in exercise {number}")
        source = cells[index].source.strip()
        if name == "check" and ("\n" in source or len(check_calls(source)) > 1 or not source.endswith(")")):
            _fault(path, cells, index, "a check cell that is one call on one line")
        places[name] = index
    return places


def _check_numbers(path: Path, exercises: list[Exercise]) -> None:
    chapter = re.match(r"(\d+)_", path.resolve().parent.name)
    seen: set[str] = set()
    for exercise in exercises:
        if exercise.number in seen:
            raise InputError(str(path), expected="each number once", got=f"exercise {exercise.number} twice")
        if chapter and int(chapter[1]) != int(exercise.number.partition(".")[0]):
            raise InputError(str(path), expected=f"exercises {int(chapter[1])}.1, ...", got=exercise.number)
        seen.add(exercise.number)


def _check_solutions(path: Path, cells: Sequence[Any], exercises: list[Exercise]) -> None:
    """Answers hold solution regions, balanced; no other cell does, and no answer or check stands outside a section."""
    answers = {exercise.cells[name] for exercise in exercises for name in ("answer", "words") if name in exercise.cells}
    inside = {index for exercise in exercises for index in exercise.section}
    for index, cell in enumerate(cells):
        markers = re.findall(r"(BEGIN|END) SOLUTION", cell.source)
        if index in answers and (not markers or markers != ["BEGIN", "END"] * (len(markers) // 2)):
            _fault(
                path,
                cells,
                index,
                "### BEGIN SOLUTION and ### END SOLUTION, in pairs",
                got=", ".join(markers) or "none",
            )
        if index not in answers and markers:
            _fault(path, cells, index, "solution regions in answer cells only")
        if index not in inside and role(cell)[0] != "given":
            _fault(path, cells, index, f"answers and checks under a heading {FORM}")


def _fault(path: Path, cells: Sequence[Any], index: int, expected: str, got: str = "") -> NoReturn:
    where = f"{path.parent.name}/{path.name}, cell {index + 1}"
    raise InputError(where, expected=expected, got=got or repr(cells[index].source.strip().partition("\n")[0][:80]))


# ---------------------------------------------------------------- making


def generate(solutions: Path) -> str:
    """Return the text of ``exercises.ipynb``: solutions made stubs, outputs gone; the same bytes for the same cells.

    The work is done by nbgrader's ClearSolutions, ClearHiddenTests and ClearOutput. Cell ids tell what a cell is
    (``answer-4-1``), whatever ids the solutions notebook has: to save that one again makes no file stale.
    """
    parse(solutions)
    notebook = read(solutions)
    notebook.metadata = copy.deepcopy(KERNEL)
    tools = load("nbgrader.preprocessors")
    for tool in (
        tools.ClearSolutions(enforce_metadata=False, code_stub={"python": CODE_STUB}, text_stub=TEXT_STUB),
        tools.ClearHiddenTests(enforce_metadata=False),
        tools.ClearOutput(),
    ):
        notebook, _ = tool.preprocess(notebook, {})
    for index, cell in enumerate(notebook.cells):
        name, number = role(cell)
        cell.id = f"{name}-{number.replace('.', '-')}" if number else f"given-{index}"
        if name in ("answer", "words"):
            cell.source = _numbered(cell.source, number)
        cell.metadata = {"tags": cell.metadata.tags} if "tags" in cell.metadata else {}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return text(notebook)


def _numbered(source: str, number: str) -> str:
    for stub in (CODE_STUB, TEXT_STUB):
        source = source.replace(stub, stub.format(number=number))
    return source


def write(chapter: Path) -> bool:
    """Make the chapter's ``exercises.ipynb`` from its ``solutions.ipynb`` and tell whether the file changed."""
    return save(chapter / "exercises.ipynb", generate(chapter / "solutions.ipynb"))


def is_stale(chapter: Path) -> bool:
    """Tell whether ``exercises.ipynb`` is missing or is not what ``solutions.ipynb`` makes."""
    stored = chapter / "exercises.ipynb"
    return not stored.is_file() or stored.read_bytes() != generate(chapter / "solutions.ipynb").encode("utf-8")


# ---------------------------------------------------------------- answers


def answer(notebook: Any, number: str) -> str:
    """Return the code answer of exercise ``number`` in a notebook: the solution, or in ``exercises.ipynb`` the stub."""
    source: str = notebook.cells[_answer_place(notebook, number)].source
    return source


def replace_answer(notebook: Any, number: str, source: str) -> Any:
    """Return a copy of ``notebook`` in which ``source`` is the code answer of exercise ``number``.

    The first line that marks the cell, ``# Exercise 4.1``, is put before ``source`` where it is missing.
    """
    changed = copy.deepcopy(notebook)
    mark = f"# Exercise {number}\n"
    changed.cells[_answer_place(notebook, number)].source = source if source.startswith(mark) else mark + source
    return changed


def _answer_place(notebook: Any, number: str) -> int:
    for index, cell in enumerate(notebook.cells):
        if role(cell) == ("answer", number):
            return index
    raise InputError("number", expected="an exercise with a code answer", got=number)
