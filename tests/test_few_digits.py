"""The comparison of networks on few digits: the same digits for both, moves by exactly one pixel, rows kept."""

import importlib
import json
from dataclasses import replace

import torch

from flowlib.datasets import digits
from flowlib.recipes import few_digits as fill_table
from flowlib.recipes.few_digits import NETS, PLAN, SETS, moved_by_one, read_digits

MODULE = importlib.import_module("flowlib.recipes.few_digits")  # the package has a function of that name
QUICK = replace(PLAN, steps=2, warmup=0)


def test_pictures_are_moved_to_each_side(generator):
    x, c = torch.randn(3, 1, 4, 5, generator=generator), torch.tensor([7, 8, 9])
    moved = moved_by_one(x, c)
    down, up, right, left = moved.x.split(3)
    for there, back, axis in ((down, up, 2), (right, left, 3)):
        n = x.shape[axis] - 1
        assert torch.equal(there.narrow(axis, 1, n), x.narrow(axis, 0, n))
        assert torch.equal(back.narrow(axis, 0, n), x.narrow(axis, 1, n))
        assert bool((there.narrow(axis, 0, 1) == -1).all())
        assert bool((back.narrow(axis, n, 1) == -1).all())
    assert torch.equal(moved.c, c.repeat(4))


def test_both_networks_of_a_seed_see_the_same_batches(monkeypatch):
    """Whatever a network draws for itself, dropout or weights; another seed means other digits."""
    seen = {}

    def watch(loss, model, batches, plan):
        seen[type(model).__name__, seed] = [next(batches) for _ in range(3)]
        return iter(())

    monkeypatch.setattr(MODULE, "train", watch)
    before = torch.get_rng_state()
    for seed in (0, 1):
        for net in NETS:
            read_digits(net, 100, True, seed)
    assert torch.equal(torch.get_rng_state(), before)
    for seed in (0, 1):
        pairs = zip(seen["Classifier", seed], seen["ViT", seed], strict=True)
        assert all(torch.equal(a, b) for mine, theirs in pairs for a, b in zip(mine, theirs, strict=True))
    assert not torch.equal(seen["ViT", 0][0][0], seen["ViT", 1][0][0])


def test_only_so_many_digits_are_seen(monkeypatch):
    seen = []

    def watch(loss, model, batches, plan):
        seen.extend(next(batches)[0] for _ in range(5))
        return iter(())

    monkeypatch.setattr(MODULE, "train", watch)
    read_digits("transformer", 100, False, 0)
    distinct = torch.cat(seen).flatten(1).unique(dim=0)
    assert 64 < len(distinct) <= 100
    train = digits("train").x.flatten(1)
    assert float(torch.cdist(distinct, train).min(1).values.max()) < 1e-5


def test_a_row_is_the_same_again_and_kept(tmp_path):
    once, again = (read_digits("transformer", 100, True, 3, plan=QUICK) for _ in range(2))
    assert once == again
    rows = [
        {"net": net, "digits": n, "moved": moved, "seed": 0, "steps": PLAN.steps, "as they are": 0.5}
        for n, moved in SETS
        for net in NETS
    ]
    table = tmp_path / "table.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert fill_table(table, (0,)) == rows
