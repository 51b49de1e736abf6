"""Joint attention: two sequences with their own weights, and one attention over both."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from flowlib.layers.attention import Attention, Heads, attention_weights, fused_attention, plain_attention
from flowlib.layers.positions import rotate


class JointAttention(nn.Module):
    """Attention of the tokens of a text and of a picture over ``[text, picture]``, the text first.

    Each stream has its own maps to queries, keys and values, and its own map out of what comes back; in between every
    token of either asks all M + N tokens.

    Args:
        width: features of a token, of either stream.
        heads: number of heads, a divisor of the width.
        qk_norm: whether queries and keys are normalised head by head, before they are rotated.
        last: whether nothing asks what the text took; its stream then has no map out and comes back as None.
        fused: whether one kernel does it; an attribute that may be changed at any time.

    Raises:
        InputError: heads that do not divide the width.

    Source: Esser et al. 2024 (SD3), section 4 and figure 2. Chapter 13.
    """

    def __init__(
        self, width: int, heads: int, *, qk_norm: bool = False, last: bool = False, fused: bool = True
    ) -> None:
        super().__init__()
        self.last, self.fused = last, fused
        self.text = Attention(width, heads, qk_norm=qk_norm)
        self.image = Attention(width, heads, qk_norm=qk_norm)
        if last:
            del self.text.out

    def forward(
        self, text: Tensor, image: Tensor, *, angles: Tensor | None = None, bias: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor]:
        """What the tokens of each stream take from all, (B, M, width) and (B, N, width).

        Args:
            text: tokens (B, M, width).
            image: tokens (B, N, width).
            angles: of RoPE over the M + N places, the text first; from ``rotary_angles``.
            bias: of the scores, broadcast to (B, heads, M + N, M + N); -inf hides a key.
        """
        attention = fused_attention if self.fused else plain_attention
        y = rearrange(attention(*self.split(text, image, angles), bias), "b k n d -> b n (k d)")
        from_text, from_image = y[:, : text.shape[1]], y[:, text.shape[1] :]
        return None if self.last else self.text.out(from_text), self.image.out(from_image)

    def weights(
        self, text: Tensor, image: Tensor, *, angles: Tensor | None = None, bias: Tensor | None = None
    ) -> Tensor:
        """Who looks at whom, (B, heads, M + N, M + N): row n holds the weights with which token n takes from all."""
        q, k, _ = self.split(text, image, angles)
        return attention_weights(q, k, bias)

    def split(self, text: Tensor, image: Tensor, angles: Tensor | None = None) -> tuple[Heads, Heads, Heads]:
        """Queries, keys and values of both, (B, heads, M + N, d) each: normalised, put together, then rotated."""
        streams = zip(self.text.split(text), self.image.split(image), strict=True)
        q, k, v = (torch.cat(both, 2) for both in streams)
        return (q, k, v) if angles is None else (rotate(q, angles), rotate(k, angles), v)
