"""The comparison of orders on digits: what the turns are, equal starts, rows kept."""

import importlib
import json
from dataclasses import replace

import pytest
import torch

from flowlib.datasets import digits
from flowlib.datasets.labelled import Labelled
from flowlib.estimates import Estimate
from flowlib.recipes import orders_digits as fill_table
from flowlib.recipes.mar_digits import TURNS, dequantised
from flowlib.recipes.orders_digits import ASKED, PLAN, WAYS, judge_row, steps_of, train_order

MODULE = importlib.import_module("flowlib.recipes.orders_digits")  # the package has a function of that name
MAR_DIGITS = importlib.import_module("flowlib.recipes.mar_digits")
QUICK = replace(PLAN, steps=2, warmup=0, batch_size=8)


def neighbours(rounds):
    """Pairs of patches side by side that are drawn in the same round."""
    grid = rounds.reshape(4, 4)
    return int((grid[1:] == grid[:-1]).sum() + (grid[:, 1:] == grid[:, :-1]).sum())


def test_turns_are_what_their_names_say():
    sizes = {name: rounds.bincount().tolist() for name, rounds in TURNS.items()}
    assert sizes["one by one"] == sizes["shuffled"] == 16 * [1]
    assert TURNS["one by one"].tolist() == list(range(16)) != TURNS["shuffled"].tolist()
    assert sizes["growing"] == [1, 1, 2, 4, 8]
    assert sizes["four, apart"] == sizes["four, a row"] == [4, 4, 4, 4]
    assert sizes["all at once"] == [16]
    together = {name: neighbours(rounds) for name, rounds in TURNS.items()}
    assert together["four, apart"] == together["growing"] == 0 < together["four, a row"] == 12
    assert set().union(*ASKED.values()) == set(TURNS)


def test_digits_have_noise_of_one_grey_level():
    x_0, x_1, c = next(dequantised(64, torch.Generator().manual_seed(0)))
    assert x_0.shape == x_1.shape == (64, 1, 8, 8)
    assert c.shape == (64,)
    off = 8 * x_1 - (8 * x_1).round()
    assert 0.49 < float(off.abs().max()) <= 0.5
    assert float(off.var()) == pytest.approx(1 / 12, rel=0.1)
    levels = (8 * x_1).round() / 8
    nearest = torch.cdist(levels.flatten(1), digits("train").x.flatten(1)).min(1).values
    assert float(nearest.max()) < 1e-3


def test_a_seed_gives_one_training_and_touches_no_other_randomness():
    before = torch.get_rng_state()
    for way in WAYS:
        first, again, other = (train_order(way, seed, QUICK) for seed in (0, 0, 1))
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
        assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    assert torch.equal(torch.get_rng_state(), before)


def test_all_ways_start_from_the_same_batch(monkeypatch):
    seen = []
    monkeypatch.setattr(MODULE, "train_average", lambda loss, net, batches, plan: seen.append(next(batches)) or net)
    for way in WAYS:
        train_order(way, 3, QUICK)
    for other in seen[1:]:
        assert all(torch.equal(a, b) for a, b in zip(seen[0], other, strict=True))


@pytest.mark.parametrize("way", WAYS)
def test_a_row_has_its_numbers(way, monkeypatch):
    drawn = []
    for module in (MODULE, MAR_DIGITS):
        monkeypatch.setattr(module, "bits_per_dim", lambda flow, x, c, **_: Estimate(1.0, 0.1))
        monkeypatch.setattr(module, "judge_drawn", lambda x: drawn.append(x) or {"recognised": Estimate(0.5, 0.1)})
    net, few = train_order(way, 0, QUICK), Labelled(*(part[:20] for part in digits("train")))
    for module in (MODULE, MAR_DIGITS):
        monkeypatch.setattr(module, "digits", lambda split: few)
    row = judge_row(net, way, 0)
    turns = ASKED.get(way, ("whole",))
    assert set(row) == {f"{what} {name}" for what in ("bits/dim", "recognised") for name in turns}
    assert all(x.shape == (20, 1, 8, 8) for x in drawn)
    assert len(drawn) == len(turns)


def test_rows_that_are_there_are_kept(tmp_path):
    rows = [{"way": way, "seed": 0, "steps": steps_of(way, PLAN), "bits/dim": 2.0} for way in WAYS]
    path = tmp_path / "table.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert fill_table(path, (0,)) == rows
