"""A vision transformer that reads handwritten digits: the run of chapter 10."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from flowlib.datasets import Stream, digits, epochs
from flowlib.estimates import Estimate
from flowlib.evaluation import accuracy
from flowlib.models import ViT
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.training import Plan


def vit_digits(scale: Scale = "laptop") -> Recipe:
    """Train a ViT of 0.2 M parameters on the 1437 training digits, moved about by a pixel.

    Nothing in a transformer says that a digit moved by a pixel is the same digit; the data has to. The full run is
    four times as long.
    """

    def batches(batch_size: int, generator: torch.Generator) -> Stream:
        return epochs(digits("train"), batch_size, generator).map(lambda x, c: (shifted(x, 1, generator), c))

    def evaluate(model: nn.Module) -> dict[str, Estimate]:
        return {"accuracy on held-out digits": accuracy(model, *digits("test"))}

    return Recipe(
        name="vit_digits",
        model=partial(ViT, 1, 10, size=8, patch=2, width=64, depth=4, heads=4),
        batches=batches,
        loss=cross_entropy,
        plan=Plan(
            steps=1000 if scale == "laptop" else 4000,
            batch_size=64,
            lr=2e-3,
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


def shifted(x: Tensor, reach: int, generator: torch.Generator) -> Tensor:
    """Move each picture by up to ``reach`` pixels in both directions; what comes in from outside is -1, black."""
    b, _, h, w = x.shape
    down, across = torch.randint(0, 2 * reach + 1, (2, b, 1), generator=generator, device=generator.device).to(x.device)
    padded = nn.functional.pad(x, (reach,) * 4, value=-1.0)
    rows = (down + torch.arange(h, device=x.device))[:, None, :, None]
    columns = (across + torch.arange(w, device=x.device))[:, None, None, :]
    samples, channels = (torch.arange(n, device=x.device) for n in x.shape[:2])
    return padded[samples[:, None, None, None], channels[:, None, None], rows, columns]
