"""The judge of Fashion-MNIST: a classifier whose features measure how far drawn clothes are from real ones, offline."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from flowlib.datasets import epochs, fashion_mnist
from flowlib.estimates import Estimate
from flowlib.evaluation import accuracy
from flowlib.models import Classifier
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.training import Plan


def judge_fashion(scale: Scale = "laptop") -> Recipe:
    """Train a small convolutional network on the 60,000 training pictures; the same run serves both scales."""

    def loss(model: nn.Module, x: Tensor, c: Tensor) -> Tensor:
        return nn.functional.cross_entropy(model(x), c, label_smoothing=0.1)

    def evaluate(model: nn.Module) -> dict[str, Estimate]:
        x, c = fashion_mnist("test")
        return {f"accuracy, {len(x)} held out": accuracy(model, x, c)}

    return Recipe(
        name="judge_fashion",
        model=partial(Classifier, 1, 28, width=16),
        batches=lambda batch_size, generator: epochs(
            fashion_mnist("train").to(generator.device), batch_size, generator, flip=True
        ),
        loss=loss,
        plan=Plan(steps=1500, batch_size=128, lr=2e-3, warmup=50, lr_schedule="cosine", weight_decay=0.05, ema=0.99),
        evaluate=evaluate,
        draw=None,
        data="Fashion-MNIST, the 60,000 training pictures, mirrored at random",
    )
