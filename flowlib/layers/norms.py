"""Normalisation of tokens and of heads."""

from __future__ import annotations

from torch import nn

EPS = 1e-6


def layer_norm(width: int, *, affine: bool = False) -> nn.LayerNorm:
    """Layer norm ``(x - mean) / sqrt(var + 1e-6)`` over the features of a token.

    Args:
        width: features of a token.
        affine: whether a learned scale and shift follow; in DiT the time and the class give them instead.
    """
    return nn.LayerNorm(width, eps=EPS, elementwise_affine=affine)


def rms_norm(dim: int) -> nn.RMSNorm:
    """Root-mean-square norm ``g x / sqrt(mean(x^2) + 1e-6)`` with a learned scale g, for queries and keys.

    It bounds a score ``q k / sqrt(d)`` by ``sqrt(d) |g_q g_k|``, and so keeps the softmax of a long training from
    saturating. Source: Zhang and Sennrich 2019; Esser et al. 2024 (SD3), section 5.3.2. Chapter 13 uses it.
    """
    return nn.RMSNorm(dim, eps=EPS)
