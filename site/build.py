"""Builds the book as a static site: `make book`. No kernel runs; the outputs are those stored in the notebooks.

The pages lie in three places (`chapters/`, `site/` and the docstrings of `flowlib`), and Sphinx reads one folder. So
they are gathered in `_build/source` first. Every script that a page needs comes from `_build/vendor` (`make vendor`),
so that equations and widgets work with no network.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "_build"
SCRIPTS = ("mathjax.js", "require.js", "embed-amd.js", "anywidget.js")
MODULES = ("shapes", "tensors", "derivatives", "estimates", "errors")
PACKAGES = (
    *("densities", "datasets", "bijections", "solvers", "layers", "paths", "flows", "models"),
    *("objectives", "sampling", "rectify", "training", "evaluation", "recipes", "pretrained"),
    *("viz", "viz.widgets", "coursework"),
)


def main() -> int:
    """Gather, build with warnings as errors, check every internal link; return 0 where all went well."""
    missing = [name for name in SCRIPTS if not (BUILD / "vendor" / name).is_file()]
    if missing:
        print(
            f"_build/vendor has no {', '.join(missing)}: run `make vendor` once, with npm and a network",
            file=sys.stderr,
        )
        return 2
    gather(BUILD / "source")
    shutil.rmtree(BUILD / "html", ignore_errors=True)  # a page that was given up must not stay
    folders = ["-c", str(ROOT / "site"), "-d", str(BUILD / "doctrees"), str(BUILD / "source"), str(BUILD / "html")]
    built = subprocess.run([sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", *folders])
    link_pages(BUILD / "html")
    broken = broken_links(BUILD / "html")
    failed = built.returncode or bool(broken)
    print("\n".join(broken) if failed else f"the book: {BUILD / 'html' / 'index.html'}", file=sys.stderr)
    return failed


def gather(source: Path) -> None:
    """Copy the pages into ``source`` and write the pages that are generated; what is unchanged keeps its date."""
    wanted = {page: ROOT / "site" / page for page in ("index.md", "teachers.md")}
    wanted["chapters/notation.md"] = ROOT / "chapters" / "notation.md"
    wanted["picture.gif"] = ROOT / "chapters" / "picture.gif"
    names = []
    for folder in sorted((ROOT / "chapters").glob("[0-9][0-9]_*")):
        if (folder / f"{folder.name}.ipynb").is_file():
            names.append(folder.name)
            for name in (f"{folder.name}.ipynb", "exercises.ipynb"):
                if (folder / name).is_file():
                    wanted[f"chapters/{folder.name}/{name}"] = folder / name
    texts = {"api/index.md": _api_index(), "index.md": _index(wanted.pop("index.md").read_text(), names, list(wanted))}
    texts |= {f"api/{name}.rst": _api_page(name) for name in MODULES + PACKAGES}
    for old in source.rglob("*"):
        if old.is_file() and str(old.relative_to(source)) not in {*wanted, *texts}:
            old.unlink()
    for name, path in wanted.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, source / name)
    for name, text in texts.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        if not (source / name).is_file() or (source / name).read_text() != text:
            (source / name).write_text(text)


def link_pages(html: Path) -> None:
    """Lead links inside of outputs, which name notebooks, to the pages of those notebooks; Sphinx sees only text."""
    for path in html.glob("chapters/*/*.html"):
        text = path.read_text(encoding="utf-8")
        linked = re.sub(r'(href="\.\./(\d\d_\w+)/\2)\.ipynb"', r'\1.html"', text)
        if linked != text:
            path.write_text(linked, encoding="utf-8")


def _index(text: str, chapters: list[str], pages: list[str]) -> str:
    """Put the table of chapters and the two lists of pages into the first page."""
    sys.path.insert(0, str(ROOT))
    from flowlib.coursework import book

    rows = ["| # | chapter | the question | minutes |", "|---|---|---|---|"]
    for name in chapters:
        one = book.read_chapter(ROOT / "chapters" / name)
        rows.append(f"| {one.number} | [{one.title}](chapters/{name}/{name}.ipynb) | {one.question} | {one.minutes} |")
    exercises = [f"chapters/{name}/exercises" for name in chapters if f"chapters/{name}/exercises.ipynb" in pages]
    return (
        text.replace("CHAPTERS_TABLE", "\n".join(rows))
        .replace("CHAPTERS_LIST", "\n".join(f"chapters/{name}/{name}" for name in chapters))
        .replace("EXERCISES_LIST", "\n".join(exercises))
    )


def _api_page(name: str) -> str:
    title = f"flowlib.{name}"
    options = "   :members:\n" + "   :imported-members:\n" * (name in PACKAGES)  # a package's __all__ says which
    return f"{title}\n{'=' * len(title)}\n\n.. automodule:: {title}\n{options}"


def _api_index() -> str:
    lines = ["# The library", "", "Written from the docstrings. Imports only go down this list.", "", "```{toctree}"]
    return "\n".join([*lines, ":maxdepth: 1", "", *MODULES, *PACKAGES, "```", ""])


# ---------------------------------------------------------------- links


class _Links(HTMLParser):
    """The addresses that a page names, and the places in it that can be named."""

    def __init__(self) -> None:
        super().__init__()
        self.named: list[str] = []
        self.places: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name in ("href", "src"):
                self.named.append(value)
            elif value and (name == "id" or (tag == "a" and name == "name")):
                self.places.add(value)


def broken_links(html: Path) -> list[str]:
    """Return every link of the site that leads to no file or to no place in it, and every script from elsewhere."""
    pages = {}
    for path in sorted(html.rglob("*.html")):
        if "_static" in path.relative_to(html).parts:
            continue
        pages[path] = _Links()
        pages[path].feed(path.read_text(encoding="utf-8"))
    broken = []
    for path, links in pages.items():
        text = path.read_text(encoding="utf-8")
        broken += [f"{path.name}: script from {url}" for url in re.findall(r'<script[^>]* src="(https?:[^"]+)"', text)]
        for link in links.named:
            url = urlsplit(link)
            if url.scheme or url.netloc or link.startswith("data:"):
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            if target.is_dir():
                target /= "index.html"
            there = target.is_file() and (not url.fragment or target not in pages or _has(pages[target], url.fragment))
            if not there:
                broken.append(f"{path.relative_to(html)}: {link}")
    return broken


def _has(links: _Links, fragment: str) -> bool:
    return fragment in ("", "#") or unquote(fragment) in links.places


if __name__ == "__main__":
    sys.exit(main())
