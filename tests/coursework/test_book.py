"""The generated tables of chapters, and notebooks whose stored outputs are the same bytes every time."""

import json

import nbformat
import pytest
from coursework.tiny import notebook

from flowlib.coursework import book
from flowlib.errors import InputError

PAGE = f"# Book\n\n{book.BEGIN}\nold\n{book.END}\n\nEnd.\n"


def write(root, name, question="Why?", title="# 4 · Straight | flow", **changes):
    folder = root / "chapters" / name
    folder.mkdir(parents=True)
    chapter = notebook([("markdown", title)])
    chapter.metadata.book = {"question": question, "minutes": 90, "needs": "03", **changes}
    nbformat.write(chapter, folder / f"{name}.ipynb")
    return folder


@pytest.fixture
def root(tmp_path):
    write(tmp_path, "04_rectified_flow")
    write(tmp_path, "00_map", "Which | ways?", "no heading")
    (tmp_path / "chapters" / "09_left_over").mkdir()
    (tmp_path / "chapters" / "widgets").mkdir()
    for name in book.READMES:
        (tmp_path / name).write_text(PAGE)
    return tmp_path


def test_chapters_are_found_in_order(root):
    assert [(one.number, one.title) for one in book.chapters(root)] == [("00", "Map"), ("04", "Straight | flow")]
    with pytest.raises(InputError, match="root: expected the root of the book"):
        book.chapters(root / "chapters")


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("# Rectified flow\n\nText", "Rectified flow"),
        ("# Chapter 04: Rectified flow", "Rectified flow"),
        ("# 04 Rectified flow", "Rectified flow"),
        ("#no heading", "One step"),
    ],
)
def test_the_title_is_the_first_heading(tmp_path, title, said):
    write(tmp_path, "16_one_step", title=title)
    assert book.chapters(tmp_path)[0].title == said


def test_tables_are_written_with_links_from_their_page(root):
    assert set(book.stale_readmes(root)) == {root / "README.md", root / "chapters" / "README.md"}
    assert len(book.update_readmes(root)) == 2
    assert (root / "chapters" / "README.md").read_text() == (
        f"# Book\n\n{book.BEGIN}\n"
        "| # | chapter | the question | minutes | needs |\n|---|---|---|---|---|\n"
        "| 00 | [Map](00_map/00_map.ipynb) | Which \\| ways? | 90 | 03 |\n"
        "| 04 | [Straight \\| flow](04_rectified_flow/04_rectified_flow.ipynb) | Why? | 90 | 03 |\n"
        f"{book.END}\n\nEnd.\n"
    )
    assert "(chapters/00_map/00_map.ipynb)" in (root / "README.md").read_text()
    assert book.stale_readmes(root) == []
    assert book.update_readmes(root) == []


@pytest.mark.parametrize("page", ["# Book", book.BEGIN, book.END + book.BEGIN, PAGE + PAGE])
def test_a_page_without_its_markers_is_refused(root, page):
    (root / "README.md").write_text(page)
    with pytest.raises(InputError, match="chapters:begin"):
        book.update_readmes(root)
    (root / "README.md").unlink()
    with pytest.raises(InputError, match="no such file"):
        book.stale_readmes(root)


def test_a_chapter_must_say_what_the_table_shows(tmp_path):
    folder = write(tmp_path, "04_rectified_flow", needs=" ")
    with pytest.raises(InputError, match=r"metadata\.book with question, minutes and needs, got no needs"):
        book.chapters(tmp_path)
    (folder / "04_rectified_flow.ipynb").rename(folder / "solutions.ipynb")
    with pytest.raises(InputError, match="no such file"):
        book.chapters(tmp_path)


def test_a_notebook_run_twice_is_the_same_file(tmp_path):
    path = tmp_path / "04_rectified_flow.ipynb"
    source = notebook(
        [
            ("code", "import ipywidgets, sys\nslider = ipywidgets.IntSlider(value=3)\nslider"),
            (
                "code",
                "for i in range(99):\n    print(i, file=(sys.stdout, sys.stderr)[i % 2], flush=True)\n{'a', 'b', 'c'}",
            ),
            ("markdown", "text"),
            ("code", "open('here.txt', 'w').write('x');"),
        ]
    )
    source.metadata.book = {"question": "Why?"}
    del source.cells[1]["id"]
    path.write_text(json.dumps(source))
    assert book.execute(path)
    first = path.read_bytes()
    assert not book.execute(path)
    assert path.read_bytes() == first
    stored = nbformat.read(path, 4)
    nbformat.validate(stored)
    assert [output.output_type for output in stored.cells[1].outputs][-1] == "execute_result"
    assert stored.cells[3].outputs == []
    assert stored.metadata.book == {"question": "Why?"}
    assert stored.metadata.language_info == {"name": "python"}
    widgets = stored.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    assert stored.cells[0].outputs[0].data["application/vnd.jupyter.widget-view+json"]["model_id"] in widgets
    assert (tmp_path / "here.txt").read_text() == "x"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "1 / 0",
            r"04_tiny\.ipynb, cell 2: expected a cell that runs to its end, got ZeroDivisionError: division by zero",
        ),
        ("import os; os._exit(1)", "cell 2: expected a cell that runs to its end, got a process that ended"),
        ("while True: pass", "cell 2: expected a cell that runs to its end, got no end after 2 s"),
    ],
)
def test_a_failing_cell_leaves_the_old_file(tmp_path, source, message):
    path = tmp_path / "04_tiny.ipynb"
    nbformat.write(notebook([("code", "print(1)"), ("code", source)]), path)
    before = path.read_bytes()
    with pytest.raises(InputError, match=message):
        book.execute(path, cell_seconds=2)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["04_tiny.ipynb"]
