"""The book's own files: the generated tables of chapters, and notebooks run with their outputs stored.

A chapter is a folder ``chapters/NN_topic`` with ``NN_topic.ipynb`` in it, whose metadata carry
``"book": {"question": ..., "minutes": ..., "needs": ...}`` and whose first heading is its title.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowlib.coursework.notebooks import KERNEL, load, read, save, text
from flowlib.errors import InputError

BEGIN, END = "<!-- chapters:begin -->", "<!-- chapters:end -->"
READMES = ("README.md", "chapters/README.md")


@dataclass(frozen=True)
class Chapter:
    """One chapter: its notebook and the entries of its line in the table."""

    number: str
    title: str
    notebook: Path
    question: str
    minutes: str
    needs: str


def chapters(root: Path) -> list[Chapter]:
    """Return the chapters under ``root / "chapters"``, in order; a folder without notebooks is none."""
    if not (root / "chapters").is_dir():
        raise InputError("root", expected="the root of the book, with a folder chapters/", got=str(root))
    folders = [folder for folder in sorted((root / "chapters").iterdir()) if re.fullmatch(r"\d\d_\w+", folder.name)]
    return [read_chapter(folder) for folder in folders if any(folder.glob("*.ipynb"))]


def read_chapter(folder: Path) -> Chapter:
    """Return the chapter in ``folder``; its notebook must say question, minutes and needs in its metadata."""
    path = folder / f"{folder.name}.ipynb"
    notebook = read(path)
    book = notebook.metadata.get("book", {})
    missing = [name for name in ("question", "minutes", "needs") if not str(book.get(name, "")).strip()]
    if missing:
        raise InputError(str(path), expected="metadata.book with question, minutes and needs", got=f"no {missing[0]}")
    return Chapter(
        folder.name[:2], _title(notebook, folder), path, *(str(book[name]) for name in ("question", "minutes", "needs"))
    )


def _title(notebook: Any, folder: Path) -> str:
    for cell in notebook.cells:
        # "# 4 · Rectified flow", "# Chapter 04: Rectified flow", "# Rectified flow"
        match = re.match(r"#\s+(?:(?:Chapter\s+)?\d+\s*[·.:—–-]?\s*)?(.+)", cell.source)
        if cell.cell_type == "markdown" and match:
            return match[1].strip()
    return folder.name[3:].replace("_", " ").capitalize()


def table(root: Path, folder: Path) -> str:
    """Return the table of chapters in Markdown, its links relative to ``folder``, where the page stands."""
    lines = ["| # | chapter | the question | minutes | needs |", "|---|---|---|---|---|"]
    for one in chapters(root):
        link = Path(os.path.relpath(one.notebook, folder)).as_posix()
        entries = (one.number, f"[{one.title}]({link})", one.question, one.minutes, one.needs)
        lines.append("| " + " | ".join(entry.replace("|", "\\|") for entry in entries) + " |")
    return "\n".join(lines)


def with_table(page: str, rows: str, name: str) -> str:
    """Return the text of a page with ``rows`` between its two markers; ``name`` is for the error."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before + after:
        raise InputError(name, expected=f"{BEGIN} and then {END}, each once", got="other markers")
    return f"{before}{BEGIN}\n{rows}\n{END}{after}"


def update_readme(path: Path, rows: str) -> bool:
    """Put the table ``rows`` between the markers of the page at ``path`` and tell whether the file changed."""
    return save(path, with_table(_page(path), rows, str(path)))


def update_readmes(root: Path) -> list[Path]:
    """Renew the table in ``README.md`` and in ``chapters/README.md``; return the files that changed."""
    pages = [root / name for name in READMES]
    return [page for page in pages if update_readme(page, table(root, page.parent))]


def stale_readmes(root: Path) -> list[Path]:
    """Return the pages whose table of chapters is not what the chapters' notebooks say."""
    pages = {root / name: _page(root / name) for name in READMES}
    return [path for path, page in pages.items() if page != with_table(page, table(root, path.parent), str(path))]


def _page(path: Path) -> str:
    if not path.is_file():
        raise InputError(str(path), expected=f"a page with {BEGIN} and {END}", got="no such file")
    return path.read_text(encoding="utf-8")


# ---------------------------------------------------------------- running notebooks


def execute(path: Path, cell_seconds: int = 600) -> bool:
    """Run a notebook in its folder, store it with its outputs in one step, tell whether its bytes changed.

    The same cells and outputs give the same bytes: no timings, no Python version, widgets numbered in order of birth.
    A cell that fails raises ``InputError`` and leaves the stored notebook as it was.
    """
    notebook = read(path)
    for index, cell in enumerate(notebook.cells):
        cell.setdefault("id", f"cell-{index}")
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata.pop("widgets", None)
    _run(notebook, path, cell_seconds)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    notebook.metadata.update(KERNEL)
    widgets = list(_widgets(notebook))
    return save(path, _with_fixed_ids(text(notebook), path.stem, widgets))


def _run(notebook: Any, path: Path, cell_seconds: int) -> None:
    exceptions = load("nbclient.exceptions")
    running = [0]
    client = load("nbclient").NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=cell_seconds,
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],  # a warning of every kernel's start is no news
        coalesce_streams=True,  # how a text is cut into messages depends on the clock
        resources={"metadata": {"path": str(path.resolve().parent)}},
        on_cell_execute=lambda cell, cell_index: running.__setitem__(0, cell_index),
    )
    try:
        # sets print in the same order, and no progress bar with its timings is stored
        client.execute(env={**os.environ, "PYTHONHASHSEED": "0", "TQDM_DISABLE": "1"})
    except exceptions.CellExecutionError as error:
        _failed(path, running[0], f"{error.ename}: {error.evalue}", error)
    except exceptions.CellTimeoutError as error:
        _failed(path, running[0], f"no end after {cell_seconds} s", error)
    except exceptions.DeadKernelError as error:
        _failed(path, running[0], "a process that ended", error)


def _failed(path: Path, index: int, got: str, error: Exception) -> None:
    where = f"{path.parent.name}/{path.name}, cell {index + 1}"
    raise InputError(where, expected="a cell that runs to its end", got=got) from error


def _widgets(notebook: Any) -> list[str]:
    state = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {})
    return list(state.get("state", {}))


def _with_fixed_ids(content: str, name: str, widgets: list[str]) -> str:
    """Replace the random ids of widgets, which would make every run another file, and sort by the new ones."""
    for index, widget in enumerate(widgets):
        content = content.replace(widget, hashlib.sha256(f"{name} {index}".encode()).hexdigest()[:32])
    return text(load("nbformat").v4.reads(content))
