"""A KL autoencoder of handwritten digits: the latents of chapter 12."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from flowlib.datasets import digits, epochs
from flowlib.estimates import Estimate
from flowlib.evaluation import accuracy, psnr
from flowlib.models import Autoencoder
from flowlib.objectives import autoencoding, rate_distortion
from flowlib.recipes.judge_digits import judge_digits
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.training import Plan


def vae_digits(scale: Scale = "laptop") -> Recipe:
    """Train a KL autoencoder from 64 pixels to 32 latents, two at each place of a grid of 4 x 4."""
    full = scale == "full"
    return Recipe(
        name="vae_digits",
        model=partial(Autoencoder, 1, 2, widths=(16, 32), blocks=1, groups=8),
        batches=lambda batch_size, generator: epochs(digits("train"), batch_size, generator),
        loss=partial(reconstruct, beta=0.02),
        plan=Plan(
            steps=700 if full else 250,
            batch_size=32,
            lr=3e-3,
            warmup=50,
            lr_schedule="cosine",
            clip=1.0,
            ema=0.99 if full else 0.98,
        ),
        evaluate=evaluate,
        draw=partial(draw_prior, side=4),
        data="scikit-learn's handwritten digits, 1437 of 1797",
        settle=lambda model: fit_constants(model, digits("train").x),
    )


def reconstruct(model: nn.Module, x: Tensor, c: Tensor | None = None, *, beta: float) -> Tensor:
    """Negative evidence lower bound of pictures, whatever their class c."""
    assert isinstance(model, Autoencoder)
    return autoencoding(model, x, beta=beta)


def draw_prior(model: nn.Module, n: int, generator: torch.Generator, *, side: int) -> Tensor:
    """Decode n draws of N(0, I), with the mean and the variance of the latents but nothing else of their law."""
    assert isinstance(model, Autoencoder)
    with torch.no_grad():
        z = torch.randn(n, model.latent_channels, side, side, generator=generator)
        return model.pictures(z.to(model.scale.device))


def fit_constants(model: nn.Module, x: Tensor) -> None:
    """Set shift and scale of a trained autoencoder, from pictures x."""
    assert isinstance(model, Autoencoder)
    model.fit_constants(x)


def evaluate(model: nn.Module) -> dict[str, Estimate]:
    """PSNR, rate and readability of held-out digits after the way through the latents."""
    x, c = digits("test")
    read = accuracy(judge_digits().load(), decoded(model, x), c)
    return judge_latents(model, x) | {"read after decoding": read}


@torch.no_grad()
def judge_latents(model: nn.Module, x: Tensor) -> dict[str, Estimate]:
    """PSNR and rate of held-out pictures, one draw of z each; and whether the constants fit their latents."""
    assert isinstance(model, Autoencoder)
    generator = torch.Generator().manual_seed(1)
    rate = torch.cat([rate_distortion(model, part, generator).rate for part in x.split(250)])
    z = torch.cat([model.latents(part, generator) for part in x.split(250)])
    return {
        "PSNR, held out (dB)": psnr(x, decoded(model, x)),
        "rate, held out (bits a picture)": Estimate.of(rate),
        "rate, held out (bits a pixel)": Estimate.of(rate / x[0, 0].numel()),
        "standard deviation of latents, held out": Estimate(float(z.std()), float("nan")),
    }


@torch.no_grad()
def decoded(model: nn.Module, x: Tensor) -> Tensor:
    """Pictures after the way through the latents, at one draw of z each."""
    assert isinstance(model, Autoencoder)
    generator = torch.Generator().manual_seed(2)
    return torch.cat([model.decode(model.encode(part).sample(generator)) for part in x.split(250)])
