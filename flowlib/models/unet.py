"""The U-Net: a velocity field for pictures.

What it changes from the MLP: convolutions instead of matrices, so that a stroke means the same wherever it is; a way
down to coarse pictures and up again, with the fine ones handed across; the time and the class scale and shift every
normalised feature, instead of being one more input.

Source: Ho et al. 2020 (DDPM), appendix B; Dhariwal and Nichol 2021, section 3 (adaptive group normalisation).
"""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from flowlib.errors import InputError
from flowlib.layers import mlp, time_embedding
from flowlib.models.mlp import check_second_time
from flowlib.shapes import Batch, PerSample
from flowlib.tensors import check_time

TIME_FEATURES = 64
SLOW = 0.005  # an average velocity is compared with itself at times nearby: it sees 5 t, where a velocity sees 1000 t
SIZES: dict[str, dict[str, Any]] = {
    # The network of the flow-matching papers. Theirs has 35.7 M parameters: there the time only shifts the features.
    # Here it scales them too, which takes 2.6 M more.
    "cifar10": {
        "channels": 3,
        "width": 128,
        "multipliers": (1, 2, 2, 2),
        "blocks": 2,
        "attention": (1,),
        "heads": 4,
        "dropout": 0.1,
    },
}


class ResidualBlock(nn.Module):
    """Two convolutions around a skip, ``x + conv(silu((1 + scale) norm(h) + shift))`` with ``h = conv(silu(norm(x)))``.

    The last convolution starts at zero, so that the block starts as the skip alone.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; where they differ the skip is a 1 x 1 convolution.
        embedding: size of the vector that gives scale and shift.
        dropout: before the last convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.norm_1 = nn.GroupNorm(8, in_channels)
        self.conv_1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * out_channels)
        self.norm_2 = nn.GroupNorm(8, out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv_2 = zero(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        same = in_channels == out_channels
        self.skip = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """Features (B, C, H, W) and embedding (B, E) to features."""
        h = self.conv_1(nn.functional.silu(self.norm_1(x)))
        scale, shift = self.modulation(e)[:, :, None, None].chunk(2, 1)
        h = nn.functional.silu(self.norm_2(h) * (1 + scale) + shift)
        return self.skip(x) + self.conv_2(self.dropout(h))


class PixelAttention(nn.Module):
    """Self-attention in which each pixel of a coarse picture is a token; the residual branch starts at zero."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(8, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, C, H, W) to features."""
        q, k, v = rearrange(self.qkv(self.norm(x)), "b (n k d) h w -> n b k (h w) d", n=3, k=self.heads)
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        return x + self.out(rearrange(y, "b k (h w) d -> b (k d) h w", h=x.shape[2]))


class Block(nn.Module):
    """A residual block, followed by attention where ``heads`` is not 0."""

    def __init__(self, in_channels: int, out_channels: int, embedding: int, dropout: float, heads: int) -> None:
        super().__init__()
        self.residual = ResidualBlock(in_channels, out_channels, embedding, dropout)
        self.attention = PixelAttention(out_channels, heads) if heads else nn.Identity()

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """Features (B, C, H, W) and embedding (B, E) to features."""
        return self.attention(self.residual(x, e))


class UNet(nn.Module):
    """Velocity ``v(x, t, c)`` of pictures, by a convolutional network that sees them at several sizes.

    Args:
        channels: C of the pictures.
        num_classes: number of classes of c; 0 for a field without condition.
        width: channels at the full size.
        multipliers: of the width, one a level; each level halves the picture.
        blocks: residual blocks a level on the way down, one more on the way up.
        attention: levels that have attention, 0 the full size; the middle always does.
        heads: of the attention.
        dropout: in every block.
        average: whether a second time r is an input, embedded as r - t beside t: then this is an average velocity
            u(x, t, c, r=r) (chapter 16).

    Raises:
        InputError: pictures whose sides the levels cannot halve, a missing or unwanted class or second time.
    """

    def __init__(
        self,
        channels: int = 1,
        num_classes: int = 0,
        *,
        width: int = 32,
        multipliers: tuple[int, ...] = (1, 2),
        blocks: int = 2,
        attention: tuple[int, ...] = (1,),
        heads: int = 4,
        dropout: float = 0.0,
        average: bool = False,
    ) -> None:
        super().__init__()
        self.channels, self.num_classes, self.smallest = channels, num_classes, 2 ** (len(multipliers) - 1)
        size = 4 * width
        self.embed_time = nn.Sequential(nn.Linear(TIME_FEATURES, size), nn.SiLU(), nn.Linear(size, size))
        self.embed_class = nn.Embedding(num_classes, size) if num_classes else None
        self.stem = nn.Conv2d(channels, width, 3, padding=1)

        def block(before: int, after: int, level: int) -> Block:
            return Block(before, after, size, dropout, heads if level in attention else 0)

        widths = [width * m for m in multipliers]
        now, skips = width, [width]  # channels of the current features, and of those kept for the way up
        self.down = nn.ModuleList()
        for level, after in enumerate(widths):
            for _ in range(blocks):
                self.down.append(block(now, after, level))
                now = after
                skips.append(now)
            if level < len(widths) - 1:
                self.down.append(nn.Conv2d(now, now, 3, stride=2, padding=1))
                skips.append(now)
        self.middle = nn.ModuleList([Block(now, now, size, dropout, heads), Block(now, now, size, dropout, 0)])
        self.up = nn.ModuleList()
        for level, after in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                self.up.append(block(now + skips.pop(), after, level))
                now = after
            if level > 0:
                self.up.append(nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(now, now, 3, padding=1)))
        self.head = nn.Sequential(nn.GroupNorm(8, now), nn.SiLU(), zero(nn.Conv2d(now, channels, 3, padding=1)))
        self.embed_length = mlp([TIME_FEATURES, size, size]) if average else None

    @classmethod
    def of(cls, name: str, **changes: Any) -> UNet:
        """Build a published size: "cifar10", for pictures of 32 x 32 with attention at 16 x 16; ``changes`` win.

        Raises:
            InputError: no such size.

        Source: Tong et al. 2024 (OT-CFM), appendix E, and its published code; Ho et al. 2020, appendix B.
        """
        if name not in SIZES:
            raise InputError("name", expected=f"one of {', '.join(SIZES)}", got=repr(name))
        return cls(**(SIZES[name] | changes))

    def forward(self, x: Batch, t: PerSample, c: Tensor | None = None, *, r: PerSample | None = None) -> Batch:
        """Velocity at pictures x, (B, C, H, W), times t, (B,), and classes c, (B,), or its average up to r, (B,).

        Where the network has a second time and r is left out, r is t.
        """
        self._check(x, t, c)
        check_second_time(r, t, self.embed_length is not None)
        slow = SLOW if self.embed_length is not None else 1.0
        e = self.embed_time(time_embedding(slow * t, TIME_FEATURES))
        if self.embed_length is not None:
            e = e + self.embed_length(time_embedding(slow * ((t if r is None else r) - t), TIME_FEATURES))
        if self.embed_class is not None:
            e = e + self.embed_class(c)
        e = nn.functional.silu(e)
        h = self.stem(x)
        skips = [h]
        for layer in self.down:
            h = layer(h, e) if isinstance(layer, Block) else layer(h)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, e)
        for layer in self.up:
            h = layer(torch.cat([h, skips.pop()], 1), e) if isinstance(layer, Block) else layer(h)
        return self.head(h)

    def _check(self, x: Tensor, t: Tensor, c: Tensor | None) -> None:
        if x.ndim != 4 or x.shape[1] != self.channels or x.shape[2] % self.smallest or x.shape[3] % self.smallest:
            raise InputError(
                "x",
                expected=f"shape (B, {self.channels}, H, W) with H and W multiples of {self.smallest}",
                got=f"shape {tuple(x.shape)}",
            )
        check_time(t, x)
        if self.num_classes == 0:
            if c is not None:
                raise InputError("c", expected="None, this field has no classes", got=f"shape {tuple(c.shape)}")
            return
        wanted = f"classes 0 to {self.num_classes - 1}, ({len(x)},)"
        if c is None or c.shape != (len(x),) or c.is_floating_point():
            raise InputError("c", expected=wanted, got=None if c is None else f"{c.dtype} of shape {tuple(c.shape)}")
        if c.device.type == "cpu" and c.numel() and not 0 <= int(c.min()) <= int(c.max()) < self.num_classes:
            raise InputError("c", expected=wanted, got=f"{int(c.min())} to {int(c.max())}")


def zero(layer: nn.Conv2d) -> nn.Conv2d:
    """Start a layer at zero, so that the branch it ends does nothing until it has learnt something."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
