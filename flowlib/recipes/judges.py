"""The judges of pictures that are at hand, in one order for every report."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import nn

from flowlib.evaluation import inception
from flowlib.evaluation.features import Encoder
from flowlib.models import Classifier, ResidualClassifier, ViT
from flowlib.recipes.judge_cifar10 import judge_cifar10
from flowlib.recipes.judge_fashion import judge_fashion
from flowlib.recipes.recipe import WEIGHTS, Recipe
from flowlib.recipes.vit_cifar10 import vit_cifar10

# The small convolutional judge comes first: it is always there, so its numbers can be compared from run to run. A
# later one adds numbers of its own, under its own name, and changes none.
JUDGES: dict[str, tuple[Callable[[], Recipe], ...]] = {
    "cifar10": (judge_cifar10, partial(vit_cifar10, "full")),
    "fashion": (judge_fashion,),
}


class Judge(NamedTuple):
    """A trained classifier of one set of pictures.

    Attributes:
        name: of its recipe.
        model: pictures to class logits, in evaluation mode.
        features: pictures to the numbers that the readout sees, for distances.
    """

    name: str
    model: nn.Module
    features: Encoder


def judges_of(data: Literal["cifar10", "fashion"], weights: Path = WEIGHTS) -> list[Judge]:
    """Load every judge of a set whose weights lie in the folder, in the order of ``JUDGES``.

    Args:
        data: what is judged.
        weights: the folder, by default that of the weights that the book ships.
    """
    found = []
    for make in JUDGES[data]:
        recipe = make()
        path = weights / f"{recipe.name}.safetensors"
        if path.is_file():
            model = recipe.load(path)
            found.append(Judge(recipe.name, model, _features(model)))
    return found


def _features(model: nn.Module) -> Encoder:
    if isinstance(model, ViT):
        return lambda x: model.encode(x)[:, 0]
    assert isinstance(model, Classifier | ResidualClassifier)
    return model.features


def encoders_of(data: Literal["cifar10", "fashion"]) -> dict[str, Encoder]:
    """Features of `judges_of`, by name."""
    return {judge.name: judge.features for judge in judges_of(data)}


def with_inception(encoders: dict[str, Encoder], device: torch.device) -> dict[str, Encoder]:
    """Add Inception, last, where torch-fidelity is installed: what published numbers are measured on."""
    return encoders | ({"Inception": inception(str(device))} if find_spec("torch_fidelity") else {})
