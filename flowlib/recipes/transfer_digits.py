"""Domain transfer on pictures: a flow whose noise is another class of digits. Chapter 05 asks what it keeps."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from flowlib.datasets import between_sets, digits, of_class
from flowlib.estimates import Estimate
from flowlib.evaluation import accuracy
from flowlib.models import UNet
from flowlib.objectives import flow_matching
from flowlib.recipes.judge_digits import judge_digits
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.rectify import flow_pairs, transport_cost
from flowlib.tensors import randn
from flowlib.training import Plan

SOURCE, TARGET, BLUR = 3, 8, 0.1


def transfer_digits(scale: Scale = "laptop") -> Recipe:
    """Train a small U-Net, 0.2 M parameters, on straight lines from threes to eights."""
    full = scale == "full"
    return Recipe(
        name="transfer_digits",
        model=partial(UNet, 1, width=16, multipliers=(1, 2), blocks=1, attention=(1,), dropout=0.1),
        batches=lambda batch_size, generator: between_sets(
            of_class(digits("train"), SOURCE), of_class(digits("train"), TARGET), batch_size, generator, blur=BLUR
        ),
        loss=flow_matching,
        plan=Plan(
            steps=1000 if full else 60,
            batch_size=64,
            lr=2e-3,
            warmup=50,
            lr_schedule="cosine",
            clip=1.0,
            ema=0.995 if full else 0.95,
        ),
        evaluate=evaluate,
        draw=lambda model, n, generator: carry(model, held_out(n, generator), generator)[1],
        data=f"scikit-learn's handwritten digits, classes {SOURCE} and {TARGET} of 1437 pictures",
    )


def held_out(n: int, generator: torch.Generator) -> Tensor:
    """Draw ``n`` source digits that the training has not seen, with replacement."""
    x = of_class(digits("test"), SOURCE).x
    return x[torch.randint(len(x), (n,), generator=generator)]


def carry(model: nn.Module, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Blur the pictures ``x`` as in training and carry them along the flow; return both ends."""
    x_0 = (x + BLUR * randn(x.shape, like=x, generator=generator)).to(next(model.parameters()).device)
    pairs = flow_pairs(model, x_0, steps=20)
    return pairs.x_0.cpu(), pairs.x_1.cpu()


def evaluate(model: nn.Module) -> dict[str, Estimate]:
    """Recognise the results of source digits that were held out, and compare the cost with that of random pairs."""
    generator = torch.Generator().manual_seed(1)
    source, target = of_class(digits("test"), SOURCE), of_class(digits("train"), TARGET)
    x_0, x_1 = carry(model, source.x.repeat(4, 1, 1, 1), generator)
    asked = torch.full((len(x_1),), TARGET)
    random = target.x[torch.randint(len(target.x), (len(x_0),), generator=generator)]
    return {
        "recognised as the target": accuracy(judge_digits().load(), x_1, asked),
        "cost of the flow's pairs": transport_cost(x_0, x_1),
        "cost of random pairs": transport_cost(x_0, random),
    }
