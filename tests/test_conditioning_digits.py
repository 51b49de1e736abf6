"""The comparison of conditionings on digits: equal compute, equal seeds, and rows that are kept."""

import json
from dataclasses import replace

import pytest
import torch

from flowlib.recipes import conditioning_digits as fill_table
from flowlib.recipes.conditioning_digits import (
    CONDITIONINGS,
    PLAN,
    RATES,
    _trained,
    multiply_adds,
    steps_at_equal_compute,
)


def test_the_ways_differ_in_cost_as_counted_by_hand():
    """Width 64, 16 tokens, 4 blocks; two tokens more in context, a third branch for cross-attention."""
    h, n, depth, m = 64, 16, 4, 2
    outside = 2 * n * 4 * h + 256 * h + h**2  # patches in and out, and the perceptron of time

    def blocks(n):
        return depth * (12 * h**2 * n + 2 * n**2 * h)

    assert multiply_adds("adaln_zero") == outside + blocks(n) + depth * 6 * h**2 + 2 * h**2
    assert multiply_adds("adaln") == outside + blocks(n) + depth * 4 * h**2 + 2 * h**2
    assert multiply_adds("in_context") == outside + blocks(n + m)
    cross = depth * (2 * n * h**2 + 2 * m * h**2 + 2 * n * m * h)
    assert multiply_adds("cross_attention") == outside + blocks(n) + cross


@pytest.mark.parametrize("way", CONDITIONINGS)
def test_all_spend_the_same(way):
    spent, budget = (multiply_adds(w) * steps_at_equal_compute(w, 1000) for w in (way, "adaln_zero"))
    assert spent == pytest.approx(budget, rel=1e-3)


def test_a_seed_gives_one_training_and_touches_no_other_randomness():
    plan = replace(PLAN, steps=2, warmup=0, lr=1e-3)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (_trained("in_context", seed, plan) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_rows_that_are_there_are_kept(tmp_path):
    rows = [
        {"conditioning": way, "lr": lr, "seed": 0, "steps": steps_at_equal_compute(way, PLAN.steps), "loss": 1.0}
        for lr in RATES
        for way in CONDITIONINGS
    ]
    table = tmp_path / "table.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert fill_table(table, (0,)) == rows
