"""Exercises made from solutions: what is read, what is refused, the same bytes every time."""

import json
import shutil

import nbformat
import pytest
from coursework.tiny import CELLS, notebook, write_chapter

from flowlib.coursework import exercises, notebooks
from flowlib.coursework.trial import run_exercise, stub
from flowlib.errors import InputError


def test_headings_say_everything(chapter):
    read = exercises.parse(chapter / "solutions.ipynb")
    assert [(one.number, one.kind, one.points, one.points_to_read) for one in read] == [
        ("4.1", "code", 2, 0),
        ("4.2", "by hand", 1, 0),
        ("4.3", "code", 3, 0),
        ("4.4", "proof", 0, 3),
        ("4.5", "experiment", 1, 2),
    ]
    assert read[1].title == "Three · fac"
    assert [one.call for one in read] == [
        "check_4_1(double)",
        "check_4_2(answer)",
        "check_4_3(parity)",
        "",
        "check_4_5(count, measured)",
    ]


def changed(index, *replacement):
    return [*CELLS[:index], *replacement, *CELLS[index + 1 :]]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (CELLS[:2], "expected exercises headed"),
        (changed(2, ("markdown", "## Exercise 4.1 · Twice · 2 points")), "cell 3: expected a heading such as"),
        (changed(2, ("markdown", "## Exercise 4.1 · Twice · 2 points · *hard*")), "a heading such as"),
        (changed(2, ("markdown", "## Exercise four")), "a heading such as"),
        (changed(4), "a cell 'check' in exercise 4.1"),
        (changed(3), "a cell 'answer' in exercise 4.1"),
        (changed(12), "a cell 'words' in exercise 4.4"),
        (changed(2, ("markdown", "## Exercise 4.1 · Twice · 2 to read · *open*")), "no cell 'answer' in exercise 4.1"),
        (changed(4, ("code", "check_4_2(double)")), "cell 5: expected cells of exercise 4.1 only"),
        (changed(4, ("code", "check_4_1(\n    double\n)")), "one call on one line"),
        (changed(4, ("code", "check_4_1(double)  # run me")), "one call on one line"),
        (changed(4, CELLS[4], CELLS[4]), "one cell 'check'"),
        (changed(3, CELLS[4]), "one cell 'check'"),
        (changed(3, ("code", "check_4_1(double)"), CELLS[3])[:5] + CELLS[5:], "the check of 4.1 after its answer"),
        (changed(3, ("code", "# Exercise 4.1\ndouble = abs")), "in pairs, got none"),
        (changed(3, ("code", "# Exercise 4.1\n### BEGIN SOLUTION\nx = 1")), "in pairs, got BEGIN"),
        (changed(3, ("code", "# Exercise 4.1\n### END SOLUTION\n### BEGIN SOLUTION")), "in pairs, got END, BEGIN"),
        (changed(14, ("code", "### BEGIN SOLUTION\n### END SOLUTION")), "in answer cells only"),
        (changed(5, ("markdown", "## Exercise 4.1 · Again · 1 point · *code*")), "expected cells of exercise 4.1"),
        ([*CELLS, CELLS[2], CELLS[3], CELLS[4]], "exercise 4.1 twice"),
        ([*CELLS, ("code", "check_4_1(double)")], "under a heading"),
        ([(kind, text.replace("4.", "5.").replace("4_", "5_")) for kind, text in CELLS], "exercises 4.1, ..."),
    ],
)
def test_a_malformed_notebook_is_refused(tmp_path, cells, message):
    folder = write_chapter(tmp_path / "04_tiny", cells)
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        exercises.parse(folder / "solutions.ipynb")


def test_stubs_take_the_place_of_solutions(chapter):
    made = notebooks.read(chapter / "exercises.ipynb")
    assert stub(chapter, "4.1") == (
        '# Exercise 4.1\ndef double(x):\n    raise NotImplementedError("Exercise 4.1: your code here")'
    )
    sources = "\n".join(cell.source for cell in made.cells)
    assert "SOLUTION" not in sources
    assert "Because" not in sources
    assert "**Answer 4.4**\n\nExercise 4.4: your answer here" in sources
    assert [cell.id for cell in made.cells[:5]] == ["given-0", "given-1", "heading-4-1", "answer-4-1", "check-4-1"]
    nbformat.validate(made)


def test_the_same_cells_give_the_same_bytes(chapter, tmp_path):
    again = write_chapter(tmp_path / "04_tiny")  # with other random cell ids
    solved = notebook(CELLS)
    solved.metadata = {"language_info": {"name": "python", "version": "3.99"}, "widgets": {}}
    for cell in solved.cells:
        cell.metadata = {"execution": {"iopub.execute_input": "2024"}, "collapsed": True}
    solved.cells[1].execution_count = 7
    solved.cells[1].outputs = [nbformat.v4.new_output("stream", text="6")]
    nbformat.write(solved, again / "solutions.ipynb")
    assert exercises.generate(again / "solutions.ipynb") == (chapter / "exercises.ipynb").read_text()
    assert json.loads((chapter / "exercises.ipynb").read_text())["metadata"] == notebooks.KERNEL


def test_a_stale_file_is_seen(chapter, tmp_path):
    copy = tmp_path / "04_tiny"
    shutil.copytree(chapter, copy)
    assert not exercises.is_stale(copy)
    assert not exercises.write(copy)
    nbformat.write(notebook(changed(0, ("markdown", "# Other words"))), copy / "solutions.ipynb")
    assert exercises.is_stale(copy)
    assert exercises.write(copy)
    assert not exercises.is_stale(copy)
    (copy / "exercises.ipynb").unlink()
    assert exercises.is_stale(copy)


@pytest.mark.parametrize("number", ["4.1", "4.2", "4.3", "4.5"])
def test_the_solution_passes_and_the_stub_fails(chapter, number):
    run_exercise(chapter, number)
    with pytest.raises((NotImplementedError, AssertionError)):
        run_exercise(chapter, number, stub(chapter, number))


@pytest.mark.parametrize(
    ("number", "wrong"),
    [
        ("4.1", "def double(x):\n    return x + 2"),
        ("4.1", "def double(x):\n    return -6\ndef check_4_1(f):\n    pass"),
        ("4.2", "answer = 9"),
        ("4.5", "def count(s):\n    return 3"),
    ],
)
def test_a_wrong_answer_fails(chapter, number, wrong):
    with pytest.raises(AssertionError):
        run_exercise(chapter, number, wrong)


def test_a_trial_does_not_see_other_answers_and_leaves_no_module(chapter):
    with pytest.raises(NameError):
        run_exercise(chapter, "4.3", "def parity(n):\n    return double(n)")
    with pytest.raises(InputError, match=r"4\.1, 4\.2, 4\.3, 4\.5"):
        run_exercise(chapter, "4.4")
    import sys

    assert "checks" not in sys.modules


def test_an_answer_can_be_replaced(chapter):
    solutions = notebooks.read(chapter / "solutions.ipynb")
    other = exercises.replace_answer(solutions, "4.2", "answer = 9")
    assert exercises.answer(other, "4.2") == "# Exercise 4.2\nanswer = 9"
    assert "answer = 6" in exercises.answer(solutions, "4.2")
    with pytest.raises(InputError, match="code answer"):
        exercises.replace_answer(solutions, "4.4", "x")


def test_a_missing_tool_says_how_to_get_it():
    with pytest.raises(InputError, match=r"pip install 'flowlib\[dev\]'"):
        notebooks.load("no_such_tool.inside")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"cells": 3}', '{"cells": [{"cell_type": "code"}]}', "null"])
def test_what_is_no_notebook_is_refused(tmp_path, content):
    (tmp_path / "solutions.ipynb").write_text(content)
    with pytest.raises(InputError, match="a notebook"):
        exercises.parse(tmp_path / "solutions.ipynb")
    with pytest.raises(InputError, match="no such file"):
        exercises.parse(tmp_path / "nothing.ipynb")
