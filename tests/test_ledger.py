"""The ledger says what the cards say, and the cards belong to the weights that lie there."""

import hashlib
import json
import re
import subprocess
from functools import partial

from flowlib.recipes import ledger
from flowlib.recipes.card import commit_of
from flowlib.recipes.ledger import RESULTS_FOLDER, WEIGHTS
from flowlib.recipes.results import read


def test_the_ledger_is_fresh(tmp_path):
    """Run `flowlib results ledger` after weights have changed."""
    assert read(RESULTS_FOLDER / "ledger.jsonl") == json.loads(json.dumps(ledger(tmp_path / "ledger.jsonl")))


def test_every_weight_has_its_row(tmp_path):
    rows = {row["sha256"]: row for row in ledger(tmp_path / "ledger.jsonl")}
    files = sorted(WEIGHTS.glob("*.safetensors"))
    assert [rows[hashlib.sha256(file.read_bytes()).hexdigest()]["run"] for file in files] == [f.stem for f in files]
    for row in rows.values():
        assert row["minutes"] > 0
        assert row["samples"] >= 1000
        assert row["protocol"] == list(row["result"])
    assert read(tmp_path / "ledger.jsonl") == list(rows.values())


def test_every_weight_has_its_command(tmp_path):
    readme = (WEIGHTS.parent / "README.md").read_text()
    commands = re.findall(r"\| `(\w+)` \| `flowlib train (\w+)( --scale full)?(?: --half)? --out data/weights`", readme)
    want = [(row["run"], row["scale"] == "full") for row in ledger(tmp_path / "ledger.jsonl")]
    assert [(name, bool(full)) for name, made, full in commands if name == made] == want


def test_seeds(tmp_path):
    assert ledger(tmp_path / "ledger.jsonl", (-1,)) == []
    assert read(tmp_path / "ledger.jsonl") == []


def test_a_card_names_the_commit_and_whether_the_code_is_another(tmp_path):
    """Weights that were written over do not make a checkout another one; a changed line of code does."""
    assert commit_of(tmp_path) == "unknown"
    git = partial(subprocess.run, cwd=tmp_path, check=True, capture_output=True, text=True)
    (tmp_path / "data").mkdir()
    code, weights = tmp_path / "code.py", tmp_path / "data" / "weights"
    code.write_text("x = 1\n")
    weights.write_text("1")
    git(["git", "init", "-q"])
    git(["git", "add", "."])
    git(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "-m", "Begin"])
    head = git(["git", "rev-parse", "HEAD"]).stdout[:12]
    weights.write_text("2")
    assert commit_of(tmp_path / "data") == head
    code.write_text("x = 2\n")
    assert commit_of(tmp_path) == f"{head}-dirty"
