"""Recipes of latents: an autoencoder is trained, gets its constants, encodes a set once, and a DiT learns from that."""

import hashlib
import json
import sys
from pathlib import Path

import pytest
import torch
from pictures import write_sets
from safetensors.torch import load_file, save_file

from flowlib.datasets import digits
from flowlib.errors import InputError
from flowlib.models import Autoencoder
from flowlib.recipes import dit_latents_cifar10, latents_digits, rate_digits, vae_cifar10, vae_digits
from flowlib.recipes.latents_digits import ARMS, cost
from flowlib.recipes.recipe import WEIGHTS
from flowlib.training import Plan, save_checkpoint

FOLDER = Path("runs/vae_cifar10")  # in the folder of the test


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """The weights of a short run, where ``flowlib train`` leaves them."""
    write_sets(tmp_path / "sets", monkeypatch)
    monkeypatch.chdir(tmp_path)
    recipe = vae_cifar10().changed(steps=3, batch_size=4)
    run = recipe.start()
    list(run.steps)
    model = recipe.finished(run)
    save_checkpoint(tmp_path / "runs" / "vae_cifar10" / "vae_cifar10.safetensors", model)
    return model


def test_the_constants_are_measured_after_the_last_step_and_kept_with_the_weights(trained):
    assert isinstance(trained, Autoencoder)
    assert float(trained.scale) != 1
    kept = load_file("runs/vae_cifar10/vae_cifar10.safetensors")
    assert torch.equal(kept["scale"], trained.scale)
    assert torch.equal(kept["shift"], trained.shift)


def test_a_set_is_encoded_once_and_read_by_the_flow(trained, monkeypatch):
    """On a set of 40 pictures; the second run finds the latents, and no step runs the encoder."""
    recipe = dit_latents_cifar10().changed(steps=3, batch_size=4)

    def losses():
        torch.manual_seed(0)  # of the times, and of the labels that are dropped
        return [step.loss for step in recipe.start().steps]

    first = losses()
    (folder,) = [path.parent for path in FOLDER.rglob("index.json")]
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != "index.json"}
    x = recipe.draw(recipe.build(), 3, torch.Generator().manual_seed(0))
    assert x.shape == (3, 3, 32, 32)
    monkeypatch.setattr(Autoencoder, "encode", lambda self, x: pytest.fail("encoded again"))
    assert losses() == first
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != "index.json"} == before


def test_constants_that_do_not_fit_the_latents_are_told(trained):
    file = FOLDER / "vae_cifar10.safetensors"
    state = load_file(file)
    save_file(state | {"scale": 3 * state["scale"]}, file)
    with pytest.raises(InputError, match="latents: expected about the constants of the autoencoder"):
        next(dit_latents_cifar10().batches(4, torch.Generator()))


def test_without_an_autoencoder_the_recipe_says_which_to_train(tmp_path, monkeypatch):
    write_sets(tmp_path / "sets", monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flowlib.recipes.stages.WEIGHTS", tmp_path)
    with pytest.raises(InputError, match=r"trained weights of vae_cifar10, .* Run `flowlib train vae_"):
        next(dit_latents_cifar10().batches(4, torch.Generator()))


def test_the_shipped_autoencoder_of_digits_is_small_and_standard():
    model = vae_digits().load()
    assert (WEIGHTS / "vae_digits.safetensors").stat().st_size < 5e6
    with torch.no_grad():
        z = model.latents(digits("test").x, torch.Generator().manual_seed(0))
    assert abs(float(z.mean())) < 0.1
    assert 0.7 < float(z.std()) < 1.3


def test_the_tables_fill_a_row_a_cell(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["flowlib.recipes.rate_digits"], "BETAS", (0.3, 0.01))
    monkeypatch.setattr(sys.modules["flowlib.recipes.rate_digits"], "LONG", {"beta": 0.1, "steps": 4})
    few = Plan(steps=3, batch_size=8, lr=1e-3, ema=0.5)
    rows = rate_digits(tmp_path / "rate.jsonl", seeds=(0,), plan=few)
    assert [(row["beta"], row["steps"]) for row in rows] == [(0.3, 3), (0.01, 3), (0.1, 4)]
    assert all({"rate", "squared error", "PSNR"} <= row.keys() for row in rows)
    rows = latents_digits(tmp_path / "latents.jsonl", seeds=(0,), budget=2)
    assert [row["arm"] for row in rows] == list(ARMS)
    spent = [row["steps"] * cost(ARMS[row["arm"]]) for row in rows]
    assert max(spent) / min(spent) < 1.15  # equal compute, but for a fraction of a step


def test_facts_name_the_weights(trained):
    next(dit_latents_cifar10().batches(4, torch.Generator()))
    (index,) = FOLDER.rglob("index.json")
    digest = hashlib.sha256((FOLDER / "vae_cifar10.safetensors").read_bytes()).hexdigest()
    assert json.loads(index.read_text())["facts"]["weights"] == digest
