"""Makes links of what the chapters say in words: an equation, "(4.3)", and a chapter, "chapter 04"."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

TAG = re.compile(r"\\tag\{(\d+\.\d+)\}")
WORDS = re.compile(r"\((?P<equation>\d{1,2}\.\d{1,2})\)|\b[Cc]hapter (?P<chapter>\d\d)\b")
NOT_HERE = (nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.reference, nodes.title, nodes.raw)


def name_equations(app: Sphinx, doctree: nodes.document) -> None:
    """Give every numbered equation of a page a place, and remember the page."""
    page = app.env.docname
    for block in doctree.findall(nodes.math_block):
        for number in TAG.findall(block.astext()):
            block["ids"].append(place(number))
            _equations(app)[number] = page


def link(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Turn the numbers in a page's text into links."""
    chapters = {
        name.split("/")[1][:2]: name for name in app.env.found_docs if re.match(r"chapters/(\d\d_\w+)/\1$", name)
    }
    for text in list(doctree.findall(nodes.Text)):
        if not any(isinstance(above, NOT_HERE) for above in _above(text)):
            parts = _parts(app, str(text), page, chapters)
            if len(parts) > 1:
                text.parent.replace(text, parts)


def place(number: str) -> str:
    """Return the anchor of an equation."""
    return f"equation-{number.replace('.', '-')}"


def _parts(app: Sphinx, text: str, page: str, chapters: dict[str, str]) -> list[nodes.Node]:
    parts: list[nodes.Node] = []
    done = 0
    for match in WORDS.finditer(text):
        number, chapter = match["equation"], match["chapter"]
        target = _equations(app).get(number) if number else chapters.get(chapter)
        if target is None or (chapter and target == page):
            continue
        address = app.builder.get_relative_uri(page, target) if target != page else ""
        words = match[0][1:-1] if number else match[0]
        start, end = (match.start() + 1, match.end() - 1) if number else match.span()
        uri = f"{address}#{place(number)}" if number else address
        parts += [nodes.Text(text[done:start]), nodes.reference("", words, refuri=uri, internal=True)]
        done = end
    return [*parts, nodes.Text(text[done:])]


def _above(node: nodes.Node) -> Any:
    while node.parent is not None:
        node = node.parent
        yield node


def _equations(app: Sphinx) -> dict[str, str]:
    if not hasattr(app.env, "flowlib_equations"):
        app.env.flowlib_equations = {}  # number: page; kept from build to build with everything Sphinx has read
    return app.env.flowlib_equations


def _forget(app: Sphinx, env: Any, page: str) -> None:
    for number in [number for number, where in _equations(app).items() if where == page]:
        del env.flowlib_equations[number]


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx calls this."""
    app.connect("doctree-read", name_equations)
    app.connect("doctree-resolved", link)
    app.connect("env-purge-doc", _forget)
    return {"parallel_read_safe": False}
