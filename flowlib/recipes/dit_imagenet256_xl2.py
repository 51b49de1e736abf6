"""DiT-XL/2 on latents of ImageNet at 256 x 256: the run that the paper's numbers are about."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from flowlib.datasets import Labelled, from_noise
from flowlib.datasets.sources import root
from flowlib.errors import InputError
from flowlib.estimates import Estimate
from flowlib.models import DiT
from flowlib.objectives import LogitNormal, flow_matching
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.training import Plan

SHAPE, CLASSES = (4, 32, 32), 1000


def dit_imagenet256_xl2(scale: Scale = "laptop") -> Recipe:
    """Train DiT-XL/2, 675 M parameters, as SiT does: straight lines, batches of 256, a constant rate of 1e-4.

    It reads latents of the SD autoencoder, already scaled, from ``imagenet256_latents/train.safetensors`` in the folder
    of the data sets: x, (N, 4, 32, 32), and c, (N,). Where there is no such file the latents are random numbers, which
    cost as much and teach nothing: good for measuring a machine. The laptop run is DiT-S/8.
    """
    full = scale == "full"
    cached = file().is_file()
    return Recipe(
        name="dit_imagenet256_xl2",
        model=partial(DiT.of, "XL/2" if full else "S/8"),
        batches=lambda batch_size, generator: from_noise(latents(), batch_size, generator),
        loss=partial(flow_matching, timesteps=LogitNormal()),
        plan=Plan(
            steps=400_000 if full else 20,
            batch_size=256 if full else 8,
            lr=1e-4,
            clip=1.0,
            precision="bfloat16" if full else "float32",
            ema=0.9999 if full else 0.9,
        ),
        evaluate=evaluate,
        judged_there=True,
        draw=None,  # what it draws are latents; chapter 12 decodes them
        data="latents of ImageNet at 256 x 256" if cached else "random latents: for speed alone",
    )


def file() -> Path:
    """Where the latents are, if they are there."""
    return root() / "imagenet256_latents" / "train.safetensors"


def latents() -> Labelled:
    """Latents and classes from the file, or 4096 random ones where there is none.

    Raises:
        InputError: a file that holds something else.
    """
    if not file().is_file():
        generator = torch.Generator().manual_seed(0)
        return Labelled(
            torch.randn(4096, *SHAPE, generator=generator), torch.randint(CLASSES, (4096,), generator=generator)
        )
    state = load_file(file())
    if state.keys() != {"x", "c"} or state["x"].shape[1:] != SHAPE or state["c"].shape != state["x"].shape[:1]:
        found = {name: tuple(value.shape) for name, value in state.items()}
        raise InputError("latents", expected=f"x (N, {', '.join(map(str, SHAPE))}) and c (N,) in {file()}", got=found)
    return Labelled(state["x"].float(), state["c"].long())


@torch.no_grad()
def evaluate(model: nn.Module) -> dict[str, Estimate]:
    """Loss at fixed noise and times, on latents of the training set."""
    generator = torch.Generator().manual_seed(1)
    device = next(model.parameters()).device
    stream = from_noise(latents(), 32, generator)
    losses = [float(flow_matching(model, *(u.to(device) for u in next(stream)), generator=generator)) for _ in range(4)]
    return {"loss": Estimate.of(losses)}
