"""A vision transformer that reads handwritten digits: the run of chapter 10."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from flowlib.datasets import digits, epochs
from flowlib.estimates import Estimate
from flowlib.evaluation import accuracy
from flowlib.models import ViT
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.training import Plan


def vit_digits(scale: Scale = "laptop") -> Recipe:
    """Train a ViT of 0.2 M parameters on the 1437 training digits, a quarter of a minute on one core.

    The same run serves both scales: after 450 steps it knows its 1437 pictures by heart. Of the 360 held-out digits it
    reads 97.4 percent on average, 96.7 to 98.6 over four runs of 400 to 500 steps.
    """

    def evaluate(model: nn.Module) -> dict[str, Estimate]:
        return {"accuracy on held-out digits": accuracy(model, *digits("test"))}

    return Recipe(
        name="vit_digits",
        model=partial(ViT, 1, 10, size=8, patch=2, width=64, depth=4, heads=4),
        batches=lambda batch_size, generator: epochs(digits("train"), batch_size, generator),
        loss=cross_entropy,
        plan=Plan(
            steps=450,
            batch_size=64,
            lr=3e-3,
            warmup=50,
            lr_schedule="cosine",
            weight_decay=0.05,
            clip=1.0,
            ema=0.99,
        ),
        evaluate=evaluate,
        draw=None,
        data="scikit-learn's handwritten digits, 1437 of 1797",
    )


def cross_entropy(model: nn.Module, x: Tensor, c: Tensor) -> Tensor:
    """Cross-entropy with a tenth of the weight spread over all classes; c holds labels, or a weight for each class."""
    return nn.functional.cross_entropy(model(x), c, label_smoothing=0.1)
