"""The house: floors, arrows that only go down, sizes. Each rule is also shown to fail where it is broken on purpose."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = [  # a module may import from floors below its own; on one floor only what ALLOWED names
    {"errors", "shapes", "tensors", "estimates", "derivatives", "atomic"},
    {"densities", "datasets", "bijections", "solvers", "layers"},
    {"paths", "flows", "models"},
    {"objectives", "sampling", "rectify"},
    {"training", "evaluation"},
    {"recipes", "pretrained"},
    {"cli", "__main__"},
]
WINGS = {"viz": 3, "coursework": 0}  # side wings, and the highest floor they may read
ALLOWED = {  # the arrows inside a floor, each with its reason in the design or in the module
    ("datasets", "densities"),
    ("flows", "paths"),
    ("rectify", "sampling"),
    ("rectify", "objectives"),
    ("shapes", "errors"),
    ("atomic", "errors"),
    ("tensors", "errors"),
    ("tensors", "shapes"),
    ("derivatives", "shapes"),
    ("derivatives", "tensors"),
    ("__main__", "cli"),
}
LONGEST_FILE, LONGEST_FUNCTION = 300, 60


def floor(package: str) -> int:
    for number, packages in enumerate(FLOORS):
        if package in packages:
            return number
    raise KeyError(package)


def imports(tree: ast.AST) -> list[tuple[str, int, bool]]:
    """Modules that a file imports, with the line, and whether at import time (not inside a function)."""
    late = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    found = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            if any(alias.name == "*" for alias in node.names):
                names.append("*")
        found += [(name, node.lineno, id(node) not in late) for name in names]
    return found


def upward(package: str, other: str) -> bool:
    if package in WINGS:
        return other != package and (other in WINGS or floor(other) > WINGS[package])
    if other in WINGS:
        return package != "cli"
    if floor(other) == floor(package):
        return package != other and (package, other) not in ALLOWED
    return floor(other) > floor(package)


def broken_rules(path: str, source: str) -> list[str]:
    """Every rule of the house that a file breaks; ``path`` is relative to the root, flowlib/paths/path.py."""
    tree = ast.parse(source)
    parts = Path(path).with_suffix("").parts
    package = parts[1] if len(parts) > 1 else "__init__"
    broken = []
    for name, line, at_import in imports(tree):
        if name == "*":
            broken.append(f"{path}:{line} star import")
        top = name.split(".")
        if at_import and top[0] in {"matplotlib", "ipywidgets"} and package != "viz":
            broken.append(f"{path}:{line} {top[0]} at import, outside viz")
        if top[0] == "flowlib" and len(top) > 1 and package != "__init__" and upward(package, top[1]):
            broken.append(f"{path}:{line} {package} imports {top[1]}")
    lines = source.count("\n")
    if lines > LONGEST_FILE:
        broken.append(f"{path}: {lines} lines")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            length = node.end_lineno - node.lineno + 1 - (docstring.count("\n") + 1 if docstring else 0)
            if length > LONGEST_FUNCTION:
                broken.append(f"{path}:{node.lineno} {node.name} has {length} lines")
    if Path(path).name in {"utils.py", "util.py", "helpers.py", "misc.py"}:
        broken.append(f"{path}: a lumber room")
    return broken


FILES = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "flowlib").rglob("*.py"))


@pytest.mark.parametrize("path", FILES)
def test_house_rules(path):
    assert broken_rules(path, (ROOT / path).read_text()) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("flowlib/paths/path.py", "from flowlib.objectives import flow_matching"),
        ("flowlib/paths/path.py", "from flowlib.models import MLP"),
        ("flowlib/solvers/fixed.py", "from flowlib.densities import Gaussian"),
        ("flowlib/tensors.py", "import flowlib.solvers"),
        ("flowlib/recipes/rf_toy.py", "from flowlib.viz import density"),
        ("flowlib/viz/density.py", "from flowlib.training import train"),
        ("flowlib/coursework/checks.py", "from flowlib.paths import OT"),
        ("flowlib/models/mlp.py", "from flowlib.errors import *"),
        ("flowlib/models/mlp.py", "import matplotlib.pyplot as plt"),
        ("flowlib/models/mlp.py", "import ipywidgets"),
        ("flowlib/models/utils.py", "x = 1\n"),
        ("flowlib/models/mlp.py", "x = 1\n" * 301),
        ("flowlib/models/mlp.py", "def f():\n" + "    x = 1\n" * 60),
    ],
)
def test_rules_fail_where_they_are_broken(path, source):
    assert broken_rules(path, source)


def test_late_imports_may_be_heavy():
    assert broken_rules("flowlib/cli.py", "def f():\n    import matplotlib\n    from flowlib.viz import images\n") == []


def module_of(path: str) -> str:
    return ".".join(Path(path).with_suffix("").parts).removesuffix(".__init__")


def cycles(edges: dict[str, set[str]]) -> list[str]:
    """Modules that can reach themselves."""

    def reach(start: str) -> set[str]:
        seen, stack = set(), [start]
        while stack:
            for after in edges.get(stack.pop(), ()):
                if after not in seen:
                    seen.add(after)
                    stack.append(after)
        return seen

    return [module for module in edges if module in reach(module)]


def test_no_import_cycles():
    known = {module_of(path) for path in FILES}
    edges = {}
    for path in FILES:
        named = {name for name, _, _ in imports(ast.parse((ROOT / path).read_text()))}
        edges[module_of(path)] = {name for name in named & known if name != module_of(path)}
    assert cycles(edges) == []
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c"]


def test_import_is_light():
    """Neither pictures nor scikit-learn nor the notebook stack come with the library."""
    heavy = ("matplotlib", "sklearn", "scipy", "ipywidgets", "IPython", "nbformat", "ot")
    code = f"import sys, flowlib, flowlib.cli; print([m for m in {heavy!r} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


def test_public_names_are_documented_and_annotated():
    """Every public function and class has a docstring, and every function says what it takes and returns."""
    missing = []
    for path in FILES:
        for node in ast.parse((ROOT / path).read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                functions = [n for n in ast.walk(node) if isinstance(n, ast.FunctionDef)]
                missing += [f"{path}:{f.name}" for f in functions if f.returns is None]
                if not ast.get_docstring(node):
                    missing.append(f"{path}:{node.name}")
    assert missing == []


@pytest.mark.parametrize("path", FILES)
def test_words_mean_one_thing(path):
    """A schedule is alpha_t and sigma_t, or that of a learning rate; both are called scheduler elsewhere."""
    assert not re.search(r"(?i)\bschedulers?\b", (ROOT / path).read_text())
