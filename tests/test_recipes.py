"""Every recipe trains, draws and judges, on tiny sets of pictures where the real ones would have to be downloaded."""

import math

import pytest
import torch
from pictures import write_sets
from torch import nn

from flowlib.datasets import cifar10
from flowlib.errors import InputError
from flowlib.models import UNet
from flowlib.recipes import RECIPES, glow_cifar10
from flowlib.recipes.pictures import LAPTOP, judge_pictures
from flowlib.tensors import to_uint8

# these need the weights of a stage before
LATER = {name for name in RECIPES if name.startswith("rf2_")} - {"rf2_digits"} | {"dit_latents_cifar10"}
OF_PICTURES = sorted(name for name in RECIPES if {"cifar10", "fashion"} & set(name.split("_")) and name not in LATER)
UNASKED = "attention.text.norm_q.weight"  # of SD3's last block: released, though nobody reads what its text asks


@pytest.fixture(autouse=True)
def sets(tmp_path, monkeypatch):
    write_sets(tmp_path, monkeypatch)
    return tmp_path


@pytest.mark.parametrize("name", sorted(RECIPES.keys() - LATER))
def test_ten_steps(name):
    """Ten steps at laptop scale; by then branches that start at zero have let a gradient through to every parameter."""
    recipe = RECIPES[name]().changed(steps=10, batch_size=4)
    assert recipe.name == name
    run = recipe.start()
    steps = list(run.steps)
    assert [step.n for step in steps] == list(range(1, 11))
    assert all(math.isfinite(step.loss) for step in steps)
    trained = [(n, p) for n, p in run.model.named_parameters() if p.requires_grad]
    idle = [n for n, p in trained if p.grad is None or not bool(p.grad.any())]
    assert [n for n in idle if not n.endswith(UNASKED)] == []
    if recipe.draw is not None:
        x = recipe.draw(run.ema.model, 4, torch.Generator().manual_seed(0))
        assert 2 <= len(x) <= 4  # a transfer starts from held-out pictures, of which a class has two here
        assert bool(torch.isfinite(x).all())
    if name in OF_PICTURES:
        metrics = recipe.evaluate(run.ema.model)
        assert metrics
        assert all(math.isfinite(m.value) for m in metrics.values())


@pytest.mark.parametrize("name", sorted(LATER))
def test_a_later_stage_says_which_comes_before(name, monkeypatch, tmp_path, unchecked):
    """Where the weights are, ``test_stages.py`` runs the chain."""
    monkeypatch.setattr("flowlib.recipes.stages.WEIGHTS", tmp_path)  # the book ships some
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"lowlib train (rf2?|vae)_(digits|fashion|cifar10)"):
        RECIPES[name]().changed(batch_size=4).start()


@pytest.mark.parametrize("name", OF_PICTURES)
def test_without_its_set_a_recipe_says_how_to_get_it(name, monkeypatch, tmp_path, unchecked):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("FLOWLIB_DATA", str(tmp_path / "empty"))
    with pytest.raises(InputError, match="with flowlib data get"):
        RECIPES[name]().changed(batch_size=4).start()


def test_the_full_glow_has_the_published_size():
    """44 M parameters, as Durkan et al. 2019 count them for Glow on CIFAR-10."""
    model = glow_cifar10("full").build()
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(44e6, rel=0.03)


def test_the_report_of_a_field_that_is_zero():
    """Such a field draws its own noise, costs what a standard normal does, and loses E |x_1|^2 / n + 1."""
    v = UNet(3, width=8, multipliers=(1, 2), blocks=1, attention=())  # starts at zero
    train, test = cifar10("train"), cifar10("test")
    seen = {}

    def encode(x):
        seen[len(x)] = x
        return nn.functional.avg_pool2d(x, 16).flatten(1)

    report = judge_pictures(v, LAPTOP, train=train, test=test, by_class=False, judges={"means": encode})
    x = test.x.double()
    bits = (0.5 * x[:10].square() + 0.5 * math.log(2 * math.pi)).mean() / math.log(2) + math.log2(255 / 2)
    assert report["bits/dim, held out, n=10, K=1, RK4 10, one probe"].value == pytest.approx(float(bits), rel=1e-3)
    assert report["loss, held out, n=20"].value == pytest.approx(float(x.square().mean()) + 1, rel=0.02)
    assert {40, 20} == set(seen)  # the training set, as the reference, and as many drawn as there are held out
    assert "Frechet distance (means, MIDPOINT 10 steps, n=20 against 40)" in report
    drawn = report["nearest of 40 training pictures, drawn, n=20"]
    held_out = report["nearest of 40 training pictures, held out, n=20"]
    assert drawn.value > 1.2 * held_out.value
    few = RECIPES["rf_cifar10"]().draw(v, 3, torch.Generator().manual_seed(1))
    noise = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(to_uint8(few), to_uint8(noise))
