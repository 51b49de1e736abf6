"""What can be said of a notebook without running it: it was run, it asserts, its cells are short."""

import ast
import base64
import json
import re
from pathlib import Path
from statistics import median

import pytest

from flowlib.viz.style import RC

CHAPTERS = Path(__file__).parents[2] / "chapters"
MAIN = sorted(path for folder in CHAPTERS.glob("[0-9]*") for path in [folder / f"{folder.name}.ipynb"])
STORED = sorted(path for path in CHAPTERS.glob("*/*.ipynb") if path.name != "exercises.ipynb")
PARTS = ("question", "picture", "mathematics", "Twenty lines", "same in flowlib", "xperiment", "Check", "Scale",
         "can go wrong", "Exercises", "Summary")  # fmt: skip
WIDGET = "application/vnd.jupyter.widget-view+json"
WIDEST = 857  # pixels: enlarged until its words have the site's 16, it fills a page of 1280 beside the list of chapters


def cells(path: Path, kind: str = "code") -> list[dict]:
    found = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]
    return [cell | {"source": "".join(cell["source"])} for cell in found]


def widgets(path: Path) -> dict[str, dict]:
    """The widgets that a notebook stores, by their names."""
    return json.loads(path.read_text())["metadata"]["widgets"][WIDGET.replace("view", "state")]["state"]


def asserts(source: str) -> bool:
    """Whether a cell can fail because a claim does: an assert, torch's assert_close, or a check."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call) and re.search(r"assert_close$|^check_\d", ast.unparse(node.func)):
            return True
    return False


def is_checked(cell: dict) -> bool:
    return asserts(cell["source"]) or "nbval-check-output" in cell["metadata"].get("tags", [])


by_main = pytest.mark.parametrize("path", MAIN, ids=lambda path: path.stem)
by_stored = pytest.mark.parametrize("path", STORED, ids=lambda path: f"{path.parent.name}/{path.stem}")


@by_stored
def test_it_was_run_and_is_small(path):
    for cell in cells(path):
        assert cell["execution_count"], cell["source"]
        assert not [output for output in cell["outputs"] if output["output_type"] == "error"]
    assert path.stat().st_size < 1.5e6


def pictures(path: Path) -> list[dict]:
    """Cells that show a picture, or a player or an explorer, which has one for readers without a kernel."""
    shown = ("image/", WIDGET)
    return [
        cell
        for cell in cells(path)
        if any(kind.startswith(shown) for output in cell["outputs"] for kind in output.get("data", ()))
    ]


@by_stored
def test_every_picture_has_a_sentence_for_those_who_do_not_see_it(path):
    said = []
    for cell in pictures(path):
        alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
        assert len(alt.split()) >= 8, f"metadata.mystnb.image.alt of the cell that ends in {cell['source'][-60:]!r}"
        assert re.fullmatch(r"(?s)[A-Z].*\.", alt), alt
        assert not re.match(r"(?i)(a |the )?(figure|picture|image|plot|screenshot) (of|shows)", alt), alt
        said.append(alt)
    assert len(said) == len(set(said))  # each says what is to be seen here


@by_stored
def test_no_word_in_a_figure_is_smaller_than_the_page(path):
    sizes = re.findall(r"(?:font|label|title)_?size=(\d+\.?\d*)", path.read_text())
    assert all(float(size) >= RC["font.size"] for size in sizes)


def width(png: str) -> int:
    """Pixels of a PNG in base64."""
    return int.from_bytes(base64.b64decode(png[:32])[16:20], "big")


@by_main
def test_no_figure_is_wider_than_the_page(path):
    """Then its words need not be shrunk there; a film strip may be wider, since a slider stands for it."""
    shown = [
        output["data"] for cell in cells(path) for output in cell["outputs"] if "image/png" in output.get("data", ())
    ]
    frames = [model for model in widgets(path).values() if model["model_name"] == "ImageModel"]
    pngs = ["".join(kinds["image/png"]) for kinds in shown if WIDGET not in kinds]
    pngs += [frame["buffers"][0]["data"] for frame in frames]
    assert max(map(width, pngs)) <= WIDEST


@by_main
def test_every_chapter_has_a_slider_with_a_still_picture(path):
    kinds = [output.get("data", {}) for cell in cells(path) for output in cell["outputs"]]
    assert any(WIDGET in kind and "image/png" in kind for kind in kinds)


@by_main
def test_a_slider_needs_no_kernel(path):
    """Its frames are stored, and it is linked to them in the browser; so it answers at once, also on a static page."""
    stored = widgets(path)
    links = [model["state"] for model in stored.values() if model["model_name"] == "LinkModel"]
    moved = {link["target"][0].removeprefix("IPY_MODEL_"): link["target"][1] for link in links}
    for name, model in stored.items():
        if model["model_name"] == "StackModel":
            assert moved[name] == "selected_index"
            frames = [stored[child.removeprefix("IPY_MODEL_")] for child in model["state"]["children"]]
            sizes = [len(frame["buffers"][0]["data"]) * 3 / 4 for frame in frames]  # of base64
            assert 0 < min(sizes) <= max(sizes) < 24_000
            assert sum(sizes) < 360_000
        elif model["model_name"] == "IntSliderModel":
            assert name in moved
            assert any(link["source"][0].endswith(name) for link in links)


@by_main
def test_a_stored_explorer_has_the_script_of_the_library(path):
    """It travels in the notebook, so that a page needs no kernel; `make notebooks` stores the new one."""
    from flowlib.viz.widgets import Explorer

    stored = widgets(path)
    for model in stored.values():
        if model["model_name"] == "AnyModel":
            assert (model["state"]["_esm"], model["state"]["_css"]) == (str(Explorer._esm), str(Explorer._css))


@by_main
def test_a_third_of_the_cells_check_something(path):
    code = cells(path)
    assert sum(map(is_checked, code)) >= len(code) / 3


@by_main
def test_cells_are_short(path):
    lengths = [len(cell["source"].splitlines()) for cell in cells(path)]
    assert max(lengths) <= 25
    assert median(lengths) <= 8


@by_main
def test_it_has_every_part_in_order(path):
    headings = [
        line for cell in cells(path, "markdown") for line in cell["source"].splitlines() if line.startswith("## ")
    ]
    places = [next(i for i, heading in enumerate(headings) if part in heading) for part in PARTS]
    assert places == sorted(places)


@by_main
def test_nothing_of_flowlib_is_defined_again(path):
    """The one place where a notebook may write what the library has is the cell tagged from-scratch."""
    import flowlib

    for cell in cells(path):
        if "from-scratch" in cell["metadata"].get("tags", []):
            assert len([line for line in cell["source"].splitlines() if line.strip()]) <= 20
            continue
        for node in ast.walk(ast.parse(cell["source"])):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                assert node.name not in flowlib.__all__


@by_main
def test_equations_are_numbered_once_and_every_reference_has_its_equation(path):
    text = "\n".join(cell["source"] for cell in cells(path, "markdown"))
    numbers = re.findall(r"\\tag\{(\d+\.\d+)\}", text)
    assert len(numbers) == len(set(numbers))
    chapter = str(int(path.stem[:2]))
    assert {n for n in re.findall(r"\((\d+\.\d+)\)", text) if n.split(".")[0] == chapter} <= set(numbers)


def test_the_counter_tells_checks_from_prints():
    assert asserts("assert x < 1")
    assert asserts("torch.testing.assert_close(a, b)")
    assert asserts("check_4_1(f)")
    assert not asserts("print('assert')")
