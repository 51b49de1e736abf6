"""MM-DiT on captioned shapes: text to image that one core can train, and whose captions can be counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from flowlib.datasets import captioned_shapes, tokenize, told_shapes, vocabulary
from flowlib.datasets.captioned_shapes import LONGEST
from flowlib.estimates import Estimate
from flowlib.evaluation.captions import caption_accuracy
from flowlib.models import MMDiT, TextEncoder, TextToImage
from flowlib.models.text import EMPTY
from flowlib.objectives import LogitNormal, flow_matching
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.sampling import guide, sample
from flowlib.shapes import Field
from flowlib.solvers import MIDPOINT, Tableau
from flowlib.training import Plan

SHAPE, WORDS = (3, 32, 32), 64
# What is where is decided in much noise: logit t = -0.5 is where a small shape stands out of it.
TIMES = LogitNormal(-0.5)


def mmdit_shapes(scale: Scale = "laptop") -> Recipe:
    """Train an MM-DiT and its text encoder together on pictures of one or two shapes; one caption in ten is dropped.

    No picture is seen twice, and none of the training has a pair of colour and kind of ``HELD_OUT``. The full run has
    1.4 M parameters and takes less than an hour of one core; the laptop one shows the way.
    """
    full = scale == "full"
    return Recipe(
        name="mmdit_shapes",
        model=partial(captioned_mmdit, depth=4 if full else 2, width=96 if full else 64),
        batches=told_shapes,
        loss=partial(flow_matching, timesteps=TIMES),
        plan=Plan(
            steps=9000 if full else 200,
            batch_size=32,
            lr=6e-3,  # what starts at zero has far to go, as in dit_digits
            warmup=100 if full else 20,
            lr_schedule="cosine",
            clip=0.5,
            ema=0.999 if full else 0.98,
            optimizer="muon",  # after 500 steps its loss is 0.082, that of AdamW 0.088
        ),
        evaluate=partial(evaluate, n=200 if full else 20),
        judged_there=True,
        draw=lambda model, n, generator: draw_captions(model, captioned_shapes(n, 1, most=2).captions, generator),
        data="captioned shapes, one or two, without the pairs held out; never the same picture twice",
    )


def captioned_mmdit(*, depth: int, width: int) -> TextToImage:
    """Build the field: 64 patches of 4 x 4 pixels, captions of up to ten words, heads of 32 features."""
    encoder = TextEncoder(len(vocabulary()), WORDS, length=LONGEST, depth=1)
    net = MMDiT(3, WORDS, WORDS, depth=depth, width=width, heads=width // 32, patch=4, qk_norm=True, grid=8, base=8)
    return TextToImage(encoder, net)


def draw_captions(
    model: nn.Module,
    captions: Sequence[str],
    generator: torch.Generator,
    *,
    w: float = 3.0,
    steps: int = 10,
    method: Tableau = MIDPOINT,
) -> Tensor:
    """Draw one picture of each caption, (B, 3, 32, 32), under guidance of weight ``w``: two evaluations a call.

    The midpoint rule never asks at t = 1, where a network can only guess; Heun's does.
    """
    return draw_pictures(guide(model, w, null=EMPTY), model, captions, generator, steps, method)


def draw_pictures(
    v: Field, model: nn.Module, captions: Sequence[str], generator: torch.Generator, steps: int, method: Tableau
) -> Tensor:
    """Solve ``v`` from noise, on the device of ``model``."""
    device = next(model.parameters()).device
    x_0 = torch.randn(len(captions), *SHAPE, generator=generator, device=generator.device).to(device)
    return sample(v, x_0, tokenize(captions).to(device), steps=steps, method=method)


@torch.no_grad()
def evaluate(model: nn.Module, *, draw: Callable[..., Tensor] = draw_captions, n: int) -> dict[str, Estimate]:
    """Count the pictures that their captions are true of, without guidance and with, and with pairs never seen."""
    metrics: dict[str, Estimate] = {}
    for name, pairs, w in (("seen", "seen", 1.0), ("seen", "seen", 3.0), ("held-out", "held out", 3.0)):
        data = captioned_shapes(n, 1, most=2, pairs=pairs)  # type: ignore[arg-type]
        generator = torch.Generator().manual_seed(1)
        x = torch.cat([draw(model, data.captions[i : i + 50], generator, w=w).cpu() for i in range(0, n, 50)])
        for part in ("all", "colours", "kinds"):
            metrics[f"{part} met, {name} pairs, w={w:g}, 10 midpoint steps"] = caption_accuracy(x, data.captions, part)
    return metrics
