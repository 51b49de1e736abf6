"""MM-DiT on emoji and their names: the code of ``mmdit_shapes`` on a small set of real pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from flowlib.datasets import Stream, emoji
from flowlib.datasets.words import Words
from flowlib.estimates import Estimate
from flowlib.models import MMDiT, TextEncoder, TextToImage
from flowlib.models.text import EMPTY
from flowlib.objectives import LogitNormal, flow_matching
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.sampling import guide, sample
from flowlib.solvers import HEUN
from flowlib.tensors import randn
from flowlib.training import Plan

SHAPE = (3, 64, 64)
WORDS, LENGTH = 128, 8
TIMES = LogitNormal(-0.5)  # as mmdit_shapes: flat colours stand out of much noise


def mmdit_emoji(scale: Scale = "laptop") -> Recipe:
    """Train an MM-DiT on 1,550 emoji by name; one in twenty is held out.

    The full run is for a GPU: 27 M parameters. So few pictures are learned by heart; what is new can only be a mixture,
    such as a face of another colour. The laptop run shows the way.
    """
    full = scale == "full"
    return Recipe(
        name="mmdit_emoji",
        model=partial(captioned_mmdit, depth=8 if full else 1, width=320 if full else 32),
        batches=told_emoji,
        loss=partial(flow_matching, timesteps=TIMES),
        plan=Plan(
            steps=20_000 if full else 50,
            batch_size=256 if full else 8,
            lr=1e-3 if full else 4e-3,
            warmup=500 if full else 10,
            lr_schedule="cosine",
            clip=1.0,
            precision="bfloat16" if full else "float32",
            ema=0.9995 if full else 0.98,
        ),
        evaluate=evaluate,
        judged_there=True,
        draw=lambda model, n, generator: draw_emoji(model, emoji().captions[:n], generator),
        data="emoji with their Unicode names, all but every twentieth",
    )


def words() -> Words:
    """Every word of the names, of which the network has a vector each: to build it takes the set."""
    return Words(sorted({word for caption in emoji().captions for word in _plain(caption).split()}), LENGTH)


def captioned_mmdit(*, depth: int, width: int) -> TextToImage:
    """Build the field: 256 patches of 4 x 4 pixels, names of up to eight words, heads of 32 features."""
    encoder = TextEncoder(len(words()), WORDS, length=LENGTH, depth=1)
    net = MMDiT(3, WORDS, WORDS, depth=depth, width=width, heads=width // 32, patch=4, qk_norm=True, grid=16, base=64)
    return TextToImage(encoder, net)


def told_emoji(batch_size: int, generator: torch.Generator, *, held_out: bool = False) -> Stream:
    """Yield batches (x_0, x_1, c) for ever: noise, emoji, and the numbers of their names' words."""
    data = emoji()
    ids = words()([_plain(caption) for caption in data.captions])
    mine = torch.tensor([i for i in range(len(ids)) if (i % 20 == 19) == held_out])

    def rows(index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x_1 = data.x[mine[index]].to(generator.device)
        return randn(x_1.shape, like=x_1, generator=generator), x_1, ids[mine[index]].to(x_1.device)

    return Stream(rows, generator, size=len(mine), batch_size=min(batch_size, len(mine)))


def draw_emoji(
    model: nn.Module, captions: Sequence[str], generator: torch.Generator, *, w: float = 3.0, steps: int = 25
) -> Tensor:
    """Draw one emoji of each name, (B, 3, 64, 64), by Heun steps under guidance of weight ``w``."""
    device = next(model.parameters()).device
    x_0 = torch.randn(len(captions), *SHAPE, generator=generator).to(device)
    c = words()([_plain(caption) for caption in captions]).to(device)
    return sample(guide(model, w, null=EMPTY), x_0, c, steps=steps, method=HEUN)


@torch.no_grad()
def evaluate(model: nn.Module) -> dict[str, Estimate]:
    """Loss at fixed noise and times on emoji it was trained on, on held-out ones, and on those with the wrong name."""
    device = next(model.parameters()).device
    metrics = {}
    for name, held_out, roll in (("trained on", False, 0), ("held out", True, 0), ("held out, wrong name", True, 1)):
        generator = torch.Generator().manual_seed(1)
        stream, losses = told_emoji(32, generator, held_out=held_out), []
        for _ in range(4):
            x_0, x_1, c = (part.to(device) for part in next(stream))
            losses.append(float(flow_matching(model, x_0, x_1, c.roll(roll, 0), generator=generator)))
        metrics[f"loss, {name}"] = Estimate.of(losses)
    return metrics


def _plain(caption: str) -> str:
    return caption.replace(",", "").replace(":", "")
