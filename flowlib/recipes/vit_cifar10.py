"""The judge of small photographs: a vision transformer that reads CIFAR-10."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from flowlib.datasets import Stream, cifar10, epochs
from flowlib.estimates import Estimate
from flowlib.models import ViT
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.recipes.vit_digits import cross_entropy
from flowlib.training import Plan

CLASSES = 10


def vit_cifar10(scale: Scale = "laptop") -> Recipe:
    """Train a ViT on CIFAR-10, its pictures mirrored, moved and mixed.

    Without what a convolution knows, 50,000 photographs are few: most of the accuracy comes from the changes that make
    them more. The full run is for a GPU; the laptop one shows the way.
    """
    full = scale == "full"

    def batches(batch_size: int, generator: torch.Generator) -> Stream:
        def changed(x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
            return mixed(shifted(x, 4, generator), c, CLASSES, generator)

        return epochs(cifar10("train"), batch_size, generator, flip=True).map(changed)

    return Recipe(
        name="vit_cifar10",
        model=partial(
            ViT,
            3,
            CLASSES,
            size=32,
            patch=4,
            width=384 if full else 96,
            depth=8 if full else 4,
            heads=6 if full else 3,
        ),
        batches=batches,
        loss=cross_entropy,
        plan=Plan(
            steps=20_000 if full else 300,
            batch_size=512 if full else 64,
            lr=1e-3,
            warmup=1000 if full else 50,
            lr_schedule="cosine",
            weight_decay=0.1,
            clip=1.0,
            precision="bfloat16" if full else "float32",
            ema=0.999 if full else 0.99,
        ),
        evaluate=partial(evaluate, n=10_000 if full else 1000),
        judged_there=True,
        draw=None,
        data="CIFAR-10, the 50,000 training pictures",
    )


@torch.no_grad()
def evaluate(model: nn.Module, *, n: int) -> dict[str, Estimate]:
    """Accuracy on the first n held-out pictures, seen part by part."""
    x, c = (part[:n] for part in cifar10("test"))
    device = next(model.parameters()).device
    parts = zip(x.split(500), c.split(500), strict=True)
    right = [model(x_part.to(device)).argmax(1).cpu() == c_part for x_part, c_part in parts]
    return {"accuracy on held-out pictures": Estimate.of(torch.cat(right).double())}


def shifted(x: Tensor, reach: int, generator: torch.Generator) -> Tensor:
    """Move each picture by up to ``reach`` pixels in both directions; what comes in from outside is -1, black."""
    b, _, h, w = x.shape
    down, across = torch.randint(0, 2 * reach + 1, (2, b, 1), generator=generator, device=generator.device).to(x.device)
    padded = nn.functional.pad(x, (reach,) * 4, value=-1.0)
    rows = (down + torch.arange(h, device=x.device))[:, None, :, None]
    columns = (across + torch.arange(w, device=x.device))[:, None, None, :]
    samples, channels = (torch.arange(n, device=x.device) for n in x.shape[:2])
    return padded[samples[:, None, None, None], channels[:, None, None], rows, columns]


def mixed(x: Tensor, c: Tensor, num_classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Paste a box of the picture before into each picture, and give the classes their shares of the area.

    Args:
        x: pictures, (B, C, H, W).
        c: their classes, (B,).
        num_classes: number of classes.
        generator: of the boxes; their share of the area is uniform.

    Returns:
        The pictures, and a weight for each class, (B, num_classes).

    Source: Yun et al. 2019 (CutMix), section 3.
    """
    b, _, h, w = x.shape
    share, down, across = torch.rand(3, b, generator=generator, device=generator.device).to(x.device)
    rows, columns = torch.arange(h, device=x.device), torch.arange(w, device=x.device)
    high, wide = (share.sqrt() * side for side in (h, w))
    inside = ((rows - (down * h)[:, None]).abs() < high[:, None] / 2)[:, :, None] & (
        (columns - (across * w)[:, None]).abs() < wide[:, None] / 2
    )[:, None]
    kept = 1 - inside.float().mean((1, 2))
    one_hot = nn.functional.one_hot(c, num_classes).to(x.dtype)
    weights = kept[:, None] * one_hot + (1 - kept)[:, None] * one_hot.roll(1, 0)
    return torch.where(inside[:, None], x.roll(1, 0), x), weights
