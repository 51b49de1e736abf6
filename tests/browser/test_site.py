"""The site that `make book` builds: links, and pages in a browser that has no network."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from flowlib.viz.style import PAGE_TEXT

ROOT = Path(__file__).parents[2]
CHAPTER = "chapters/04_rectified_flow/04_rectified_flow.html"
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


def builder():
    spec = importlib.util.spec_from_file_location("build", ROOT / "site" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def html():
    """The site, built as it is read: warnings are errors, links are checked. It takes a minute."""
    pytest.importorskip("myst_nb", reason="the tools of the site are not installed (the extra `book`)")
    if any(not (ROOT / "_build" / "vendor" / name).is_file() for name in builder().SCRIPTS):
        if shutil.which("npm") is None:
            pytest.skip("the scripts of the site are not here, and there is no npm to fetch them (`make vendor`)")
        if subprocess.run(["make", "vendor"], cwd=ROOT, capture_output=True).returncode:
            pytest.skip("`make vendor` could not fetch the scripts of the site")
    nowhere = {name: value for name, value in os.environ.items() if name != "FLOWLIB_REPOSITORY"}
    built = subprocess.run([sys.executable, "site/build.py"], cwd=ROOT, capture_output=True, text=True, env=nowhere)
    assert built.returncode == 0, built.stderr[-3000:]
    return ROOT / "_build" / "html"


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def chapter(request, html, open_page):
    page = open_page((html / CHAPTER).as_uri(), viewport=request.param, offline=True)
    page.wait_for_selector("mjx-container", state="attached")
    page.wait_for_selector(".fx", state="attached", timeout=60_000)
    return page


def test_every_chapter_has_its_page_and_its_exercises(html):
    for notebook in ROOT.glob("chapters/[0-9]*/[0-9]*.ipynb"):
        folder = html / "chapters" / notebook.parent.name
        assert (folder / f"{notebook.stem}.html").is_file()
        assert (folder / "exercises.html").is_file() == (notebook.parent / "exercises.ipynb").is_file()
    assert "BEGIN SOLUTION" not in "".join(path.read_text() for path in html.glob("chapters/*/*.html"))


def test_words_that_name_an_equation_or_a_chapter_are_links(html):
    text = (html / CHAPTER).read_text()
    assert 'id="equation-4-3"' in text
    assert 'href="#equation-4-3"' in text
    assert 'href="../05_reflow/05_reflow.html"' in text
    later = (html / "chapters/06_flow_matching/06_flow_matching.html").read_text()
    assert 'href="../04_rectified_flow/04_rectified_flow.html#equation-4-4"' in later


def test_the_library_is_described(html):
    text = (html / "api" / "paths.html").read_text()
    assert 'id="flowlib.paths.exact_velocity"' in text
    assert "InputError" in text


def test_symbols_and_coursework_have_their_pages(html):
    notation = (html / "chapters" / "notation.html").read_text()
    assert notation.count("<tr") > 40
    teachers = (html / "teachers.html").read_text()
    assert "make grade SUBMISSIONS=folder" in teachers
    assert 'href="api/coursework.html' in teachers
    front = (html / "index.html").read_text()
    for page in ("chapters/notation.html", "teachers.html", "api/index.html"):
        assert f'href="{page}"' in front


def test_every_picture_of_a_chapter_has_its_sentence(html):
    for page in html.glob("chapters/*/*.html"):
        for image in re.findall(r'<img [^>]*src="[^"]*_images/[^>]*>', page.read_text()):
            assert len(re.search(r'alt="([^"]*)"', image)[1].split()) >= 8, (page.name, image)


def test_without_an_address_no_page_offers_to_launch_it(html):
    assert not [page for page in html.rglob("*.html") if "mybinder" in page.read_text()]


@pytest.fixture
def small_site(html, tmp_path):
    """Build two pages as `make book` does, for a book that is published at an address; return what was said, too."""
    page = Path("chapters/00_map/exercises.ipynb")
    (tmp_path / page).parent.mkdir(parents=True)
    shutil.copy(ROOT / page, tmp_path / page)
    (tmp_path / "index.md").write_text(f"# A book\n\n```{{toctree}}\n{page.with_suffix('')}\n```\n")

    def build(address):
        command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-c", str(ROOT / "site"), ".", "html"]
        environment = os.environ | {"FLOWLIB_REPOSITORY": address}
        built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
        return tmp_path / "html" / page.with_suffix(".html"), page, built.stderr

    return build


def test_with_an_address_every_notebook_can_be_launched_from_there(html, small_site):
    built, page, _ = small_site("https://github.com/someone/a-copy.git/")
    (url,) = set(re.findall(r'href="(https://mybinder.org[^"]*)"', built.read_text()))
    assert url == f"https://mybinder.org/v2/gh/someone/a-copy/HEAD?urlpath=lab/tree/{page}"
    assert 'href="https://github.com/someone/a-copy"' in built.read_text()
    for one in html.glob("chapters/*/*.html"):  # a page lies where its notebook does, so each address is right
        assert (ROOT / one.relative_to(html)).with_suffix(".ipynb").is_file()


@pytest.mark.parametrize("address", ["a-copy", "https://someone:secret@github.com/someone/a-copy"])
def test_an_address_that_cannot_be_launched_is_refused(small_site, address):
    built, _, said = small_site(address)
    assert "FLOWLIB_REPOSITORY: expected https://host/owner/name" in said
    assert not built.exists()


@pytest.mark.parametrize(
    ("page", "broken"),
    [
        ('<a href="there.html">', True),
        ('<a href="#there">', True),
        ('<img src="there.png">', True),
        ('<script src="https://example.org/a.js">', True),
        ('<p id="here"><a href="#here"><a href="index.html#here"><a href="https://example.org">', False),
    ],
)
def test_broken_links_are_found(tmp_path, page, broken):
    (tmp_path / "index.html").write_text(page)
    assert bool(builder().broken_links(tmp_path)) == broken


def test_equations_are_rendered_and_pictures_are_there(chapter):
    assert chapter.locator("mjx-container svg").count() > 50
    assert chapter.locator("mjx-container[display=true]").count() > 10
    assert chapter.locator("mjx-merror, [data-mjx-error]").count() == 0
    assert chapter.locator("text=/\\\\\\\\(mathbb|frac|alpha_t)/").count() == 0, "raw LaTeX is on the page"
    empty = "Array.from(document.images).filter((i) => i.complete && !i.naturalWidth).map((i) => i.src)"
    assert chapter.evaluate(empty) == []
    assert chapter.locator(".cell_output img").count() > 5


@pytest.mark.parametrize("name", ["00_map", "06_flow_matching"])  # five and three panels under a slider
def test_words_in_figures_are_as_large_as_those_of_the_page(html, open_page, name):
    """Figures are drawn with words of PAGE_TEXT pixels, and the page scales them; on a desktop none is cut off."""
    page = open_page((html / f"chapters/{name}/{name}.html").as_uri(), offline=True)
    page.wait_for_selector(".widget-subarea img", timeout=60_000)
    text = page.locator("article p").first.evaluate("p => parseFloat(getComputedStyle(p).fontSize)")
    figures = page.locator(".cell_output img:visible").evaluate_all(
        """images => images.map((image) => {
          const [box, seen] = [image, image.closest(".cell_output")].map((e) => e.getBoundingClientRect());
          return [box.width / image.naturalWidth, box.right - Math.min(seen.right, innerWidth)];
        })"""
    )
    assert len(figures) > 5
    for scale, beyond in figures:
        assert scale * PAGE_TEXT > text - 0.01
        assert beyond <= 1


def test_nothing_runs_over_the_edge(chapter):
    assert chapter.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_explorer_moves(chapter):
    chapter.locator(".fx").scroll_into_view_if_needed()
    chapter.wait_for_function("document.querySelector('.fx').frames > 0")
    before = chapter.evaluate("document.querySelector('.fx').frames")
    chapter.click(".fx-play")
    chapter.wait_for_function(f"document.querySelector('.fx').frames > {before} + 20", timeout=30_000)
    assert chapter.inner_text(".fx output") != "t = 0.00"


def test_a_slider_over_pictures_moves_without_a_kernel(html, open_page):
    page = open_page((html / "chapters/05_reflow/05_reflow.html").as_uri(), offline=True)
    page.wait_for_selector(".widget-slider", timeout=60_000)
    page.locator(".widget-slider").first.scroll_into_view_if_needed()
    shown = "Array.from(document.querySelectorAll('.jupyter-widgets img')).find((i) => i.offsetParent)?.src"
    page.wait_for_function(shown)
    before = page.evaluate(shown)
    page.locator(".noUi-handle").first.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(f"before => ({shown}) !== before", arg=before)


def test_a_slider_answers_within_a_tenth_of_a_second(html, open_page):
    """All the page does from the key to the picture, in time of the processor: other jobs do not lengthen it."""
    page = open_page((html / "chapters/05_reflow/05_reflow.html").as_uri(), offline=True)
    page.wait_for_selector(".widget-slider", timeout=60_000)
    page.locator(".widget-slider").first.scroll_into_view_if_needed()
    page.locator(".noUi-handle").first.focus()
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def work():
        metrics = session.send("Performance.getMetrics")["metrics"]
        return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")

    shown = "Array.from(document.querySelectorAll('.jupyter-widgets img')).find((i) => i.offsetParent)"
    waits = []
    for _ in range(4):
        before, start = page.evaluate(f"{shown}.src"), work()
        page.keyboard.press("ArrowRight")
        page.wait_for_function(f"before => ({shown}) && ({shown}).src !== before", arg=before)
        page.evaluate(f"{shown}.decode()")
        waits.append(work() - start)
    assert min(waits) < 0.1, waits


@pytest.mark.parametrize("chapter", ["04_rectified_flow", "05_reflow"])
def test_without_scripts_the_still_pictures_are_seen(html, open_page, chapter):
    page = open_page((html / f"chapters/{chapter}/{chapter}.html").as_uri(), offline=True, java_script_enabled=False)
    stills = page.locator(".still img")
    assert stills.count() > 0
    for image in stills.all():
        image.scroll_into_view_if_needed()
        box = image.bounding_box()
        assert min(box["width"], box["height"]) > 200
        assert len(image.get_attribute("alt").split()) >= 8


def test_with_scripts_a_still_picture_gives_way_and_lends_its_words(html, open_page):
    page = open_page((html / "chapters/05_reflow/05_reflow.html").as_uri(), offline=True)
    page.wait_for_selector(".widget-slider", timeout=60_000)
    page.wait_for_selector(".widget-subarea img[alt]")
    assert not page.locator(".still").first.is_visible()
    assert page.locator(".widget-subarea img:not([alt])").count() == 0
    words = {image.get_attribute("alt") for image in page.locator(".still img").all()}
    assert page.locator(".widget-subarea img").first.get_attribute("alt") in words
    page.emulate_media(media="print")
    assert page.locator(".still").first.is_visible()
    assert not page.locator(".widget-subarea").first.is_visible()


@pytest.fixture
def server(html):
    """The site as it is served: a search fetches the pages that it found, which a browser forbids to files."""
    serve = partial(SimpleHTTPRequestHandler, directory=str(html))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as running:
        Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_the_search_finds_a_word(server, open_page):
    page = open_page(f"{server}/search.html?q=continuity")
    page.wait_for_selector("ul.search li a:has-text('Rectified flow')", timeout=60_000)


def test_a_dark_page_is_dark_and_its_figures_stay_white(html, open_page):
    page = open_page((html / CHAPTER).as_uri(), offline=True, color_scheme="dark")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    image = page.locator(".cell_output img").first
    assert image.evaluate("i => getComputedStyle(i).backgroundColor") == "rgb(255, 255, 255)"
    page.wait_for_selector(".fx.fx-dark", state="attached", timeout=60_000)
