"""The KL autoencoder: pictures to a small grid of latents and back.

Its encoder answers with a normal law for each picture, q(z | x) = N(mean, exp(logvar)), its decoder with a picture for
each z. What it changes from the U-Net: nothing is handed across, so that all the decoder learns of a picture is z; it
has no time and no class; attention is at the middle alone.

Source: Kingma and Welling 2014; Rombach et al. 2022 (LDM), appendix G, and their code, whose layout this is.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from flowlib.errors import InputError
from flowlib.layers import Attention
from flowlib.shapes import PerSample
from flowlib.tensors import randn, sum_event

Pictures = Float[Tensor, "B C H W"]
Latents = Float[Tensor, "B K h w"]  # K channels, at h = H / f and w = W / f

EPS = 1e-6
LOGVAR = (-30.0, 20.0)  # the bounds of LDM's code: exp(logvar) stays far from 0 and from infinity
SIZES: dict[str, dict[str, Any]] = {
    "sd": {"latent_channels": 4, "quant": True, "scale": 0.18215},
    "sd3": {"latent_channels": 16, "shift": 0.0609, "scale": 1.5305},
    "flux": {"latent_channels": 16, "shift": 0.1159, "scale": 0.3611},
}


class Posterior(NamedTuple):
    """The law ``q(z | x) = N(mean, exp(logvar))`` of each picture's latents, every number on its own.

    Attributes:
        mean: (B, C, h, w).
        logvar: logarithm of the variance, (B, C, h, w).
    """

    mean: Latents
    logvar: Latents

    def sample(self, generator: torch.Generator | None = None) -> Latents:
        """Draw ``z = mean + exp(logvar / 2) eps`` with eps ~ N(0, I), so that gradients reach mean and logvar."""
        return self.mean + torch.exp(self.logvar / 2) * randn(self.mean.shape, like=self.mean, generator=generator)

    def rate(self) -> PerSample:
        """Kullback-Leibler divergence to N(0, I) in nats, ``sum (mean^2 + exp(logvar) - 1 - logvar) / 2``, (B,).

        Source: Kingma and Welling 2014, appendix B. Chapter 12 derives it.
        """
        return sum_event(self.mean.square() + self.logvar.exp() - 1 - self.logvar) / 2


class ResidualBlock(nn.Module):
    """Two convolutions around a skip, ``x + conv(silu(norm(conv(silu(norm(x))))))``."""

    def __init__(self, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.norm_1 = nn.GroupNorm(groups, in_channels, EPS)
        self.conv_1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm_2 = nn.GroupNorm(groups, out_channels, EPS)
        self.conv_2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        same = in_channels == out_channels
        self.skip = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, C, H, W) to features."""
        h = self.conv_1(nn.functional.silu(self.norm_1(x)))
        return self.skip(x) + self.conv_2(nn.functional.silu(self.norm_2(h)))


class Middle(nn.Module):
    """Block, attention with one head among the pixels of the smallest grid, block."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(channels, channels, groups)
        self.norm = nn.GroupNorm(groups, channels, EPS)
        self.attention = Attention(channels, 1)
        self.block_2 = ResidualBlock(channels, channels, groups)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, C, H, W) to features."""
        x = self.block_1(x)
        y = self.attention(rearrange(self.norm(x), "b c h w -> b (h w) c"))
        return self.block_2(x + rearrange(y, "b (h w) c -> b c h w", h=x.shape[2]))


class Downsample(nn.Module):
    """Halve the sides by a convolution of stride 2, with one row and column of zeros at the bottom and right alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, C, H, W) to (B, C, H / 2, W / 2)."""
        return self.conv(nn.functional.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Double the sides: each pixel four times, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, C, H, W) to (B, C, 2 H, 2 W)."""
        # interpolate(x, scale_factor=2) gives the same, and takes some ten times as long on one core
        return self.conv(x.repeat_interleave(2, 2).repeat_interleave(2, 3))


class Level(nn.Module):
    """Residual blocks at one size, then the way to the next size, if there is one."""

    def __init__(self, in_channels: int, out_channels: int, blocks: int, groups: int, resize: nn.Module) -> None:
        super().__init__()
        widths = [in_channels] + [out_channels] * blocks
        self.blocks = nn.ModuleList(ResidualBlock(a, b, groups) for a, b in pairwise(widths))
        self.resize = resize

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, C, H, W) to features of the next size."""
        for block in self.blocks:
            x = block(x)
        return self.resize(x)


class Encoder(nn.Module):
    """Pictures (B, C, H, W) to the numbers of a posterior, at sides H / f and W / f with f = 2^(levels - 1)."""

    def __init__(self, channels: int, out_channels: int, widths: Sequence[int], blocks: int, groups: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        last = len(widths) - 1
        self.levels = nn.ModuleList(
            Level(widths[max(i - 1, 0)], w, blocks, groups, Downsample(w) if i < last else nn.Identity())
            for i, w in enumerate(widths)
        )
        self.middle = Middle(widths[-1], groups)
        self.norm = nn.GroupNorm(groups, widths[-1], EPS)
        self.head = nn.Conv2d(widths[-1], out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures to features."""
        h = self.stem(x)
        for level in self.levels:
            h = level(h)
        return self.head(nn.functional.silu(self.norm(self.middle(h))))


class Decoder(nn.Module):
    """Latents to pictures: the encoder's way back, with one block a level more."""

    def __init__(self, channels: int, in_channels: int, widths: Sequence[int], blocks: int, groups: int) -> None:
        super().__init__()
        widths = list(reversed(widths))
        self.stem = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self.middle = Middle(widths[0], groups)
        last = len(widths) - 1
        self.levels = nn.ModuleList(
            Level(widths[max(i - 1, 0)], w, blocks + 1, groups, Upsample(w) if i < last else nn.Identity())
            for i, w in enumerate(widths)
        )
        self.norm = nn.GroupNorm(groups, widths[-1], EPS)
        self.head = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Latents to pictures."""
        h = self.middle(self.stem(z))
        for level in self.levels:
            h = level(h)
        return self.head(nn.functional.silu(self.norm(h)))


class Autoencoder(nn.Module):
    """Encoder ``q(z | x)``, decoder ``x(z)``, and the two numbers that bring its latents to mean 0 and variance 1.

    A flow lives in ``latents(x) = scale (z - shift)``, and ``pictures`` goes back.

    Args:
        channels: C of the pictures.
        latent_channels: C of the latents.
        widths: channels at each size, the full one first; each further level halves the sides.
        blocks: residual blocks a level in the encoder, one more in the decoder.
        groups: of every normalisation, a divisor of the widths.
        quant: whether a 1 x 1 convolution follows the encoder, and another precedes the decoder.
        shift: mean of z over the data.
        scale: 1 / standard deviation of z over the data.

    Raises:
        InputError: groups that do not divide the widths; pictures or latents of other channels or sides.

    Source: Rombach et al. 2022, section 3.1 and appendix G; section 4.3.2 for the scale. Chapter 12.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        channels: int = 3,
        latent_channels: int = 4,
        *,
        widths: Sequence[int] = (128, 256, 512, 512),
        blocks: int = 2,
        groups: int = 32,
        quant: bool = False,
        shift: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        odd = [width for width in widths if width % groups]
        if odd or not widths:
            raise InputError("groups", expected=f"a divisor of every width in {list(widths)}", got=groups)
        self.channels, self.latent_channels, self.factor = channels, latent_channels, 2 ** (len(widths) - 1)
        self.encoder = Encoder(channels, 2 * latent_channels, widths, blocks, groups)
        self.decoder = Decoder(channels, latent_channels, widths, blocks, groups)
        self.quant = nn.Conv2d(2 * latent_channels, 2 * latent_channels, 1) if quant else nn.Identity()
        self.unquant = nn.Conv2d(latent_channels, latent_channels, 1) if quant else nn.Identity()
        self.register_buffer("shift", torch.tensor(shift))
        self.register_buffer("scale", torch.tensor(scale))

    @classmethod
    def of(cls, name: str, **changes: Any) -> Autoencoder:
        """Build a released size: "sd" (4 channels), "sd3" or "flux" (16), at an eighth of the sides; ``changes`` win.

        Raises:
            InputError: no such size.
        """
        if name not in SIZES:
            raise InputError("name", expected=f"one of {', '.join(SIZES)}", got=repr(name))
        return cls(**(SIZES[name] | changes))

    def encode(self, x: Pictures) -> Posterior:
        """Posterior of pictures, (B, C, H, W)."""
        f = self.factor
        if x.ndim != 4 or x.shape[1] != self.channels or x.shape[2] % f or x.shape[3] % f:
            expected = f"shape (B, {self.channels}, H, W) with H and W multiples of {f}"
            raise InputError("x", expected=expected, got=f"shape {tuple(x.shape)}")
        mean, logvar = self.quant(self.encoder(x)).chunk(2, 1)
        return Posterior(mean, logvar.clamp(*LOGVAR))

    def decode(self, z: Latents) -> Pictures:
        """Pictures of raw latents z, (B, C, h, w), as ``encode`` gives them."""
        if z.ndim != 4 or z.shape[1] != self.latent_channels:
            raise InputError("z", expected=f"shape (B, {self.latent_channels}, h, w)", got=f"shape {tuple(z.shape)}")
        return self.decoder(self.unquant(z))

    def standardise(self, z: Latents) -> Latents:
        """Latents with mean 0 and variance 1 over the data, ``scale (z - shift)``."""
        return (z - self.shift) * self.scale

    def restore(self, z: Latents) -> Latents:
        """Raw latents, ``z / scale + shift``: the inverse of ``standardise``, and nothing else is."""
        return z / self.scale + self.shift

    def latents(self, x: Pictures, generator: torch.Generator | None = None) -> Latents:
        """Encode pictures to what a flow lives in: a standardised sample of the posterior."""
        return self.standardise(self.encode(x).sample(generator))

    def pictures(self, z: Latents) -> Pictures:
        """Decode what a flow made: the inverse of ``latents``, as well as the autoencoder can."""
        return self.decode(self.restore(z))

    @torch.no_grad()
    def fit_constants(self, x: Pictures) -> None:
        """Set shift and scale so that the latents of the pictures ``x`` have mean 0 and variance 1.

        With the law of z a mixture of posteriors, ``E z = E mean`` and ``E z^2 = E (mean^2 + exp(logvar))``: nothing
        is drawn.
        """
        parts = [self.encode(part) for part in x.split(250)]
        mean, logvar = (torch.cat(part).double() for part in zip(*parts, strict=True))
        shift = mean.mean()
        variance = (mean.square() + logvar.exp()).mean() - shift.square()
        self.shift.fill_(shift)
        self.scale.fill_(variance.rsqrt())
