"""What lies around the code and must stay true: the conda file, the README, the versions, the tables."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from flowlib.coursework import book

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]


def test_conda_environment_is_the_same_install():
    """Python and pip from conda, everything else by pip from pyproject.toml under the same constraints."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert set(environment) == {"name", "channels", "dependencies"}
    *conda, pip = environment["dependencies"]
    assert conda == [f"python{PROJECT['requires-python']}", "pip"]
    assert pip == {"pip": ["-c constraints.txt", "-e .[dev,book]"]}
    makefile = (ROOT / "Makefile").read_text()
    assert "-c constraints.txt -e '.[$(2)]'" in makefile
    assert "EXTRAS := dev,book\n" in makefile
    assert "$(call INSTALL,$(VENV),$(EXTRAS))" in makefile


def test_every_dependency_has_an_exact_version():
    pinned = {pin.name.lower() for pin in PINS}
    extras = [r for group in PROJECT["optional-dependencies"].values() for r in group]
    wanted = {Requirement(r).name.lower() for r in PROJECT["dependencies"] + extras}
    assert wanted <= pinned
    assert all(len(pin.specifier) == 1 and str(pin.specifier).startswith("==") for pin in PINS)
    assert "torch==2.13.0" in map(str, PINS)


@pytest.mark.parametrize("pin", [p for p in PINS if p.name in {"numpy", "scipy", "ipython"}], ids=str)
def test_python_3_10_has_versions_of_its_own(pin):
    assert pin.marker is not None


def test_citation_is_complete_and_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(citation)
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
    assert citation["title"] in (ROOT / "README.md").read_text()


def test_readme_example_runs():
    """The example of the README, as it stands there, in a fresh process."""
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(example.strip().splitlines()) <= 15
    subprocess.run([sys.executable, "-c", example], check=True, capture_output=True, timeout=120)


def test_readme_names_what_exists():
    text = (ROOT / "README.md").read_text()
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text) + re.findall(r'src="(?!http)([^"]+)"', text):
        assert (ROOT / link).exists(), link
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)", text)) <= targets


def test_chapter_tables_are_fresh():
    assert book.stale_readmes(ROOT) == []


def test_no_file_names_a_registry():
    """The reader's own settings say where packages come from; no tracked file does."""
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    if listed.returncode:
        pytest.skip("not a git checkout")
    flags = re.compile("--(extra-)?index" + "-url|--find" + "-links")
    texts = [ROOT / name for name in listed.stdout.split() if not name.endswith((".png", ".gif", ".safetensors"))]
    assert [path.name for path in texts if flags.search(path.read_text(encoding="utf-8"))] == []


def test_shipped_weights_have_cards():
    import hashlib
    import json

    from flowlib.recipes import RECIPES

    def no_number(word):
        raise ValueError(f"{word} is no JSON")

    weights = sorted((ROOT / "data" / "weights").glob("*.safetensors"))
    assert weights
    for path in weights:
        card = json.loads(path.with_suffix(".json").read_text(), parse_constant=no_number)
        assert card["recipe"] in RECIPES
        assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert path.stat().st_size < 15e6
    assert sum(path.stat().st_size for path in weights) < 40e6
