"""Keeps the picture that stands for a widget: it is what is seen where no script runs, and on paper.

A cell with a widget stores a still picture too, and Sphinx takes one of the two. Here both reach the page, and
`site.css` shows one.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

WIDGET, PICTURE = "application/vnd.jupyter.widget-view+json", "image/png"


def keep(app: Sphinx, doctree: nodes.document) -> None:
    """Put the picture of every output that has a widget behind the widget."""
    for bundle in list(doctree.findall(nodes.container)):
        if bundle.get("nb_element") != "mime_bundle":
            continue
        kinds = {kind["mime_type"]: kind for kind in bundle.children}
        if WIDGET in kinds and PICTURE in kinds:
            still = nodes.container("", *kinds[PICTURE].children, classes=["still"])
            bundle.remove(kinds[PICTURE])
            bundle.parent.insert(bundle.parent.index(bundle) + 1, still)


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx calls this."""
    app.connect("doctree-read", keep)
    return {"parallel_read_safe": True}
