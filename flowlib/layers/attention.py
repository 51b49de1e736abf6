"""Attention: every token asks all others, and takes from each what it answers."""

from __future__ import annotations

import math

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from flowlib.errors import InputError
from flowlib.layers.norms import rms_norm
from flowlib.layers.positions import rotate

Heads = Float[Tensor, "B heads N d"]


def attention_weights(q: Tensor, k: Tensor, bias: Tensor | None = None) -> Tensor:
    """Weights ``softmax(q k^T / sqrt(d) + bias)`` over the keys, (B, heads, N, M); each row adds up to 1.

    Args:
        q: queries, (B, heads, N, d).
        k: keys, (B, heads, M, d).
        bias: added to the scores, broadcast to (B, heads, N, M); -inf hides a key.

    Raises:
        InputError: a bias of bools or integers.

    Source: Vaswani et al. 2017, equation 1. Chapter 10 derives it.
    """
    _check_bias(bias)
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    return (scores if bias is None else scores + bias).softmax(-1)


def plain_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Weighted mean of the values, ``softmax(q k^T / sqrt(d) + bias) v``, written out: (B, heads, N, d)."""
    return attention_weights(q, k, bias) @ v


def fused_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """The same as ``plain_attention``, by one kernel that never stores the N x M weights.

    The kernel has no forward-mode derivative; inside a ``jvp`` use the plain form.
    """
    _check_bias(bias)  # a mask of bools would mean another thing here than above
    return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)


class Attention(nn.Module):
    """Multi-head self-attention of tokens (B, N, width).

    Args:
        width: features of a token.
        heads: number of heads, a divisor of the width.
        qk_norm: whether queries and keys are normalised head by head, before they are rotated.
        fused: whether one kernel does it; an attribute that may be changed at any time.

    Raises:
        InputError: heads that do not divide the width.

    Source: Vaswani et al. 2017, section 3.2.2; query-key norm as in Esser et al. 2024 (SD3). Chapter 10.
    """

    def __init__(self, width: int, heads: int, *, qk_norm: bool = False, fused: bool = True) -> None:
        super().__init__()
        check_heads(width, heads)
        self.heads, self.fused = heads, fused
        self.qkv = nn.Linear(width, 3 * width)
        self.norm_q = rms_norm(width // heads) if qk_norm else nn.Identity()
        self.norm_k = rms_norm(width // heads) if qk_norm else nn.Identity()
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, *, angles: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """Tokens (B, N, width) to tokens.

        Args:
            x: tokens.
            angles: of RoPE, from ``rotary_angles``.
            bias: of the scores, from ``RelativeBias`` or a mask of 0 and -inf, broadcast to (B, heads, N, N).
        """
        y = (fused_attention if self.fused else plain_attention)(*self.split(x, angles), bias)
        return self.out(rearrange(y, "b k n d -> b n (k d)"))

    def weights(self, x: Tensor, *, angles: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """Who looks at whom, (B, heads, N, N): row n holds the weights with which token n takes from the others."""
        q, k, _ = self.split(x, angles)
        return attention_weights(q, k, bias)

    def split(self, x: Tensor, angles: Tensor | None = None) -> tuple[Heads, Heads, Heads]:
        """Queries, keys and values of tokens (B, N, width), (B, heads, N, d) each: normalised, then rotated."""
        q, k, v = rearrange(self.qkv(x), "b n (three k d) -> three b k n d", three=3, k=self.heads)
        q, k = self.norm_q(q), self.norm_k(k)
        return (q, k, v) if angles is None else (rotate(q, angles), rotate(k, angles), v)


class CrossAttention(nn.Module):
    """Attention whose queries come from the tokens, and whose keys and values come from a context (B, M, width).

    Args:
        width: features of a token and of an element of the context.
        heads: number of heads, a divisor of the width.

    Raises:
        InputError: heads that do not divide the width.

    Source: Vaswani et al. 2017, section 3.2.3. Chapter 11.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        check_heads(width, heads)
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Tokens (B, N, width) and context (B, M, width) to tokens."""
        q = rearrange(self.q(x), "b n (k d) -> b k n d", k=self.heads)
        k, v = rearrange(self.kv(context), "b m (two k d) -> two b k m d", two=2, k=self.heads)
        return self.out(rearrange(fused_attention(q, k, v), "b k n d -> b n (k d)"))


def _check_bias(bias: Tensor | None) -> None:
    if bias is not None and not bias.is_floating_point():
        raise InputError(
            "bias",
            expected="numbers added to the scores, -inf where a key is hidden",
            got=str(bias.dtype),
            cure="torch.zeros(mask.shape).masked_fill(~mask, -torch.inf) for a mask that is True where a key is seen",
        )


def check_heads(width: int, heads: int) -> None:
    """Raise ``InputError`` unless the heads divide the width."""
    if heads < 1 or width % heads:
        raise InputError("heads", expected=f"a divisor of the width, {width}", got=heads)
