"""The comparison of times by captions: one training a seed, the same pictures for every density, rows that are kept."""

import importlib
import json
from dataclasses import replace

import torch

from flowlib.recipes import flux_shapes, mmdit_shapes

table = importlib.import_module("flowlib.recipes.times_shapes")  # the package has a function of this name
PLAN = replace(table.PLAN, steps=2, warmup=0, lr=1e-3, batch_size=4)


def test_a_seed_gives_one_training_and_touches_no_other_randomness():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (table.trained(table.TIMES["CosMap"], seed, PLAN) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first.net.parameters(), other.net.parameters(), strict=True))


def test_densities_differ_in_the_times_alone(monkeypatch):
    seen = []

    def loss(model, *batch, timesteps, generator):
        seen.append((batch, timesteps.sample(5, generator=generator), next(model.net.parameters()).detach().clone()))
        return sum(p.sum() for p in model.net.parameters())

    monkeypatch.setattr(table, "flow_matching", loss)
    for name in ("uniform", "mode 1.29"):
        table.trained(table.TIMES[name], 3, replace(PLAN, steps=1))
    (one, times, weights), (two, others, same) = seen
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert torch.equal(weights, same)
    assert not torch.equal(times, others)


def test_the_plan_and_one_law_are_those_of_the_recipe_whose_encoder_it_takes():
    recipe = flux_shapes("full")
    t, laws = torch.linspace(0.1, 0.9, 9), (recipe.loss.keywords["timesteps"], table.TIMES["logit-normal at -0.5"])
    assert torch.equal(*(law.density(t) for law in laws))
    changed = {"steps", "warmup", "ema"}
    assert {k: v for k, v in vars(table.PLAN).items() if k not in changed} == {
        k: v for k, v in vars(recipe.plan).items() if k not in changed
    }
    trained = mmdit_shapes("full").load().encoder.state_dict()
    torch.testing.assert_close(table.trained(table.TIMES["uniform"], 0, PLAN).encoder.state_dict(), trained)


def test_rows_that_are_there_are_kept(tmp_path):
    rows = [{"times": name, "seed": 0, "steps": table.PLAN.steps, "all": 0.5} for name in table.TIMES]
    file = tmp_path / "table.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert table.times_shapes(file, (0,)) == rows
