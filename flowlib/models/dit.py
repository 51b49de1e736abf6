"""DiT: the vision transformer as a velocity field.

What it changes from ViT:

- the answer is a picture: each token becomes a patch again, and there is no class token;
- positions are not learned but sinusoids of row and column, so that any grid has them;
- time and class are embedded and added up to one vector e, which shifts, scales and gates every branch (adaLN-Zero);
- it starts at v = 0, each block as the identity.

Source: Peebles and Xie 2023.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from flowlib.errors import InputError
from flowlib.layers import (
    AdaLN,
    Affine,
    Attention,
    CrossAttention,
    LabelEmbedding,
    layer_norm,
    mlp,
    patch_grid,
    patchify,
    sinusoidal_2d,
    start_at_zero,
    start_xavier,
    time_embedding,
    unpatchify,
)
from flowlib.models.vit import published_size
from flowlib.shapes import Batch, PerSample
from flowlib.tensors import check_time

SIZES = {"S": (12, 384, 6), "B": (12, 768, 12), "L": (24, 1024, 16), "XL": (28, 1152, 16)}  # depth, width, heads
TIME_FEATURES = 256
Conditioning = Literal["adaln_zero", "adaln", "in_context", "cross_attention"]


class DiTBlock(nn.Module):
    """ViT's two branches, modulated: ``x + gate * branch((1 + scale) * norm(x) + shift)``.

    Args:
        width: features of a token.
        heads: of the attention.
        conditioning: which part hears time and class. ``adaln_zero``: shift, scale and gate of both branches, zero at
            first. ``adaln``: the same without gates. ``in_context``: none, they are two tokens among the others.
            ``cross_attention``: a third branch, in which the tokens ask those two.
    """

    def __init__(self, width: int, heads: int, conditioning: Conditioning = "adaln_zero") -> None:
        super().__init__()
        self.norm = layer_norm(width)
        self.modulation = modulation(width, 2, conditioning)
        self.attention = Attention(width, heads)
        self.mlp = mlp([width, 4 * width, width], partial(nn.GELU, approximate="tanh"))
        if conditioning == "cross_attention":
            self.norm_cross = layer_norm(width, affine=True)
            self.cross = CrossAttention(width, heads)

    def forward(self, x: Tensor, e: Tensor, context: Tensor | None = None) -> Tensor:
        """Tokens (B, N, width), the vector of the condition, (B, width), and for cross-attention its two tokens."""
        first, second = self.modulation(e)
        x = x + first.out(self.attention(first.into(self.norm(x))))
        if context is not None:
            x = x + self.cross(self.norm_cross(x), context)
        return x + second.out(self.mlp(second.into(self.norm(x))))


class DiT(nn.Module):
    """Velocity ``v(x, t, c)`` of pictures or latents, by a transformer over their patches.

    Args:
        channels: C of the pictures.
        num_classes: number of classes K of c, whose null class is K; 0 for a field without condition.
        patch: side of a patch in pixels; halving it makes four times as many tokens.
        width: features of a token.
        depth: number of blocks.
        heads: of each attention.
        conditioning: how the blocks hear time and class, see ``DiTBlock``.
        label_dropout: probability in training that a label becomes the null class.

    Raises:
        InputError: pictures that the patch does not divide or of other channels, times outside [0, 1], labels that are
            missing or out of range, heads that do not divide the width, a width that is no multiple of 4.

    Source: Peebles and Xie 2023, section 3 and figure 3. Chapter 11.
    """

    def __init__(
        self,
        channels: int = 4,
        num_classes: int = 1000,
        *,
        patch: int = 2,
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        conditioning: Conditioning = "adaln_zero",
        label_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if conditioning not in get_args(Conditioning):
            raise InputError("conditioning", expected=f"one of {', '.join(get_args(Conditioning))}", got=conditioning)
        self.channels, self.patch, self.conditioning = channels, patch, conditioning
        self.embed_patch = nn.Linear(channels * patch**2, width)
        self.embed_time = mlp([TIME_FEATURES, width, width])
        self.embed_class = LabelEmbedding(num_classes, width, dropout=label_dropout) if num_classes else None
        self.blocks = nn.ModuleList(DiTBlock(width, heads, conditioning) for _ in range(depth))
        self.norm = layer_norm(width)
        self.modulation = modulation(width, 1, "adaln" if conditioning == "adaln_zero" else conditioning)
        self.head = nn.Linear(width, channels * patch**2)
        start_at_rest(self, self.head, self.embed_time)

    @classmethod
    def of(cls, name: str, **changes: Any) -> DiT:
        """Build a published size, such as ``DiT.of("XL/2")``: S, B, L or XL and the patch; ``changes`` win.

        Raises:
            InputError: no such size.
        """
        return cls(**(published_size(name, SIZES) | changes))

    def forward(self, x: Batch, t: PerSample, c: Tensor | None = None) -> Batch:
        """Velocity at pictures x, (B, C, H, W), times t, (B,), and classes c, (B,)."""
        grid = self._check(x, t, c)
        rows, columns = (torch.arange(n, device=x.device, dtype=x.dtype) for n in grid)
        tokens = self.embed_patch(patchify(x, self.patch))  # (B, N, width)
        tokens = tokens + sinusoidal_2d(rows, columns, tokens.shape[-1])
        vectors = [self.embed_time(time_embedding(t, TIME_FEATURES).to(x.dtype))]  # of time and class, (B, width)
        if self.embed_class is not None:
            vectors.append(self.embed_class(c))
        tokens = self._transform(tokens, vectors)
        return unpatchify(tokens, self.patch, grid)

    def _transform(self, tokens: Tensor, vectors: list[Tensor]) -> Tensor:
        """Blocks and head, (B, N, width) to (B, N, C patch^2), told time and class in one of the ways."""
        e, context = sum(vectors[1:], vectors[0]), torch.stack(vectors, 1)
        if self.conditioning == "in_context":
            tokens = torch.cat([context, tokens], 1)
        for block in self.blocks:
            tokens = block(tokens, e, context if self.conditioning == "cross_attention" else None)
        if self.conditioning == "in_context":
            tokens = tokens[:, len(vectors) :]
        (last,) = self.modulation(e)
        return self.head(last.into(self.norm(tokens)))

    def _check(self, x: Tensor, t: Tensor, c: Tensor | None) -> tuple[int, int]:
        grid = check_pictures(x, t, self.channels, self.patch)
        if self.embed_class is not None:
            self.embed_class.check(c, len(x))
        elif c is not None:
            raise InputError("c", expected="None, this field has no classes", got=f"shape {tuple(c.shape)}")
        return grid


def start_at_rest(net: nn.Module, head: nn.Module, clocks: Iterable[nn.Module]) -> None:
    """Draw the weights of a DiT, an MM-DiT or a Flux so that v = 0 and each gated block is the identity.

    Args:
        net: the whole network.
        head: its last layer.
        clocks: the layers that read a time, or another number embedded like one.
    """
    net.apply(start_xavier)
    for layer in clocks:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.02)
    for layer in net.modules():  # every block starts as the identity: depth costs nothing at first
        if isinstance(layer, AdaLN):
            start_at_zero(layer.linear)
    start_at_zero(head)  # the first velocity is 0, whatever the blocks do


def check_pictures(x: Tensor, t: Tensor, channels: int, patch: int) -> tuple[int, int]:
    """Patches in a column and in a row of pictures x, (B, channels, H, W), whose times t, (B,), are checked too.

    Raises:
        InputError: pictures that the patch does not divide or of other channels, times outside [0, 1].
    """
    grid = patch_grid(x, patch)
    if x.shape[1] != channels:
        raise InputError("x", expected=f"shape (B, {channels}, H, W)", got=f"shape {tuple(x.shape)}")
    check_time(t, x)
    return grid


def modulation(width: int, branches: int, conditioning: Conditioning) -> nn.Module:
    """What modulates the branches: time and class (adaLN), or only learned constants, as in any layer norm."""
    if conditioning in ("adaln_zero", "adaln"):
        return AdaLN(width, branches, gate=conditioning == "adaln_zero")
    return Affine(width, branches)
