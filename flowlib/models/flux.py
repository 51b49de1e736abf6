"""Flux: MM-DiT whose two streams become one.

What it changes from MM-DiT:

- after the first third of the blocks text and picture are one sequence with one set of weights (single-stream blocks),
  in which attention and perceptron stand side by side: one map in, one map out, one norm, one modulation;
- positions are not added to the tokens but turn queries and keys in every block (RoPE on three axes); a word has the
  place (0, 0, 0), a patch (0, row, column), and no grid is the largest;
- queries and keys are always normalised, before they are turned;
- the strength of guidance may be an input w, embedded like the time: one evaluation instead of two;
- no block drops the text: the double-stream blocks keep both, the single-stream ones carry it along.

Source: Black Forest Labs 2024, the code of Flux.1.
"""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from flowlib.errors import InputError
from flowlib.layers import (
    AdaLN,
    fused_attention,
    grid_ids,
    layer_norm,
    mlp,
    patchify,
    plain_attention,
    rms_norm,
    rotary_angles,
    rotate,
    time_embedding,
    unpatchify,
)
from flowlib.layers.attention import check_heads
from flowlib.models.dit import TIME_FEATURES, check_pictures, start_at_rest
from flowlib.models.mmdit import JointBlock, check_text, hide_padding
from flowlib.models.text import Text
from flowlib.models.vit import named_size
from flowlib.shapes import Batch, PerSample

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"channels": 3, "words": 96, "pooled": 96, "width": 96, "heads": 4, "double": 2, "single": 4}
    | {"patch": 4, "axes": (4, 10, 10), "guidance": False},
    "schnell": {"guidance": False},
    "dev": {"guidance": True},
}


class SingleBlock(nn.Module):
    """One sequence, one set of weights, attention and perceptron side by side.

    ``x + gate * W_out [attention(q, k, v), gelu(u)]`` with ``[q, k, v, u] = W_in ((1 + scale) * norm(x) + shift)``.

    Args:
        width: features of a token.
        heads: of the attention.

    Source: Dehghani et al. 2023 (ViT-22B), section 2.1, for the parallel branches; the code of Flux.1. Chapter 14.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        check_heads(width, heads)
        self.width, self.heads, self.fused = width, heads, True
        self.norm = layer_norm(width)
        self.modulation = AdaLN(width, 1)
        self.into = nn.Linear(width, (3 + 4) * width)  # queries, keys, values, and what the perceptron holds inside
        self.norm_q = rms_norm(width // heads)
        self.norm_k = rms_norm(width // heads)
        self.out = nn.Linear((1 + 4) * width, width)

    def forward(self, x: Tensor, e: Tensor, *, angles: Tensor, bias: Tensor | None = None) -> Tensor:
        """Tokens (B, M + N, width), the text first, to tokens, modulated by e, (B, width)."""
        (modulation,) = self.modulation(e)
        qkv, u = self.into(modulation.into(self.norm(x))).split([3 * self.width, 4 * self.width], -1)
        attention = fused_attention if self.fused else plain_attention
        y = rearrange(attention(*self.split(qkv, angles), bias), "b k n d -> b n (k d)")
        return x + modulation.out(self.out(torch.cat([y, nn.functional.gelu(u, approximate="tanh")], -1)))

    def split(self, qkv: Tensor, angles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, (B, heads, M + N, d) each: normalised, then rotated."""
        q, k, v = rearrange(qkv, "b n (three k d) -> three b k n d", three=3, k=self.heads)
        return rotate(self.norm_q(q), angles), rotate(self.norm_k(k), angles), v


class Flux(nn.Module):
    """Velocity ``v(x, t, c, w=...)`` of pictures or latents, whose condition c is a ``Text``.

    Args:
        channels: C of the pictures.
        words: features D of a token of the text.
        pooled: features P of its pooled vector.
        width: features of a token inside.
        heads: of each attention.
        double: number of double-stream blocks.
        single: number of single-stream blocks.
        patch: side of a patch in pixels.
        axes: features of a head that the three coordinates turn; they add up to width / heads.
        guidance: whether the strength of guidance w is an input.

    Raises:
        InputError: pictures that the patch does not divide or of other channels, times outside [0, 1], a text that is
            missing or of other sizes, w where there is no such input or none where there is, axes that do not fill a
            head, a size that is not published.

    Source: Black Forest Labs 2024, the code of Flux.1. Chapter 14.
    """

    def __init__(
        self,
        channels: int = 16,
        words: int = 4096,
        pooled: int = 768,
        *,
        width: int = 3072,
        heads: int = 24,
        double: int = 19,
        single: int = 38,
        patch: int = 2,
        axes: tuple[int, int, int] = (16, 56, 56),
        guidance: bool = False,
    ) -> None:
        super().__init__()
        check_heads(width, heads)
        if len(axes) != 3 or any(a % 2 for a in axes) or sum(axes) != width // heads:
            raise InputError("axes", expected=f"three even numbers that add up to {width // heads}", got=axes)
        self.channels, self.words, self.pooled, self.patch, self.axes = channels, words, pooled, patch, axes
        self.embed_patch = nn.Linear(channels * patch**2, width)
        self.embed_text = nn.Linear(words, width)
        self.embed_time = mlp([TIME_FEATURES, width, width])
        self.embed_pooled = mlp([pooled, width, width])
        self.embed_guidance = mlp([TIME_FEATURES, width, width]) if guidance else None
        self.double_blocks = nn.ModuleList(JointBlock(width, heads, qk_norm=True) for _ in range(double))
        self.single_blocks = nn.ModuleList(SingleBlock(width, heads) for _ in range(single))
        self.norm = layer_norm(width)
        self.modulation = AdaLN(width, 1, gate=False)
        self.head = nn.Linear(width, channels * patch**2)
        start_at_rest(self, self.head, (*self.embed_time, *(self.embed_guidance or ())))

    @classmethod
    def of(cls, name: str, **changes: Any) -> Flux:
        """Build a size by name: ``"schnell"`` and ``"dev"`` are published, ``"tiny"`` is ours; ``changes`` win.

        Raises:
            InputError: no such size.
        """
        return cls(**(named_size(name, SIZES) | changes))

    def forward(self, x: Batch, t: PerSample, c: Text, *, w: PerSample | float | None = None) -> Batch:
        """Velocity at pictures x, (B, C, H, W), times t, (B,), texts c, and guidance w, (B,) or one number.

        ``partial(flux, w=3.0)`` is a field; w is that of ``guide``, and w = 1 is no guidance.
        """
        grid = self._check(x, t, c, w)
        text, image, e = self.embed(x, t, c, w)
        angles = self.angles(text.shape[1], grid, x.device)
        bias = None if c.mask is None else hide_padding(c.mask, image)
        for block in self.double_blocks:
            text, image = block(text, image, e, angles=angles, bias=bias)
        tokens = torch.cat([text, image], 1)  # (B, M + N, width)
        for block in self.single_blocks:
            tokens = block(tokens, e, angles=angles, bias=bias)
        (last,) = self.modulation(e)
        return unpatchify(self.head(last.into(self.norm(tokens[:, text.shape[1] :]))), self.patch, grid)

    def embed(self, x: Tensor, t: Tensor, c: Text, w: Tensor | float | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """What the first block gets: the tokens of the text and of the picture, and the vector e."""
        e = self.embed_time(time_embedding(t, TIME_FEATURES).to(x.dtype)) + self.embed_pooled(c.pooled)
        if self.embed_guidance is not None:
            w = torch.as_tensor(w, device=t.device, dtype=t.dtype).expand(len(x))
            e = e + self.embed_guidance(time_embedding(w, TIME_FEATURES).to(x.dtype))  # times 1000, like the time
        return self.embed_text(c.tokens), self.embed_patch(patchify(x, self.patch)), e

    def angles(self, words: int, grid: tuple[int, int], device: torch.device | str | None = None) -> Tensor:
        """Angles of RoPE, (M + N, d / 2): words at (0, 0, 0), then patches at (0, row, column)."""
        ids = torch.cat([torch.zeros(words, 3, dtype=torch.long, device=device), grid_ids(1, *grid, device=device)])
        return rotary_angles(ids, self.axes)

    def _check(self, x: Tensor, t: Tensor, c: Text, w: Tensor | float | None) -> tuple[int, int]:
        grid = check_pictures(x, t, self.channels, self.patch)
        check_text(c, len(x), self.words, self.pooled)
        if (w is None) == (self.embed_guidance is not None):
            raise InputError(
                "w",
                expected="none, this Flux has no input for it" if w is not None else "the strength of guidance",
                got=w,
                cure="Flux.of('tiny', guidance=True) has one; functools.partial(flux, w=3.0) is a field",
            )
        if isinstance(w, Tensor) and w.shape not in ((), (len(x),)):
            raise InputError("w", expected=f"a number, or shape ({len(x)},)", got=f"shape {tuple(w.shape)}")
        return grid
