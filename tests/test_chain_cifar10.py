"""The table of the CIFAR-10 chain: what it reads from the cards, what it measures, and what it does without a stage."""

import json
import sys
from dataclasses import replace

import pytest
import torch
from pictures import ROWS, write_sets

from flowlib.datasets import cifar10
from flowlib.errors import InputError
from flowlib.evaluation import features, frechet_distance
from flowlib.recipes import RECIPES
from flowlib.recipes import chain_cifar10 as fill_table
from flowlib.recipes.card import write_card
from flowlib.recipes.judges import judges_of
from flowlib.sampling import sample
from flowlib.solvers import EULER
from flowlib.training import forward_flops, save_checkpoint


@pytest.fixture
def chain(tmp_path, monkeypatch):
    """Weights and cards of the first two stages in ``runs``, the same weights in both; forty training pictures."""
    write_sets(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    module = sys.modules["flowlib.recipes.chain_cifar10"]
    monkeypatch.setattr(module, "STEPS", (1, 3))
    small = replace(module.PROTOCOLS["laptop"], n=ROWS["test"], reference=ROWS["train"])
    monkeypatch.setitem(module.PROTOCOLS, "laptop", small)
    model = RECIPES["rf_cifar10"]().build()
    torch.nn.init.constant_(list(model.parameters())[-1], 0.1)
    for name in ("rf_cifar10", "rf2_cifar10"):
        keep(tmp_path, name, model)
    return tmp_path, model


def keep(folder, name, model):
    path = folder / "runs" / name / f"{name}.safetensors"
    save_checkpoint(path, model)
    recipe = RECIPES[name]().changed(steps=7, batch_size=3)
    write_card(path.with_suffix(".json"), recipe, scale="laptop", weights=path, seconds=90, device="cpu", metrics={})


def test_a_stage_that_is_missing_is_told_and_the_rows_before_it_are_kept(chain, unchecked):
    folder, model = chain
    with pytest.raises(InputError, match=r"rf2_cifar10_distilled: expected trained weights .* Run `flowlib train rf2_"):
        fill_table(folder / "table.jsonl")
    rows = [json.loads(line) for line in (folder / "table.jsonl").read_text().splitlines()]
    assert [row["stage"] for row in rows] == ["rf_cifar10", "rf2_cifar10"]
    keep(folder, "rf2_cifar10_distilled", model)
    again = fill_table(folder / "table.jsonl")
    assert again[:2] == rows
    assert [row["stage"] for row in again[2:]] == ["rf2_cifar10_distilled"]
    assert not [key for key in again[2] if key.endswith("Euler 3")]  # a student knows t = 0 alone


def test_rows_hold_the_budget_and_the_distances(chain):
    folder, model = chain
    keep(folder, "rf2_cifar10_distilled", model)
    first, second, _ = fill_table(folder / "table.jsonl", (5,))
    assert first["pictures"] == 21
    assert first["minutes"] == 1.5
    assert second["data"] == RECIPES["rf2_cifar10"]().data
    one = torch.zeros(1, 3, 32, 32), torch.zeros(1)
    assert first["operations"] == 3 * 21 * forward_flops(model.eval(), *one)
    (judge,) = judges_of("cifar10")
    real, held_out = (features(judge.features, cifar10(split).x) for split in ("train", "test"))
    x_0 = torch.randn(20, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    drawn = features(judge.features, sample(model, x_0, steps=3, method=EULER))
    told = f"{judge.name}, n=20 against 40"
    for row in (first, second):  # the same weights and the same noise
        assert row[f"Frechet distance ({told}), Euler 3"] == pytest.approx(
            frechet_distance(drawn, real).value, rel=1e-3
        )
        floor = row[f"its floor ({judge.name}, held out, n=20 against 40)"]
        assert floor == pytest.approx(frechet_distance(held_out, real).value, rel=1e-3)


def test_a_card_that_is_missing_is_told(chain, unchecked):
    folder, _ = chain
    (folder / "runs" / "rf_cifar10" / "rf_cifar10.json").unlink()
    with pytest.raises(InputError, match=r"rf_cifar10: expected a card beside the weights, got no .*to its end"):
        fill_table(folder / "table.jsonl")
