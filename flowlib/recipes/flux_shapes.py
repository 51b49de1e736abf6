"""Flux on captioned shapes: the pictures and the text encoder of MM-DiT, and two streams that become one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from flowlib.datasets import captioned_shapes, told_shapes, vocabulary
from flowlib.datasets.captioned_shapes import LONGEST
from flowlib.layers import start_at_zero
from flowlib.models import Flux, TextEncoder, TextToImage
from flowlib.objectives import flow_matching, guidance_distillation
from flowlib.recipes.mmdit_shapes import TIMES, WORDS, draw_captions, draw_pictures, evaluate, mmdit_shapes
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.recipes.stages import weights_of
from flowlib.solvers import MIDPOINT, Tableau
from flowlib.training import Plan

STRENGTHS = (1.0, 5.0)  # of guidance, which the student is told
DATA = "captioned shapes, one or two, without the pairs held out; never the same picture twice"


def flux_shapes(scale: Scale = "laptop") -> Recipe:
    """Train a Flux on what ``mmdit_shapes`` learns from; the laptop run shows the way.

    Its text encoder is that of the trained ``mmdit_shapes`` and stays as it is: Flux.1 too reads with encoders that
    were trained before it. The full run, 1.4 million parameters, has the plan of ``mmdit_shapes``.

    Raises:
        InputError: at the start of a run, where no weights of ``mmdit_shapes`` are found.
    """
    full = scale == "full"
    return Recipe(
        name="flux_shapes",
        model=partial(captioned_flux, double=2 if full else 1, single=4 if full else 1, width=96 if full else 64),
        batches=told_shapes,
        loss=partial(flow_matching, timesteps=TIMES),
        plan=mmdit_shapes(scale).plan,
        evaluate=partial(evaluate, n=200 if full else 20),
        judged_there=True,
        draw=lambda model, n, generator: draw_captions(model, captioned_shapes(n, 1, most=2).captions, generator),
        data=f"{DATA}; text encoder of mmdit_shapes",
        warm=_listen,
    )


def flux_shapes_guided(scale: Scale = "laptop") -> Recipe:
    """Train the student of ``flux_shapes`` whose guidance is an input, from its weights: one evaluation, not two."""
    full = scale == "full"
    return Recipe(
        name="flux_shapes_guided",
        # It hears every caption, since guidance is no longer made of two answers.
        model=partial(flux_shapes("full").model, guidance=True, dropout=0.0),  # type: ignore[call-arg]
        batches=told_shapes,
        loss=_guided,
        plan=Plan(
            steps=140 if full else 30,
            batch_size=32,
            lr=1e-3,
            warmup=50 if full else 10,
            lr_schedule="cosine",
            clip=0.5,
            ema=0.99 if full else 0.9,
        ),
        evaluate=partial(evaluate, draw=draw_guided, n=200 if full else 20),
        judged_there=True,
        draw=lambda model, n, generator: draw_guided(model, captioned_shapes(n, 1, most=2).captions, generator),
        data=f"{DATA}; velocities of flux_shapes with guidance from 1 to 5",
        warm=_warm,
    )


def captioned_flux(
    *, double: int, single: int, width: int, guidance: bool = False, dropout: float = 0.1
) -> TextToImage:
    """Build the field: 64 patches of 4 x 4 pixels, captions of up to ten words, heads of 32 features."""
    encoder = TextEncoder(len(vocabulary()), WORDS, length=LONGEST, depth=1)
    net = Flux.of(
        "tiny",
        words=WORDS,
        pooled=WORDS,
        width=width,
        heads=width // 32,
        double=double,
        single=single,
        axes=(4, 14, 14),
        guidance=guidance,
    )
    return TextToImage(encoder, net, dropout)


def draw_guided(
    model: nn.Module,
    captions: Sequence[str],
    generator: torch.Generator,
    *,
    w: float = 3.0,
    steps: int = 10,
    method: Tableau = MIDPOINT,
) -> Tensor:
    """Draw the same by a student that is told ``w``: one evaluation a call."""
    return draw_pictures(partial(model, w=w), model, captions, generator, steps, method)


def _listen(model: nn.Module) -> None:
    """Take the text encoder that ``mmdit_shapes`` has trained, and hold it fixed."""
    before = mmdit_shapes("full")
    model.encoder.load_state_dict(before.load(weights_of(before)).encoder.state_dict())  # type: ignore[union-attr]
    model.encoder.requires_grad_(False)


def _warm(student: nn.Module) -> None:
    """Start as the teacher without guidance: its weights, and an embedding of w that adds nothing yet."""
    student.encoder.requires_grad_(False)
    student.load_state_dict(_teacher("cpu").state_dict(), strict=False)  # all but the embedding of w is there
    start_at_zero(student.net.embed_guidance[-1])  # type: ignore[union-attr, index, arg-type]


@lru_cache(maxsize=1)
def _teacher(device: str) -> nn.Module:
    teacher = flux_shapes("full")
    return teacher.load(weights_of(teacher)).to(device).requires_grad_(False)


def _guided(model: nn.Module, x_0: Tensor, x_1: Tensor, c: Tensor) -> Tensor:
    teacher, null = _teacher(str(x_1.device)), torch.zeros_like(c)
    return guidance_distillation(model, x_0, x_1, c, teacher=teacher, null=null, weights=STRENGTHS, timesteps=TIMES)
