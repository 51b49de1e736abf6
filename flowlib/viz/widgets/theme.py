"""The colours of the explorer on a light and on a dark page: the same names in both, each readable on its page."""

from __future__ import annotations

from typing import Any

from flowlib.viz.style import PALETTE

LIGHT: dict[str, Any] = {
    "background": "#ffffff",
    "ink": "#222222",
    "arrows": "#555555",
    "own": "#000000",
    "particles": list(PALETTE[:6]),  # all but black, which is the reader's own
}
# blue and green are lifted until they stand out against the page; their order is that of LIGHT
DARK: dict[str, Any] = {
    "background": "#14181c",
    "ink": "#e4e8eb",
    "arrows": "#aab4bc",
    "own": "#ffffff",
    "particles": ["#3d9be0", "#e69f00", "#14c08f", "#d893b8", "#9bd3f5", "#f0742a"],
}
