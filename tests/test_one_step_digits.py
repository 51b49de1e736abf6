"""The comparison of one-step models on digits: one budget, one start, rows kept."""

import importlib
import json
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from flowlib.recipes import one_step_digits as fill_table
from flowlib.recipes.one_step_digits import LOSSES, NET, PLAN, REFLOW, draw_and_judge, train_way

MODULE = importlib.import_module("flowlib.recipes.one_step_digits")  # the package has a function of that name
QUICK = replace(PLAN, steps=4, warmup=0, batch_size=8)


def operations(f):
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        f()
    return counter.get_total_flops()


@pytest.mark.parametrize("way", LOSSES)
def test_the_price_of_a_loss_is_what_torch_counts(way, generator):
    net, (x_0, x_1) = NET(average=way != "flow matching"), torch.randn(2, 8, 1, 8, 8, generator=generator)
    c, t = torch.arange(8), torch.full((8,), 0.5)
    loss, cost = LOSSES[way]
    with torch.no_grad():
        value = operations(lambda: net(x_0, t, c))
    step = operations(lambda: loss(net, x_0, x_1, c, generator=generator).backward())
    assert step / value == pytest.approx(cost, rel=0.02)


def test_every_way_spends_the_budget_and_no_more(monkeypatch):
    """Reflow with its pairs too; what is left over is less than one step."""
    steps = []

    def watch(loss, model, batches, plan):
        steps.append(plan.steps)
        return model.eval()

    monkeypatch.setattr(MODULE, "train_average", watch)
    monkeypatch.setattr(MODULE, "flow_pairs", lambda v, x_0, c, steps: MODULE.Pairs(x_0, x_0, c))
    monkeypatch.setattr(MODULE, "judge_drawn", lambda x: {})
    monkeypatch.setattr(MODULE, "N_PAIRS", 600)
    budget = 3 * PLAN.steps * PLAN.batch_size
    spent = {way: train_way(way, 0)[1] for way in LOSSES}
    monkeypatch.setattr(MODULE, "sample", lambda *_, **__: None)
    steps.clear()
    spent[REFLOW] = draw_and_judge(REFLOW, 0)["evaluations"]
    assert all(budget - 5 * PLAN.batch_size < one <= budget for one in spent.values()), spent
    assert len(steps) == 3
    assert 3 * PLAN.batch_size * sum(steps) + 600 * 2 * (10 + 3) == spent[REFLOW]


def test_ways_of_a_seed_start_alike_and_touch_no_global_seed(monkeypatch):
    seen = {}

    def watch(loss, model, batches, plan):
        seen[len(seen)] = ({k: v.clone() for k, v in model.state_dict().items()}, next(batches))
        return model.eval()

    monkeypatch.setattr(MODULE, "train_average", watch)
    before = torch.get_rng_state()
    for way, seed in (("mean flow", 0), ("shortcut", 0), ("flow matching", 0), ("mean flow", 1)):
        train_way(way, seed, QUICK)
    assert torch.equal(torch.get_rng_state(), before)
    for k in (1, 2):
        shared = seen[0][0].keys() & seen[k][0].keys()
        assert all(torch.equal(seen[0][0][name], seen[k][0][name]) for name in shared)
        assert all(torch.equal(a, b) for a, b in zip(seen[0][1], seen[k][1], strict=True))
    assert not torch.equal(seen[0][0]["stem.weight"], seen[3][0]["stem.weight"])


def test_a_row_is_the_same_again(monkeypatch):
    drawn = []
    monkeypatch.setattr(MODULE, "judge_drawn", lambda x: drawn.append(x) or {})
    draw = partial(draw_and_judge, "consistency", 0, QUICK)
    assert draw() == draw()
    assert len(drawn) == 6
    assert all(torch.equal(a, b) for a, b in zip(drawn[:3], drawn[3:], strict=True))
    assert drawn[0].shape == (1437, 1, 8, 8)


def test_rows_that_are_there_are_kept(tmp_path):
    rows = [{"way": way, "seed": 0, "steps": PLAN.steps, "recognised 1": 0.5} for way in (*LOSSES, REFLOW)]
    path = tmp_path / "table.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert fill_table(path, (0,)) == rows
