"""A throwaway chapter 4: three checked exercises, one in words, one of both kinds; no torch, so kernels start fast."""

from pathlib import Path

import nbformat

CHECKS = """
calls = []

def check_4_1(double):
    assert [double(x) for x in (0, 1, -3)] == [0, 2, -6], "expected 2 x"
    print("4.1 correct")

def check_4_2(answer):
    assert answer == 6, f"expected 3!, got {answer}"

def check_4_3(parity):
    assert [parity(n) for n in (0, 3)] == ["even", "odd"]

def check_4_5(count, measured):
    assert measured == count("aba") == 2
"""
CODE = """def double(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION"""
# (kind of cell, text); the ids of the source must not matter
CELLS = [
    ("markdown", "# Exercises of chapter 4"),
    ("code", "from checks import check_4_1, check_4_2, check_4_3, check_4_5\n\nWORDS = {0: 'even', 1: 'odd'}"),
    ("markdown", "## Exercise 4.1 · Twice · 2 points · *code*\n\nWrite `double`."),
    ("code", f"# Exercise 4.1\n{CODE}"),
    ("code", "check_4_1(double)"),
    ("markdown", "## Exercise 4.2 · Three · fac · 1 point · *by hand*"),
    ("code", "# Exercise 4.2\n### BEGIN SOLUTION\nanswer = 6\n### END SOLUTION"),
    ("code", "check_4_2(answer)"),
    ("markdown", "## Exercise 4.3 · Parity · 3 points · *code*"),
    ("code", "# Exercise 4.3\ndef parity(n):\n    ### BEGIN SOLUTION\n    return WORDS[n % 2]\n    ### END SOLUTION"),
    ("code", "check_4_3(parity)"),
    ("markdown", "## Exercise 4.4 · Why · 3 to read · *proof*"),
    ("markdown", "**Answer 4.4**\n\n<!-- BEGIN SOLUTION -->\nBecause.\n<!-- END SOLUTION -->"),
    ("markdown", "## Exercise 4.5 · Count · 1 point + 2 to read · *experiment*"),
    ("code", "letter = 'a'"),
    ("code", "# Exercise 4.5\ndef count(s):\n    ### BEGIN SOLUTION\n    return s.count(letter)\n    ### END SOLUTION"),
    ("code", "measured = count('aba')"),
    ("code", "check_4_5(count, measured)"),
    ("markdown", "**Answer 4.5**\n\n### BEGIN SOLUTION\nTwo.\n### END SOLUTION"),
    ("markdown", "## Further reading"),
]


def notebook(cells):
    make = {"code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell}
    return nbformat.v4.new_notebook(cells=[make[kind](source) for kind, source in cells])


def write_chapter(folder: Path, cells=CELLS, checks=CHECKS) -> Path:
    folder.mkdir(parents=True)
    nbformat.write(notebook(cells), folder / "solutions.ipynb")
    (folder / "checks.py").write_text(checks)
    return folder
