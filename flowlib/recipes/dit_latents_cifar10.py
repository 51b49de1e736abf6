"""DiT on CIFAR-10, by class, in the latents of vae_cifar10."""

from __future__ import annotations

import hashlib
from functools import partial

import torch
from torch import Tensor, nn

from flowlib.datasets import Labelled, LatentShards, cifar10, open_latents, write_latents
from flowlib.errors import InputError
from flowlib.models import Autoencoder, DiT
from flowlib.recipes.dit_cifar10 import class_conditional
from flowlib.recipes.dit_digits import draw_guided
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.recipes.stages import RUNS, weights_of
from flowlib.recipes.vae_cifar10 import SIDE, vae_cifar10
from flowlib.training.distributed import size as world_size

SOME = 2000  # pictures that the laptop run encodes


def dit_latents_cifar10(scale: Scale = "laptop") -> Recipe:
    """Train the DiT of dit_cifar10 in the latents of vae_cifar10: 64 tokens of 4 numbers instead of 3072 pixels.

    The pictures and their mirror images are encoded once, into ``runs/vae_cifar10``; after that no step runs the
    encoder. The full run is for a GPU; the laptop one, on 2000 pictures, shows the way.
    """
    full = scale == "full"
    return class_conditional(
        "dit_latents_cifar10",
        partial(DiT, 4, 10, patch=1),
        lambda batch_size, generator: latents_of_cifar10(full).from_noise(batch_size, generator),
        draw_decoded,
        held_out_latents,
        full=full,
        data="latents of CIFAR-10 by vae_cifar10, " + ("50,000 pictures, mirrored too" if full else f"{SOME} pictures"),
    )


def latents_of_cifar10(full: bool) -> LatentShards:
    """Open the latents of CIFAR-10, after encoding those that are missing, with the trained autoencoder at hand.

    Their facts and their folder name the weights, so latents of an older autoencoder are never mistaken for these. A
    GPU is used where there is one.

    Raises:
        InputError: no trained weights of vae_cifar10; latents whose statistics are not those of its constants.
    """
    weights = weights_of(vae_cifar10())
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    data = cifar10("train")
    data = Labelled(torch.cat([data.x, data.x.flip(-1)]), data.c.repeat(2)) if full else _first(data)
    folder = RUNS / "vae_cifar10" / f"latents_{digest[:8]}_{len(data.x)}"
    if world_size() > 1:
        return open_latents(folder)  # made by one process: the same command without torchrun, until it trains
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = _autoencoder().to(device)
    latents = write_latents(folder, lambda x: model.encode(x.to(device)), data, facts={"weights": digest})
    shift, scale = float(model.shift), float(model.scale)
    if not (0.7 < latents.scale / scale < 1.4 and abs(latents.shift - shift) * scale < 0.3):
        got = f"shift {latents.shift:.3g} and scale {latents.scale:.3g} in {folder}"
        expected = f"about the constants of the autoencoder, shift {shift:.3g} and scale {scale:.3g}"
        raise InputError("latents", expected=expected, got=got, cure="train vae_cifar10 again")
    return LatentShards(latents.shards, latents.mean, latents.std, shift, scale)


@torch.no_grad()
def draw_decoded(model: nn.Module, c: Tensor, generator: torch.Generator, *, w: float = 2.0, steps: int = 25) -> Tensor:
    """Draw latents of each class in ``c`` by guided Heun steps, and decode them, (B, 3, 32, 32)."""
    z = draw_guided(model, c, generator, shape=(4, SIDE, SIDE), w=w, steps=steps)
    return _autoencoder().to(z.device).pictures(z)


def held_out_latents(n: int, generator: torch.Generator) -> Labelled:
    """Latents of held-out pictures, with their classes."""
    x, c = (part[:n] for part in cifar10("test"))
    return Labelled(_autoencoder().latents(x, generator), c)


def _autoencoder() -> Autoencoder:
    recipe = vae_cifar10()
    model = recipe.load(weights_of(recipe))
    assert isinstance(model, Autoencoder)
    return model


def _first(data: Labelled) -> Labelled:
    return Labelled(data.x[:SOME], data.c[:SOME])
