"""The judge of handwritten digits: a classifier that later chapters ask whether a picture can be read."""

from __future__ import annotations

from torch import Tensor, nn

from flowlib.datasets import digits, epochs
from flowlib.estimates import Estimate
from flowlib.evaluation import accuracy
from flowlib.models import Classifier
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.training import Plan


def judge_digits(scale: Scale = "laptop") -> Recipe:
    """Train a small convolutional network on the 1437 training digits; the same run serves both scales."""

    def loss(model: nn.Module, x: Tensor, c: Tensor) -> Tensor:
        return nn.functional.cross_entropy(model(x), c, label_smoothing=0.1)

    def evaluate(model: nn.Module) -> dict[str, Estimate]:
        return {"accuracy on held-out digits": accuracy(model, *digits("test"))}

    return Recipe(
        name="judge_digits",
        model=Classifier,
        batches=lambda batch_size, generator: epochs(digits("train"), batch_size, generator),
        loss=loss,
        plan=Plan(steps=2000, batch_size=128, lr=2e-3, lr_schedule="cosine", weight_decay=0.05, ema=0.99),
        evaluate=evaluate,
        draw=None,
        data="scikit-learn's handwritten digits, 1437 of 1797",
    )
