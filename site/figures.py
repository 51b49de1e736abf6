"""What Sphinx leaves undone with the figures of a notebook.

A cell with a widget stores a still picture too: what is seen where no script runs, and on paper. Sphinx takes one of
the two. Here both reach the page, and `site.css` shows one. And a figure that is wider than the text, at the size at
which its words are as large as the page's, is marked, so that `site.css` can give it the margin.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.images import get_image_size

WIDGET, PICTURE = "application/vnd.jupyter.widget-view+json", "image/png"
COLUMN = 590  # pixels of a figure that fit beside the contents on a page of 1280


def keep_stills(app: Sphinx, doctree: nodes.document) -> None:
    """Put the picture of every output that has a widget behind the widget."""
    for bundle in list(doctree.findall(nodes.container)):
        if bundle.get("nb_element") != "mime_bundle":
            continue
        kinds = {kind["mime_type"]: kind for kind in bundle.children}
        if WIDGET in kinds and PICTURE in kinds:
            still = nodes.container("", *kinds[PICTURE].children, classes=["still"])
            bundle.remove(kinds[PICTURE])
            bundle.parent.insert(bundle.parent.index(bundle) + 1, still)


def mark_wide(app: Sphinx, doctree: nodes.document) -> None:
    """Give the output of a cell that holds a wide figure the theme's class of what uses the margin."""
    for output in doctree.findall(nodes.container):
        if output.get("nb_element") == "cell_code_output":
            sizes = [get_image_size(Path(app.srcdir) / image["uri"]) for image in output.findall(nodes.image)]
            if any(size and size[0] > COLUMN for size in sizes):
                output["classes"].append("full-width")


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx calls this."""
    app.connect("doctree-read", keep_stills)
    app.connect("doctree-read", mark_wide)
    return {"parallel_read_safe": True}
