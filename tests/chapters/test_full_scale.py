"""``FLOWLIB_SCALE=full`` of every chapter, without its hours: what it would train can be built, and is no smaller."""

import ast
import json
from pathlib import Path

import pytest

from flowlib import recipes
from flowlib.training import Plan

CHAPTERS = Path(__file__).parents[2] / "chapters"
NAMES = vars(recipes) | {"Plan": Plan, "road": recipes.ROADS[0]}


def told_the_scale(path):
    """Yield the innermost calls of recipes and plans that are told the scale, as source."""
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code" and not (source := "".join(cell["source"])).startswith("%"):
            for node in ast.walk(ast.parse(source)):
                here = isinstance(node, ast.Call) and [*node.args, *(word.value for word in node.keywords)]
                if here and ast.unparse(node.func).split("[")[0] in NAMES and any(map(names_it, here)):
                    yield ast.unparse(node)


def names_it(node):
    return any(isinstance(part, ast.Name) and part.id == "scale" for part in ast.walk(node))


CALLS = [(path.stem, call) for path in sorted(CHAPTERS.glob("*/[0-9]*.ipynb")) for call in told_the_scale(path)]


@pytest.mark.parametrize(("chapter", "call"), CALLS)
def test_what_the_full_scale_would_train(chapter, call):
    full, laptop = (eval(call, NAMES | {"scale": scale}) for scale in ("full", "laptop"))
    if isinstance(full, recipes.Recipe):
        sizes = [sum(p.numel() for p in one.build().parameters()) for one in (full, laptop)]
        assert full.name == laptop.name
        assert sizes[0] >= sizes[1] > 0
        full, laptop = full.plan, laptop.plan
    assert isinstance(full, Plan)
    assert full.steps * full.batch_size >= laptop.steps * laptop.batch_size


def test_every_chapter_that_trains_by_its_scale_is_looked_at():
    """Chapter 14 trains one small student, whatever the scale."""
    asked = {path.stem for path in CHAPTERS.glob("*/[0-9]*.ipynb") if "FLOWLIB_SCALE" in path.read_text()}
    assert len(asked) > 12
    assert {chapter for chapter, _ in CALLS} == asked - {"14_flux"}
