"""Judges of pictures: which are at hand, in which order, and that what they measure is real."""

import pytest
import torch
from pictures import write_sets

from flowlib.datasets import Labelled, digits
from flowlib.models import ResidualClassifier
from flowlib.recipes import RECIPES, judge_drawn, judge_floor
from flowlib.recipes.judges import JUDGES, judges_of
from flowlib.recipes.pictures import LAPTOP, frechet_by_steps
from flowlib.training import save_checkpoint


def test_the_judges_of_a_set_come_in_one_order(tmp_path):
    """The convolutional judge first, whichever weights came first, and nothing for weights that are not there."""
    assert judges_of("cifar10", tmp_path) == judges_of("fashion", tmp_path) == []
    for make in reversed(JUDGES["cifar10"]):
        recipe = make()
        save_checkpoint(tmp_path / f"{recipe.name}.safetensors", recipe.build())
    assert [judge.name for judge in judges_of("cifar10", tmp_path)] == ["judge_cifar10", "vit_cifar10"]
    (tmp_path / "judge_cifar10.safetensors").unlink()
    assert [judge.name for judge in judges_of("cifar10", tmp_path)] == ["vit_cifar10"]


@pytest.mark.parametrize("data", ["cifar10", "fashion"])
def test_the_book_ships_a_judge_of_both_sets(data):
    assert judges_of(data)[0].name == f"judge_{data}"


def test_features_are_what_the_readout_sees(tmp_path, generator):
    """So a distance between features ignores nothing that decides a class."""
    for make in JUDGES["cifar10"]:
        recipe = make()
        model = recipe.build().eval()
        readout = model.head if recipe.name == "vit_cifar10" else model.readout
        torch.nn.init.normal_(readout.weight, generator=generator)  # a fresh one may be zero
        save_checkpoint(tmp_path / f"{recipe.name}.safetensors", model)
    x = torch.rand(3, 3, 32, 32, generator=generator) * 2 - 1
    for judge in judges_of("cifar10", tmp_path):
        readout = judge.model.head if judge.name == "vit_cifar10" else judge.model.readout
        with torch.no_grad():
            torch.testing.assert_close(readout(judge.features(x)), judge.model(x))


def test_a_judge_sees_each_picture_alone(generator):
    """Batch normalisation uses what training counted: a picture is judged the same in any company."""
    model = ResidualClassifier(widths=(4, 8)).eval()
    x = torch.randn(5, 3, 32, 32, generator=generator)
    torch.testing.assert_close(model(x)[2:3], model(x[2:3]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 3, 32, 30), (1, 1, 32, 32)])
def test_pictures_of_another_shape(shape, unchecked):
    with pytest.raises(ValueError, match=r"x: expected pictures of shape \(3, 32, 32\), got shape"):
        ResidualClassifier()(torch.zeros(shape))


@pytest.mark.parametrize("name", ["rf_cifar10", "rf2_cifar10_distilled", "transfer_cifar10"])
def test_pictures_of_cifar10_are_judged_without_a_download(name, tmp_path, monkeypatch):
    write_sets(tmp_path, monkeypatch)
    recipe = RECIPES[name]()
    metrics = recipe.evaluate(recipe.build().eval())
    named = [key for key in metrics if key.startswith("Frechet distance (judge_cifar10,")]
    assert len(named) == {"rf_cifar10": 1 + 5}.get(name, 1)  # by its own solver, and by five numbers of Euler steps
    floors = [metrics[key].value for key in metrics if key.startswith("its floor (judge_cifar10,")]
    assert min(metrics[key].value for key in named) > 1.2 * max(floors) > 0  # noise is not photographs


def test_the_floor_of_digits_is_what_the_judges_say_of_real_ones(generator):
    """The same numbers as of drawn ones, by chance alone; and pictures with noise are far from it."""
    floor, again = (judge_floor(splits=2) for _ in range(2))
    assert floor == again != judge_floor(splits=2, seed=1)
    train = digits("train").x
    noisy = judge_drawn(train + 0.5 * torch.randn(train.shape, generator=generator))
    assert floor.keys() == noisy.keys()
    assert floor["recognised"].value > 0.98
    assert abs(floor["told from training digits"].value - 0.5) < 0.05 < noisy["told from training digits"].value - 0.5
    itself = judge_drawn(train)["Frechet distance"].value
    assert itself < 1e-3 < 0.2 < floor["Frechet distance"].value < noisy["Frechet distance"].value


def test_a_straight_flow_is_as_far_after_one_step_as_after_many():
    """The same noise for each number of steps; and a field that bends is not, so the number is used."""
    x = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0)) - 0.5
    sets = {"train": Labelled(x[:20], torch.zeros(20)), "test": Labelled(x[20:], torch.zeros(20))}

    def by_steps(velocity):
        model = torch.nn.Linear(1, 1)  # something with a device
        model.forward = velocity
        told = {"by_class": False, "judges": {"pixels": torch.nn.Flatten()}, "steps": (1, 100)}
        floor, *found = frechet_by_steps(model, LAPTOP, **sets, **told).items()
        assert floor[0] == "its floor (pixels, held out, n=20 against 20)"
        assert [name for name, _ in found] == [
            f"Frechet distance (pixels, n=20 against 20), Euler {k}" for k in (1, 100)
        ]
        return [value.value for _, value in found]

    one, many = by_steps(lambda x, t, c=None: torch.full_like(x, 0.3))
    assert one == pytest.approx(many, rel=0.02)  # pictures are rounded to bytes
    one, many = by_steps(lambda x, t, c=None: -3 * x)
    assert one > 2 * many
