"""Notebooks as files: read them, write them in one canonical form, replace a file in one step."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from flowlib.errors import InputError

# what every stored notebook says of its kernel: the reader's Python version is no part of the book
KERNEL = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def load(module: str) -> Any:
    """Import a tool of the ``dev`` extra; where it is missing, ``InputError`` says how to install it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(
            "environment",
            expected=f"the package {module.partition('.')[0]}",
            got=f"no module named {error.name}",
            cure="install the tools of the book: pip install 'flowlib[dev]'",
        ) from error


def read(path: Path) -> Any:
    """Return the notebook stored at ``path`` (format 4), without the format's own validation.

    A student's notebook may carry cells that the strict schema rejects and a kernel still runs.
    """
    v4 = load("nbformat").v4
    try:
        notebook = v4.reads(path.read_text(encoding="utf-8"))
        is_notebook = all(isinstance(cell.source, str) and cell.cell_type for cell in notebook.cells)
    except FileNotFoundError:
        raise InputError(path.name, expected=f"a notebook in {path.parent}", got="no such file") from None
    except Exception as error:  # a foreign file can be wrong in any way: not JSON, not text, not a dictionary
        raise InputError(path.name, expected="a notebook (format 4)", got=type(error).__name__) from error
    if not is_notebook:
        raise InputError(path.name, expected="a notebook (format 4)", got="cells without text or type")
    return notebook


def text(notebook: Any) -> str:
    """Return the canonical text of ``notebook``: keys sorted, one space of indentation, one newline at the end."""
    written: str = load("nbformat").v4.writes(notebook)
    return written.rstrip("\n") + "\n"


def save(path: Path, content: str) -> bool:
    """Replace the file at ``path`` in one step and tell whether its bytes changed; a crash leaves the old file."""
    data = content.encode("utf-8")
    if path.is_file() and path.read_bytes() == data:
        return False
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(data)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return True
