"""The ledger says what the cards say, and the cards belong to the weights that lie there."""

import hashlib
import json

from flowlib.recipes import ledger
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


def test_seeds(tmp_path):
    assert ledger(tmp_path / "ledger.jsonl", (-1,)) == []
    assert read(tmp_path / "ledger.jsonl") == []
