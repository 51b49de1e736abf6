"""MM-DiT at the size of SD3 medium, on latents and encoded captions: two billion parameters, the same loss."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from flowlib.datasets import Stream
from flowlib.datasets.sources import root
from flowlib.errors import InputError
from flowlib.estimates import Estimate
from flowlib.models import MMDiT, Text
from flowlib.objectives import LogitNormal, Timesteps, flow_matching
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.shapes import Scalar
from flowlib.tensors import randn
from flowlib.training import Plan

CHANNELS, SIDE = 16, 32  # latents of pictures of 256 x 256
SIZES = {"laptop": (10, 32, 16), "full": (154, 4096, 2048)}  # tokens, features of each, pooled features


class Encoded(NamedTuple):
    """Latents, (N, 16, 32, 32), and what encoders made of their captions, (N, M, D) and (N, P).

    ``flowlib.pretrained`` makes them; there the encoders are told apart, so that each can be left out by itself.
    """

    x: Tensor
    tokens: Tensor
    pooled: Tensor


def mmdit_2b(scale: Scale = "laptop") -> Recipe:
    """Train SD3 medium as its authors did: straight lines, logit-normal times, a constant rate of 1e-4.

    They took batches of 4096; this is the share of one node. It reads x, tokens and pooled from
    ``sd3_latents/train.safetensors`` in the folder of the data sets. Where there is no such file all three are random
    numbers, which cost as much and teach nothing: good for measuring a machine. The laptop run has two blocks.
    """
    full = scale == "full"
    _, words, pooled = SIZES[scale]
    cached = file().is_file()
    return Recipe(
        name="mmdit_2b",
        model=partial(MMDiT.of, "2B")
        if full
        else partial(MMDiT, CHANNELS, words, pooled, depth=2, width=64, grid=16, base=16),
        batches=partial(told_latents, scale=scale),
        loss=partial(told_loss, timesteps=LogitNormal()),
        plan=Plan(
            steps=500_000 if full else 20,
            batch_size=512 if full else 4,
            lr=1e-4,
            warmup=1000 if full else 5,
            clip=1.0,
            precision="bfloat16" if full else "float32",
            ema=0.9999 if full else 0.9,
        ),
        evaluate=partial(evaluate, scale=scale),
        judged_there=True,
        draw=None,  # what it draws are latents; chapter 12 decodes them
        data="latents and encoded captions" if cached else "random latents and captions: for speed alone",
    )


def told_loss(
    net: nn.Module, x_0: Tensor, x_1: Tensor, tokens: Tensor, pooled: Tensor, *, timesteps: Timesteps
) -> Scalar:
    """Flow matching with a text that comes in two tensors, since a batch is a tuple of tensors."""
    return flow_matching(net, x_0, x_1, Text(tokens, pooled), timesteps=timesteps)


def file() -> Path:
    """Where the latents are, if they are there."""
    return root() / "sd3_latents" / "train.safetensors"


def told_latents(batch_size: int, generator: torch.Generator, *, scale: Scale) -> Stream:
    """Yield batches (x_0, x_1, tokens, pooled) for ever."""
    data = encoded(scale)

    def rows(index: Tensor) -> tuple[Tensor, ...]:
        x_1, tokens, pooled = (part[index].to(generator.device) for part in data)
        return randn(x_1.shape, like=x_1, generator=generator), x_1, tokens, pooled

    return Stream(rows, generator, size=len(data.x), batch_size=batch_size)


def encoded(scale: Scale) -> Encoded:
    """Latents and captions from the file, or 1024 random ones (16 on a laptop) where there is none.

    Raises:
        InputError: a file that holds something else.
    """
    length, words, pooled = SIZES[scale]
    shapes = {"x": (CHANNELS, SIDE, SIDE), "tokens": (length, words), "pooled": (pooled,)}
    if not file().is_file():
        generator = torch.Generator().manual_seed(0)
        n = 1024 if scale == "full" else 16
        return Encoded(*(torch.randn(n, *shape, generator=generator) for shape in shapes.values()))
    state = load_file(file())
    found = {name: tuple(value.shape) for name, value in state.items()}
    if {name: shape[1:] for name, shape in found.items()} != shapes or len({shape[0] for shape in found.values()}) != 1:
        raise InputError("latents", expected=f"one each of shapes {shapes} in {file()}", got=found)
    return Encoded(*(state[name].float() for name in shapes))


@torch.no_grad()
def evaluate(model: nn.Module, *, scale: Scale) -> dict[str, Estimate]:
    """Loss at fixed noise and times, on latents of the training set."""
    generator = torch.Generator().manual_seed(1)
    device = next(model.parameters()).device
    stream, losses = told_latents(8, generator, scale=scale), []
    for _ in range(4):
        x_0, x_1, tokens, pooled = (part.to(device) for part in next(stream))
        losses.append(float(flow_matching(model, x_0, x_1, Text(tokens, pooled), generator=generator)))
    return {"loss": Estimate.of(losses)}
