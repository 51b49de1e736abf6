"""Docstrings are plain text to those who read code: here `(B, *event)` and `|v|` keep their stars and bars."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

LITERAL = re.compile(r"(``.+?``|`.+?`)")


def escape(line: str) -> str:
    """Return ``line`` with the stars and bars outside of literals made harmless, ``*emphasis*`` left alone."""
    parts = LITERAL.split(line)
    parts[::2] = [re.sub(r"(?<![\\\w*])\*(?=\w)(?!\w[^*]*\w\*)|\|", r"\\\g<0>", part) for part in parts[::2]]
    return "".join(parts)


def plain(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Escape the text of a docstring; doctests and displayed blocks stay as they are."""
    shown = False
    for i, line in enumerate(lines):
        shown = line.lstrip().startswith((">>>", "...")) or (shown and bool(line.strip()))
        if not shown:
            lines[i] = escape(line)


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", plain)
    return {"parallel_read_safe": True}
