"""Text as a condition: what a caption becomes before a picture transformer reads it.

Large models freeze encoders that were trained on other text (CLIP, T5); here a small one learns with the flow. Either
way a caption arrives as one ``Text``: a sequence, which attention reads word by word, and one vector, which joins the
time in the modulations.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from flowlib.errors import InputError
from flowlib.layers import LearnedPositions, layer_norm
from flowlib.models.vit import ViTBlock
from flowlib.shapes import Batch, PerSample
from flowlib.tensors import per_sample

LAST = 0.05  # of the way to the picture
EMPTY = 0  # the number of no word; a caption of nothing else is the empty one


class Text(NamedTuple):
    """The condition of MM-DiT and Flux.

    Attributes:
        tokens: one vector a word, (B, M, D).
        pooled: one vector a caption, (B, P).
        mask: True where there is a word, (B, M); None where every token counts, as in SD3 and Flux, which see the
            padding too.
    """

    tokens: Float[Tensor, "B M D"]
    pooled: Float[Tensor, "B P"]
    mask: Bool[Tensor, "B M"] | None = None


class TextEncoder(nn.Module):
    """Numbers of words (B, M) to a ``Text`` of (B, M, width) and (B, width), by a transformer that sees both ways.

    Padding, number 0, is a word like the others, with a vector of its own: the empty caption needs no rule. The pooled
    vector is the mean of the sequence.

    Args:
        vocabulary: how many numbers there are, 0 included.
        width: D and P.
        length: the longest caption M.
        depth: number of blocks.
        heads: of the attention.

    Raises:
        InputError: numbers that are not (B, M) integers of the vocabulary, longer captions.

    Source: Vaswani et al. 2017 (the encoder); the two outputs as in Esser et al. 2024 (SD3), section 4. Chapter 13.
    """

    def __init__(self, vocabulary: int, width: int, *, length: int = 16, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.words = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.words.weight, std=0.5)  # far apart from the start: the words must be told from each other
        self.positions = LearnedPositions(length, width)
        nn.init.normal_(self.positions.table, std=0.5)  # and their order as well: else a caption is a bag of words
        self.blocks = nn.ModuleList(ViTBlock(width, heads) for _ in range(depth))
        self.norm = layer_norm(width, affine=True)

    def forward(self, ids: Int[Tensor, "B M"]) -> Text:
        """Read captions."""
        self._check(ids)
        tokens = self.positions(self.words(ids))  # (B, M, width)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        return Text(tokens, tokens.mean(1))

    def _check(self, ids: Tensor) -> None:
        wanted = f"integers of shape (B, M), from 0 (nothing) to {self.vocabulary - 1}"
        if not isinstance(ids, Tensor) or ids.ndim != 2 or ids.is_floating_point():
            got = f"{ids.dtype} of shape {tuple(ids.shape)}" if isinstance(ids, Tensor) else type(ids).__name__
            raise InputError("c", expected=wanted, got=got, cure="flowlib.datasets.tokenize makes them of captions")
        if ids.device.type == "cpu" and ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < self.vocabulary:
            raise InputError("c", expected=wanted, got=f"{int(ids.min())} to {int(ids.max())}")


class TextToImage(nn.Module):
    """Velocity towards the picture that a network expects, encoder and network trained as one::

        v(x, t, c) = (net(x, t, encoder(c)) - x) / max(1 - t, 0.05)

    with c the numbers of captions, (B, M). On the path of rectified flow, ``x_t = t x_1 + (1 - t) x_0``, this is the
    velocity that belongs to a data prediction. Pictures are simpler than noise, and a narrow network learns them much
    faster. Where less than 0.05 of the way is left, it is not divided by less, so that v is finite at t = 1.

    In training each caption becomes the empty one with probability ``dropout``, sample by sample, so that
    ``guide(v, w, null=0)`` has a field without caption to start from: the number 0 in every place.

    Args:
        encoder: numbers to a ``Text``.
        net: the expected picture net(x, t, text), an MM-DiT or a Flux.
        dropout: probability in training that a caption becomes the empty one.

    Source: Ho and Salimans 2022, algorithm 1, on captions; Li and He 2025 (JiT), section 4, for the prediction.
    Chapters 13 and 14.
    """

    def __init__(self, encoder: nn.Module, net: nn.Module, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder, self.net, self.dropout = encoder, net, dropout

    def forward(self, x: Batch, t: PerSample, c: Tensor, **extra: Any) -> Batch:
        """Velocity at pictures x, (B, C, H, W), times t, (B,), and captions c, (B, M); ``extra`` is for the net."""
        text = self.encoder(self.drop(c) if self.training and self.dropout else c)
        return (self.net(x, t, text, **extra) - x) / per_sample(1 - t, x).clamp(min=LAST)

    def drop(self, c: Int[Tensor, "B M"], generator: torch.Generator | None = None) -> Int[Tensor, "B M"]:
        """Replace each caption by the empty one with probability ``dropout``, independently."""
        # as in LabelEmbedding.drop
        dropped = torch.empty(len(c), device=c.device).uniform_(generator=generator) < self.dropout
        return torch.where(dropped[:, None], EMPTY, c)
