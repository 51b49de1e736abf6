"""The comparison of encoders: the same training but for who reads, rows that are kept."""

import importlib
import json
from dataclasses import replace

import torch

from flowlib.recipes import mmdit_shapes

table = importlib.import_module("flowlib.recipes.encoders_shapes")  # the package has a function of this name
PLAN = replace(table.PLAN, steps=4, warmup=0, batch_size=4)  # what starts at zero lets the encoder learn from step 3 on


def test_an_encoder_of_its_own_is_trained_and_the_other_stays_as_it_is(monkeypatch):
    models = {}

    def kept(*args, **kwargs):
        models[kwargs["listen"]] = trained(*args, **kwargs)
        return models[kwargs["listen"]]

    trained = table.trained
    monkeypatch.setattr(table, "trained", kept)
    monkeypatch.setattr(table, "DRAWN", 4)
    for name in table.ENCODERS:
        row = table._measure(name, 0, 4, PLAN)
        assert 0 <= row["all"] <= row["relation"] <= 1
    ready = mmdit_shapes("full").load().encoder.state_dict()
    assert all(torch.equal(v, ready[name]) for name, v in models[True].encoder.state_dict().items())
    assert any(not torch.equal(v, ready[name]) for name, v in models[False].encoder.state_dict().items())
    fresh = trained(table.TIMES, 0, replace(PLAN, steps=1, lr=1e-12), listen=False).encoder.state_dict()
    assert any(not torch.equal(v, fresh[name]) for name, v in models[False].encoder.state_dict().items())


def test_rows_that_are_there_are_kept(tmp_path):
    rows = [{"encoder": name, "seed": 0, "steps": table.PLAN.steps, "all": 0.5} for name in table.ENCODERS]
    file = tmp_path / "table.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert table.encoders_shapes(file, (0,)) == rows
