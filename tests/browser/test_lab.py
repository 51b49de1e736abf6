"""JupyterLab on real chapters: one runs from its first cell to its last, one as far as its explorer, for time.

`make test` runs every cell of every chapter elsewhere; here it is the browser's part that is looked at.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

CHAPTERS = Path(__file__).parents[2] / "chapters"
SETTINGS = {"fetchNews": "false", "checkForUpdates": False}  # no window over the page that asks about news


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A server on a free port, whose settings and notebooks are its own: nothing in the book is written to."""
    home, book = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("book")
    quiet = home / "@jupyterlab" / "apputils-extension"
    quiet.mkdir(parents=True)
    (quiet / "notification.jupyterlab-settings").write_text(json.dumps(SETTINGS))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folders = ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_WORKSPACES_DIR", "JUPYTERLAB_SETTINGS_DIR")
    options = [f"--port={port}", f"--ServerApp.root_dir={book}", "--ServerApp.token=", "--ServerApp.password="]
    options += ["--LabApp.expose_app_in_browser=True"]  # so that a test can read the notebook that is open
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", *options],
            env=os.environ | dict.fromkeys([*folders, "IPYTHONDIR"], str(home)) | {"OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=log,
        )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=5)
                break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}", book
    finally:
        process.terminate()
        process.wait(timeout=60)


def open_chapter(lab, open_page, name: str, picture: str | None = None):
    """Open a copy of a chapter that holds no outputs, whole or as far as its picture, and run all cells."""
    url, book = lab
    shutil.copytree(CHAPTERS / name, book / name, dirs_exist_ok=True)
    notebook = json.loads((book / name / f"{name}.ipynb").read_text())
    if picture:
        last = next(i for i, cell in enumerate(notebook["cells"]) if picture in "".join(cell["source"]))
        notebook["cells"] = notebook["cells"][: last + 1]
    notebook["metadata"].pop("widgets", None)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    (book / name / f"{name}.ipynb").write_text(json.dumps(notebook))
    page = open_page(f"{url}/doc/tree/{name}/{name}.ipynb?reset")
    page.set_default_timeout(300_000)
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]")
    page.wait_for_function("jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'")
    page.click(".lm-MenuBar-itemLabel:text-is('Run')")
    page.click("[data-command='runmenu:run-all']")
    return page


def drag(page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=8)
    page.mouse.up()


def test_a_whole_chapter_runs_and_its_slider_is_dragged_and_its_figure_changes(lab, open_page):
    page = open_chapter(lab, open_page, "08_timesteps")
    cells = "jupyterapp.shell.currentWidget.context.model.toJSON().cells.filter((cell) => cell.cell_type === 'code')"
    failed = f"{cells}.flatMap((cell) => cell.outputs).filter((output) => output.output_type === 'error')"
    page.wait_for_function(f"{cells}.every((cell) => cell.execution_count) || {failed}.length", polling=1000)
    assert page.evaluate(failed) == []
    assert page.evaluate(f"{cells}.length") > 15
    page.evaluate("jupyterapp.shell.currentWidget.content.scrollToItem(0)")
    page.wait_for_selector(".widget-slider .noUi-handle")
    page.locator(".widget-slider").first.scroll_into_view_if_needed()
    shown = "Array.from(document.querySelectorAll('.jupyter-widgets img')).find((i) => i.offsetParent)?.src"
    page.wait_for_function(shown)
    before = page.evaluate(shown)
    handle, track = (page.locator(part).first.bounding_box() for part in (".noUi-handle", ".noUi-base"))
    y = handle["y"] + handle["height"] / 2
    drag(page, (handle["x"] + handle["width"] / 2, y), (track["x"] + 0.8 * track["width"], y))
    page.wait_for_function(f"before => ({shown}) !== before", arg=before)


def test_the_explorer_is_scrubbed_and_the_kernel_solves_a_dropped_particle(lab, open_page):
    page = open_chapter(lab, open_page, "04_rectified_flow", "explore(")
    page.wait_for_selector(".fx")
    page.locator(".fx").scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('.fx').frames > 0")
    track = page.locator(".fx input[type=range]").bounding_box()
    frames, y = page.evaluate("document.querySelector('.fx').frames"), track["y"] + track["height"] / 2
    drag(page, (track["x"] + 8, y), (track["x"] + 0.6 * track["width"], y))
    page.wait_for_function(f"document.querySelector('.fx').frames > {frames}")
    assert 0.5 < float(page.inner_text(".fx output").split()[-1]) < 0.7
    box = page.locator(".fx-box").nth(1).bounding_box()
    page.mouse.click(box["x"] + 0.6 * box["width"], box["y"] + 0.4 * box["height"])
    page.wait_for_function("document.querySelector('.fx-note').textContent.startsWith('Solved by the kernel')")
