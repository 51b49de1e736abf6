"""The table of the CIFAR-10 chain, read from the cards of its stages."""

import json

import pytest
import torch

from flowlib.errors import InputError
from flowlib.estimates import Estimate
from flowlib.recipes import RECIPES
from flowlib.recipes import chain_cifar10 as write_table
from flowlib.recipes.card import write_card
from flowlib.training import forward_flops

METRICS = {
    "its floor (judge, MIDPOINT 10 steps, held out, n=9 against 20)": Estimate(7.0, 0.0),
    "its floor (judge, held out, n=9 against 20)": Estimate(1.0, 0.0),
    "Frechet distance (judge, MIDPOINT 10 steps, n=9 against 20)": Estimate(6.0, 0.0),
    "Frechet distance (judge, n=9 against 20), Euler 1": Estimate(5.0, 0.0),
    "Frechet distance (judge, n=9 against 20), Euler 100": Estimate(4.0, 0.0),
}


@pytest.fixture
def chain(tmp_path, monkeypatch):
    """Empty weights and cards of the three stages, of seven steps with three pictures and a minute and a half each."""
    monkeypatch.chdir(tmp_path)
    for name in ("rf_cifar10", "rf2_cifar10", "rf2_cifar10_distilled"):
        path = tmp_path / "runs" / name / f"{name}.safetensors"
        path.parent.mkdir(parents=True)
        path.touch()
        recipe = RECIPES[name]().changed(steps=7, batch_size=3)
        card = {"scale": "laptop", "weights": path, "seconds": 90, "device": "cpu", "metrics": METRICS}
        write_card(path.with_suffix(".json"), recipe, **card)
    return tmp_path


def test_a_row_holds_the_budget_and_what_the_stage_printed(chain):
    rows = write_table(chain / "table.jsonl")
    assert [json.loads(line) for line in (chain / "table.jsonl").read_text().splitlines()] == rows
    assert [row["stage"] for row in rows] == ["rf_cifar10", "rf2_cifar10", "rf2_cifar10_distilled"]
    for row in rows:
        model = RECIPES[row["stage"]]().build().eval()
        assert row["parameters"] == sum(p.numel() for p in model.parameters())
        assert row["pictures"] == 21
        assert row["operations"] == 3 * 21 * forward_flops(model, torch.zeros(1, 3, 32, 32), torch.zeros(1))
        assert (row["minutes"], row["scale"], row["data"]) == (1.5, "laptop", RECIPES[row["stage"]]().data)
        assert list(row["Frechet"].values()) == [5.0, 4.0]
        assert list(row["floor"].values()) == [1.0]


def test_a_stage_that_is_missing_is_told_and_the_table_is_left_as_it_is(chain):
    (chain / "table.jsonl").write_text("old")
    folder = chain / "runs" / "rf2_cifar10"
    (folder / "rf2_cifar10.json").unlink()
    with pytest.raises(InputError, match=r"rf2_cifar10: expected a card beside the weights, got no .*to its end"):
        write_table(chain / "table.jsonl")
    (folder / "rf2_cifar10.safetensors").unlink()
    with pytest.raises(InputError, match=r"rf2_cifar10: expected trained weights .* Run `flowlib train rf2_cifar10`"):
        write_table(chain / "table.jsonl")
    assert (chain / "table.jsonl").read_text() == "old"
