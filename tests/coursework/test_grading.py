"""Grading survives every submission, believes only the official checks, and reports what it saw."""

import csv
import json
import shutil
import sys

import nbformat
import pytest
from coursework.tiny import CHECKS, write_chapter

from flowlib.coursework import grading, kernel, notebooks
from flowlib.coursework.exercises import replace_answer
from flowlib.errors import InputError

ANSWERS = {
    "4.1": "def double(x):\n    return 2 * x",
    "4.2": "answer = 6",
    "4.3": "def parity(n):\n    return WORDS[n % 2]",
    "4.5": "def count(s):\n    return s.count(letter)",
}
POINTS = {"4.1": 2, "4.2": 1, "4.3": 3, "4.5": 1}

LOOP = "while True: pass"
DEAF = """
import time
while True:
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        pass
"""
CRASH = "import os; os._exit(1)"
HUNGRY = "import mmap; mmap.mmap(-1, 9 * 2**30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); answer = 6"
PATCH = """double = abs
import sys
for module in list(sys.modules.values()):
    if hasattr(module, "check_4_1"):
        setattr(module, "check_4_1", print)
open("checks.py", "w").write("check_4_1 = print")
"""
NOSY = """import os
answer = 6 if "GRADER_TOKEN" not in os.environ and "flowlib-grade-" in os.environ["HOME"] else "secrets"
"""
FORGET_IDS = {"no ids": None}

# every accident and trick: what the student changed in a notebook that is otherwise right (a cell's text; None deletes
# the cell, "+" adds one behind it), the exercises lost, the remarks
CASES = {
    "right": ({}, [], []),
    "hang": (
        {"answer-4-1": f"def double(x):\n    {LOOP}", "answer-4-2": LOOP},
        ["4.1", "4.2"],
        ["check 4.1 ran longer than 2 s", "cell 7 ran longer than 2 s"],
    ),
    "deaf": ({"answer-4-2": DEAF}, ["4.2"], ["cell 7 ran longer than 2 s"]),
    "crash": (
        {"answer-4-1": f"def double(x):\n    {CRASH}", "answer-4-2": CRASH},
        ["4.1", "4.2"],
        ["check 4.1 ended the process", "cell 7 ended the process"],
    ),
    "stops": (
        {
            "+check-4-1": "import sys; sys.exit()",
            "+check-4-3": "while True: print('x' * 99)",
            "+check-4-5": "while True: display('x' * 10**6)",
            "+given-0": "exit()",
        },
        [],
        [
            "cell 2 called exit()",
            "cell 7 called sys.exit()",
            "cell 14 printed without end",
            "cell 22 printed without end",
        ],
    ),
    "edited": (
        {"check-4-1": "print('4.1 correct')", "answer-4-1": "double = abs", "check-4-3": None},
        ["4.1"],
        ["check cell of 4.1 edited; the official one was run", "no check cell for 4.3"],
    ),
    "other_arguments": (
        {"check-4-1": "check_4_1(lambda x: 2 * x)", "answer-4-1": "", **FORGET_IDS},
        ["4.1"],
        ["check cell of 4.1 edited; the official one was run", "no answer cell for 4.1"],
    ),
    "no_answer": (
        {"answer-4-1": None, "check-4-1": None},
        ["4.1"],
        ["no answer cell for 4.1", "no check cell for 4.1"],
    ),
    "patched": (
        {"answer-4-1": PATCH, "answer-4-3": "parity = abs\ncheck_4_3 = print"},
        ["4.1", "4.3"],
        ["cell 10 redefines a check; the official one was run"],
    ),
    "odd": (
        {
            "+given-0": "import io, sys\nsys.stdout = io.StringIO()\n%time",
            "answer-4-2": f"# Exercise 4.2\n{NOSY}",
            **FORGET_IDS,
        },
        [],
        [],
    ),
}
if sys.platform == "linux":
    CASES["hungry"] = ({"answer-4-2": HUNGRY}, ["4.2"], [])
BROKEN = {"cut.ipynb": '{"cells": [', "empty.ipynb": "", "essay.txt": "I did it by hand.", "list.ipynb": "[]"}


def answered(chapter):
    notebook = notebooks.read(chapter / "exercises.ipynb")
    for number, source in ANSWERS.items():
        notebook = replace_answer(notebook, number, source)
    return notebook


def changed(notebook, changes):
    for cell_id, source in changes.items():
        places = [index for index, cell in enumerate(notebook.cells) if cell.get("id") == cell_id.strip("+")]
        if cell_id in FORGET_IDS:
            for cell in notebook.cells:
                del cell["id"]
            notebook.nbformat_minor = 4
        elif cell_id.startswith("+"):
            notebook.cells.insert(places[0] + 1, nbformat.v4.new_code_cell(source))
        elif source is None:
            del notebook.cells[places[0]]
        else:
            notebook.cells[places[0]].source = source
    return notebook


@pytest.fixture(scope="module")
def graded(chapter, tmp_path_factory):
    """Every case and every broken file, graded in one go: the rows by student, and the folder of the tables."""
    folder, out = tmp_path_factory.mktemp("submissions"), tmp_path_factory.mktemp("out") / "grades"
    for student, (changes, _, _) in CASES.items():
        (folder / f"{student}.ipynb").write_text(notebooks.text(changed(answered(chapter), changes)))
    shutil.copy(chapter / "exercises.ipynb", folder / "untouched.ipynb")
    for name, text in BROKEN.items():
        (folder / name).write_text(text)
    (folder / "nothing").mkdir()
    (folder / "shipped").mkdir()
    wrong = notebooks.text(replace_answer(answered(chapter), "4.1", "double = abs"))
    (folder / "shipped" / "exercises.ipynb").write_text(wrong)
    (folder / "shipped" / "checks.py").write_text("def check_4_1(double): print('4.1 correct')")
    other = (chapter / "exercises.ipynb").read_text()
    for old, new in (("4.", "5."), ("check_4_", "check_5_"), ("-4-", "-5-")):
        other = other.replace(old, new)
    (folder / "other.ipynb").write_text(other)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "SECONDS_TO_OBEY", 1)
        patch.setattr(kernel, "MOST_OUTPUT", 200_000)  # met at once, however busy the machine is
        patch.setenv("GRADER_TOKEN", "secret")
        rows = grading.grade(chapter, folder, out=out, cell_seconds=2)
    return {row.student: row for row in rows}, out


@pytest.mark.parametrize("student", CASES)
def test_each_student_gets_what_the_official_checks_give(graded, student):
    _, lost, remarks = CASES[student]
    row = graded[0][student]
    assert row.points == {number: points * (number not in lost) for number, points in POINTS.items()}
    assert list(row.remarks) == remarks
    assert (row.total, row.of) == (sum(row.points.values()), 7)


def test_an_untouched_notebook_gets_nothing(graded):
    row = graded[0]["untouched"]
    assert (row.total, row.to_read, row.remarks) == (0, {}, ())


@pytest.mark.parametrize(
    ("student", "remark"),
    [
        ("cut", "cut.ipynb: expected a notebook"),
        ("empty", "empty.ipynb: expected a notebook"),
        ("essay", "essay.txt: expected a notebook"),
        ("list", "list.ipynb: expected a notebook"),
        ("nothing", "exercises.ipynb: expected a notebook in"),
        ("other", "not this chapter: exercises 5.1, 5.2, 5.3, 5.4, 5.5"),
    ],
)
def test_what_cannot_be_graded_is_a_row_with_a_remark(graded, student, remark):
    row = graded[0][student]
    assert (row.total, row.of) == (0, 7)
    assert len(row.remarks) == 1
    assert row.remarks[0].startswith(remark)


def test_checks_that_a_student_ships_are_not_run(graded):
    assert graded[0]["shipped"].points == {**POINTS, "4.1": 0}
    assert graded[0]["shipped"].remarks == ("came with a checks.py that differs; the official one was run",)


def test_answers_in_words_wait_for_a_reader(chapter):
    notebook = notebooks.read(chapter / "exercises.ipynb")
    changed(notebook, {"words-4-4": "**Answer 4.4**\n\nExercise 4.4: your answer here\n\nBecause."})
    assert grading._answered_in_words(notebook.cells) == {"4.4"}


def test_the_tables_say_the_same(graded):
    rows, out = graded
    lines = list(csv.reader((out / "grades.csv").open()))
    assert lines[0] == ["student", "4.1", "4.2", "4.3", "4.4", "4.5", "total", "of", "to_read", "remarks"]
    assert [line[0] for line in lines[1:]] == list(rows)
    assert ["right", "2", "1", "3", "-", "1", "7", "7", "", ""] in lines
    page = (out / "grades.md").read_text()
    assert "| right | 2 | 1 | 3 | - | 1 | 7 | 7 |  |  |" in page
    assert "up to 5 points more" in page


def test_no_more_than_some_cells_may_hang(chapter, tmp_path, monkeypatch):
    monkeypatch.setattr(grading, "MOST_STOPS", 2)
    notebook = notebooks.read(chapter / "exercises.ipynb")
    for _ in range(4):
        changed(notebook, {"+given-0": "exit()"})
    (tmp_path / "ann.ipynb").write_text(json.dumps(notebook))
    row = grading.grade_one("ann", tmp_path / "ann.ipynb", grading.read_official(chapter))
    assert row.remarks == (
        "cell 2 called exit()",
        "cell 3 called exit()",
        "left after 2 cells that hung or ended the process",
    )


def test_the_helpers_of_checks_cannot_be_patched(tmp_path):
    patch = "import flowlib.coursework.checks as c\nc.expect_close = c.check = lambda *a, **k: print"
    cells, checks = [("code", patch)], "from flowlib.coursework.checks import check, expect_close\n"
    for number, value in ((1, "right"), (2, "wrong")):
        cells += [
            ("markdown", f"## Exercise 4.{number} · One · 1 point · *by hand*"),
            (
                "code",
                f"# Exercise 4.{number}\n### BEGIN SOLUTION\none = {1 if value == 'right' else 2}\n### END SOLUTION",
            ),
            ("code", f"check_4_{number}(one)"),
        ]
        checks += f"@check\ndef check_4_{number}(one):\n    expect_close(one, 1)\n"
    folder = write_chapter(tmp_path / "04_tiny", cells, checks)
    row = grading.grade_one("eve", folder / "solutions.ipynb", grading.read_official(folder))
    assert row.points == {"4.1": 1, "4.2": 0}


@pytest.mark.parametrize("made", [False, True])
def test_no_submissions_are_a_users_mistake(chapter, tmp_path, made):
    folder = tmp_path / "none"
    if made:
        folder.mkdir()
    with pytest.raises(InputError, match="submissions: expected a"):
        grading.grade(chapter, folder, out=tmp_path)


def test_a_chapter_without_its_checks_is_refused(tmp_path):
    folder = write_chapter(tmp_path / "04_tiny", checks=CHECKS.replace("check_4_3", "check_4_9"))
    with pytest.raises(InputError, match="a function check_4_3"):
        grading.read_official(folder)
    (folder / "checks.py").unlink()
    with pytest.raises(InputError, match=r"expected checks\.py"):
        grading.read_official(folder)
