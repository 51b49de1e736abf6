"""How Sphinx makes the site; `build.py` calls it."""

import os
import re
import sys
from pathlib import Path

from sphinx.errors import ConfigError

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

project = "Flows: from noise to pictures"
author = "The flowlib authors"
project_copyright = "2026, the flowlib authors"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "crossrefs", "docstrings", "figures"]
exclude_patterns = ["_build"]

# pages
nb_execution_mode = "off"  # the outputs are those stored in the notebooks
nb_ipywidgets_js = {}  # its default names two addresses elsewhere; ours are below
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_dmath_double_inline = True  # a displayed equation may stand in the middle of a paragraph
myst_heading_anchors = 3
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type"]

# docstrings
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_type_aliases = {name: name for name in ("Batch", "PerSample", "Labels", "Scalar", "Times", "Field", "Array")}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Source", "notes_style")]

# look
html_theme = "sphinx_book_theme"
html_title = project
html_static_path = [str(HERE / "_static"), str(HERE.parent / "_build" / "vendor")]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "use_download_button": True,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "navbar_persistent": [],  # the search is in the side bar
    "show_navbar_depth": 1,
    "home_page_in_toc": True,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
# Where the book is published: its address is not in the book. Without it no page has a button that leads to nowhere.
if repository := os.environ.get("FLOWLIB_REPOSITORY", "").rstrip("/").removesuffix(".git"):
    if not re.fullmatch(r"https://[^/@\s]+/[^/\s]+/[^/\s]+", repository):
        raise ConfigError(f"FLOWLIB_REPOSITORY: expected https://host/owner/name, got {repository}")
    html_theme_options |= {
        "repository_url": repository,
        "repository_branch": "HEAD",  # whatever the branch is called there
        "use_repository_button": True,
        "launch_buttons": {"binderhub_url": "https://mybinder.org", "notebook_interface": "jupyterlab"},
    }

# scripts, all of them from our own folder
mathjax_path = "mathjax.js"
mathjax3_config = {"options": {"enableMenu": False}, "svg": {"fontCache": "global"}}
html_js_files = ["require.js", "widgets.js", "embed-amd.js"]
html_context = {"default_mode": "auto"}
