"""A stage learns from the one before it: its weights, its pairs, made once and continued after a kill."""

import importlib
from dataclasses import replace
from functools import partial

import pytest
import torch

from flowlib.datasets import digits
from flowlib.densities import Gaussian
from flowlib.errors import InputError
from flowlib.models import UNet
from flowlib.objectives import flow_matching
from flowlib.recipes import RECIPES, Recipe
from flowlib.recipes import stages as stages_module
from flowlib.recipes.reflow_2d import LAWS, Judged
from flowlib.recipes.stages import load_teacher, pairs_of, weights_of
from flowlib.sampling import sample
from flowlib.solvers import MIDPOINT
from flowlib.tensors import to_float, to_uint8
from flowlib.training import Plan, save_checkpoint


@pytest.fixture
def teacher(tmp_path, monkeypatch):
    """A tiny untrained flow whose weights lie where the command line would put them."""
    monkeypatch.chdir(tmp_path)
    recipe = Recipe(
        name="tiny",
        model=partial(UNet, 1, 3, width=8, multipliers=(1, 2), blocks=1),
        batches=lambda batch_size, generator: iter(()),
        loss=flow_matching,
        plan=Plan(steps=1),
        evaluate=lambda model: {},
        draw=None,
        data="none",
    )
    model = recipe.build()
    with torch.no_grad():  # an untrained field is zero at the readout: give it something to say
        for p in list(model.parameters())[-2:]:
            p.add_(0.02)
    save_checkpoint(tmp_path / "runs" / "tiny" / "tiny.safetensors", model)
    return recipe


def pairs(teacher, shards=2):
    return pairs_of(teacher, (1, 4, 4), num_classes=3, shards=shards, size=3)


def test_pairs_are_those_of_the_trained_flow(teacher):
    made = pairs(teacher)
    model = teacher.load(weights_of(teacher))
    x_0, x_1, c = made.load(1)
    fine = sample(model, x_0, c, steps=128, method=MIDPOINT)
    assert float((x_1 - fine).square().mean().sqrt()) < 1e-3
    assert float((x_1 - x_0).square().mean().sqrt()) > 0.02
    assert not torch.equal(made.load(0).x_0, x_0)
    assert made.facts["teacher"] == "tiny"


def test_a_killed_generation_goes_on_with_the_same_pairs(teacher, monkeypatch):
    whole = [pairs(teacher).load(k) for k in range(2)]
    folder = stages_module.RUNS / "tiny" / "pairs"
    (folder / "pairs-00001.safetensors").unlink()
    made = []
    real = stages_module.flow_pairs
    monkeypatch.setattr(stages_module, "flow_pairs", lambda *a, **k: made.append(1) or real(*a, **k))
    again = pairs(teacher)
    assert len(made) == 1
    for k in range(2):
        for a, b in zip(whole[k], again.load(k), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_pairs_of_other_weights_are_refused(teacher):
    pairs(teacher, shards=1)
    model = teacher.load(weights_of(teacher))
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)
    save_checkpoint(weights_of(teacher), model)
    with pytest.raises(InputError, match=r"weights = .* there"):
        pairs(teacher, shards=1)


def test_a_missing_stage_is_told(teacher):
    (stages_module.RUNS / "tiny" / "tiny.safetensors").unlink()
    message = r"tiny: expected trained weights of tiny, the stage before, got no .*. Run `flowlib train tiny` first"
    with pytest.raises(InputError, match=message):
        pairs(teacher)


def test_a_stage_starts_from_the_weights_of_the_one_before(teacher):
    want = teacher.load(weights_of(teacher)).state_dict()
    stage = replace(teacher, name="next", warm=partial(load_teacher, teacher))
    for name, value in stage.start().model.state_dict().items():
        torch.testing.assert_close(value, want[name])


@pytest.mark.parametrize(("stage", "before"), [("rf2_digits", "rf_digits"), ("rf2_digits_distilled", "rf2_digits")])
def test_the_digits_go_through_their_stages(stage, before):
    model = RECIPES[stage]("full").build()
    RECIPES[stage]("full").warm(model)
    for name, value in RECIPES[before]().load().state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value)


def test_the_chain_of_pictures_runs_one_command_a_stage(tmp_path, monkeypatch):
    """One step of each stage at laptop scale, from an untrained first one; a second start makes no pair again."""
    monkeypatch.chdir(tmp_path)
    stage = RECIPES["rf_fashion"]("laptop")
    save_checkpoint(tmp_path / "runs" / "rf_fashion" / "rf_fashion.safetensors", stage.build())
    for later in ("rf2_fashion", "rf2_fashion_distilled"):
        stage = RECIPES[later]("laptop").changed(steps=1)
        run = stage.start()
        assert [step.n for step in run.steps] == [1]
        save_checkpoint(tmp_path / "runs" / later / f"{later}.safetensors", stage.finished(run))
    made = [path.name for path in sorted(tmp_path.glob("runs/*/pairs/*.safetensors"))]
    assert made == 2 * ["pairs-00000.safetensors", "pairs-00001.safetensors"]


@pytest.mark.parametrize("name", ["rf2_cifar10", "rf2_cifar10_distilled", "rf2_fashion", "rf2_fashion_distilled"])
def test_a_stage_has_the_network_of_the_one_before_without_dropout(name):
    before = {"rf2_cifar10": "rf_cifar10", "rf2_fashion": "rf_fashion"}.get(name, name.removesuffix("_distilled"))
    ours, theirs = RECIPES[name]("laptop").build(), RECIPES[before]("laptop").build()
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    assert all(module.p == 0 for module in ours.modules() if isinstance(module, torch.nn.Dropout))


def test_the_judge_of_the_table_knows_a_perfect_flow(generator):
    """Where source and target agree, the flow that stays is straight, free, and at the sampling floor."""
    law = Gaussian(torch.zeros(2))
    judged = Judged(law, law, generator, n=200)
    found = judged.flow(lambda x, t, c=None: torch.zeros_like(x))
    assert found["S"] == found["cost p=2"] == 0
    for steps in (1, 100):
        assert found[f"W2 Euler {steps}"] == pytest.approx(judged.floor, rel=0.2)
    shifted = judged.flow(lambda x, t, c=None: torch.ones_like(x))
    assert shifted["cost p=2"] == pytest.approx(2)
    assert shifted["W2 Euler 1"] == pytest.approx((2 + judged.floor**2) ** 0.5, rel=0.1)
    assert set(LAWS) == {"N -> eight gaussians", "N -> moons", "moons -> eight gaussians"}


def test_few_steps_are_judged_as_they_would_be_in_a_file(monkeypatch, generator):
    """Numbers beyond the range of a picture, and between its grey levels, are no part of a distance."""
    module, x, found = importlib.import_module("flowlib.recipes.rf2_digits"), digits("train").x, []
    x = x + 0.3 * torch.randn(x.shape, generator=generator)
    for drawn in (x, to_float(to_uint8(x))):
        monkeypatch.setattr(module, "draw_digits", lambda *_, drawn=drawn, **__: drawn)
        found.append(module.judge_samples(torch.nn.Identity(), 1)["Frechet distance"].value)
    assert found[0] == pytest.approx(found[1], rel=1e-6)
