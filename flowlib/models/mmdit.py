"""MM-DiT: a DiT that reads, with two streams and one attention.

What it changes from DiT:

- the condition is a text: a sequence of tokens with a stream of its own, and one pooled vector that takes the place of
  the class in e;
- a block has two sets of weights, one for the text and one for the picture, and one attention over both; the text is
  no fixed key to look up, as in cross-attention, but is rewritten block by block; the last block only reads it;
- queries and keys may be normalised (RMS), which keeps the scores of a large model bounded;
- positions are counted from the middle of the largest grid, so that pictures of all shapes share their centre.

Source: Esser et al. 2024 (SD3).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from flowlib.errors import InputError
from flowlib.layers import (
    AdaLN,
    JointAttention,
    layer_norm,
    mlp,
    patch_grid,
    patchify,
    sinusoidal_2d,
    time_embedding,
    unpatchify,
)
from flowlib.models.dit import TIME_FEATURES, check_pictures, start_at_rest
from flowlib.models.text import Text
from flowlib.models.vit import named_size
from flowlib.shapes import Batch, PerSample

SIZES: dict[str, dict[str, Any]] = {  # SD3 medium and SD3.5 large, by their parameters
    "2B": {"depth": 24},
    "8B": {"depth": 38, "qk_norm": True},
}


class JointBlock(nn.Module):
    """DiT's block, twice, around one attention: ``x + gate * branch((1 + scale) * norm(x) + shift)`` in each stream.

    Args:
        width: features of a token, of either stream.
        heads: of the attention.
        qk_norm: whether queries and keys are normalised.
        last: whether the text is only read: shift and scale before the attention, and nothing after it.
    """

    def __init__(self, width: int, heads: int, *, qk_norm: bool = False, last: bool = False) -> None:
        super().__init__()
        self.last = last
        self.norm = layer_norm(width)
        self.modulation_text = AdaLN(width, 1 if last else 2, gate=not last)
        self.modulation_image = AdaLN(width, 2)
        self.attention = JointAttention(width, heads, qk_norm=qk_norm, last=last)
        gelu = partial(nn.GELU, approximate="tanh")
        self.mlp_text = nn.Identity() if last else mlp([width, 4 * width, width], gelu)
        self.mlp_image = mlp([width, 4 * width, width], gelu)

    def forward(
        self, text: Tensor, image: Tensor, e: Tensor, *, angles: Tensor | None = None, bias: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Tokens of text (B, M, width) and picture (B, N, width) to the same, modulated by e, (B, width).

        ``angles`` and ``bias`` are of the attention over the M + N tokens, the text first.
        """
        text_1, *text_2 = self.modulation_text(e)
        image_1, image_2 = self.modulation_image(e)
        from_text, from_image = self.attention(
            text_1.into(self.norm(text)), image_1.into(self.norm(image)), angles=angles, bias=bias
        )
        image = image + image_1.out(from_image)
        image = image + image_2.out(self.mlp_image(image_2.into(self.norm(image))))
        if from_text is not None:
            text = text + text_1.out(from_text)
            text = text + text_2[0].out(self.mlp_text(text_2[0].into(self.norm(text))))
        return text, image


class MMDiT(nn.Module):
    """Velocity ``v(x, t, c)`` of pictures or latents, whose condition c is a ``Text``.

    One dial gives all sizes: ``depth`` blocks of width ``64 depth`` with ``depth`` heads.

    Args:
        channels: C of the pictures.
        words: features D of a token of the text.
        pooled: features P of its pooled vector.
        depth: number of blocks.
        width: features of a token inside, 64 depth when left out.
        heads: of each attention, depth when left out.
        patch: side of a patch in pixels.
        qk_norm: whether queries and keys are normalised.
        grid: patches on a side of the largest picture; a smaller one has the places in its middle.
        base: by how much row and column rise from the first place of that grid to beyond the last.

    Raises:
        InputError: pictures that the patch does not divide, that are larger than the grid or of other channels, times
            outside [0, 1], a text that is missing or of other sizes, a size that is not published.

    Source: Esser et al. 2024 (SD3), section 4, figure 2; positions as in its released code. Chapter 13.
    """

    def __init__(
        self,
        channels: int = 16,
        words: int = 4096,
        pooled: int = 2048,
        *,
        depth: int = 24,
        width: int | None = None,
        heads: int | None = None,
        patch: int = 2,
        qk_norm: bool = False,
        grid: int = 192,
        base: int = 64,
    ) -> None:
        super().__init__()
        width, heads = width or 64 * depth, heads or depth
        self.channels, self.words, self.pooled, self.patch, self.grid = channels, words, pooled, patch, grid
        self.embed_patch = nn.Linear(channels * patch**2, width)
        self.embed_text = nn.Linear(words, width)
        self.embed_time = mlp([TIME_FEATURES, width, width])
        self.embed_pooled = mlp([pooled, width, width])
        self.blocks = nn.ModuleList(
            JointBlock(width, heads, qk_norm=qk_norm, last=i == depth - 1) for i in range(depth)
        )
        self.norm = layer_norm(width)
        self.modulation = AdaLN(width, 1, gate=False)
        self.head = nn.Linear(width, channels * patch**2)
        places = torch.arange(grid) * (base / grid)
        # A buffer, since released weights bring a table of their own.
        self.places: Tensor
        self.register_buffer("places", sinusoidal_2d(places, places, width).unflatten(0, (grid, grid)))
        start_at_rest(self, self.head, self.embed_time)

    @classmethod
    def of(cls, name: str, **changes: Any) -> MMDiT:
        """Build a published size: ``"2B"``, SD3 medium, or ``"8B"``, SD3.5 large; ``changes`` win.

        Raises:
            InputError: no such size.
        """
        return cls(**(named_size(name, SIZES) | changes))

    def forward(self, x: Batch, t: PerSample, c: Text) -> Batch:
        """Velocity at pictures x, (B, C, H, W), times t, (B,), and texts c."""
        grid = self._check(x, t, c)
        text, image, e = self.embed(x, t, c)
        bias = None if c.mask is None else hide_padding(c.mask, image)
        for block in self.blocks:
            text, image = block(text, image, e, bias=bias)
        (last,) = self.modulation(e)
        return unpatchify(self.head(last.into(self.norm(image))), self.patch, grid)

    def embed(self, x: Batch, t: PerSample, c: Text) -> tuple[Tensor, Tensor, Tensor]:
        """What the first block gets: the tokens of the text and of the picture, and the vector e."""
        h, w = patch_grid(x, self.patch)
        top, left = (self.grid - h) // 2, (self.grid - w) // 2
        places = self.places[top : top + h, left : left + w].flatten(0, 1)  # the middle of the largest grid
        image = self.embed_patch(patchify(x, self.patch)) + places.to(x.dtype)  # (B, N, width)
        e = self.embed_time(time_embedding(t, TIME_FEATURES).to(x.dtype)) + self.embed_pooled(c.pooled)
        return self.embed_text(c.tokens), image, e

    def _check(self, x: Tensor, t: Tensor, c: Text) -> tuple[int, int]:
        grid = check_pictures(x, t, self.channels, self.patch)
        if max(grid) > self.grid:
            most = self.grid * self.patch
            raise InputError("x", expected=f"pictures with H and W at most {most}", got=f"shape {tuple(x.shape)}")
        check_text(c, len(x), self.words, self.pooled)
        return grid


def hide_padding(mask: Tensor, image: Tensor) -> Tensor:
    """Bias of the scores, (B, 1, 1, M + N): -inf on the text's keys where mask, (B, M), is False, 0 on all others."""
    bias = torch.zeros(len(mask), 1, 1, mask.shape[1] + image.shape[1], dtype=image.dtype, device=image.device)
    bias[..., : mask.shape[1]].masked_fill_(~mask[:, None, None], -torch.inf)
    return bias


def check_text(c: Text, batch: int, words: int, pooled: int) -> None:
    """Raise ``InputError`` unless ``c`` holds tokens (batch, M, words) and a pooled vector (batch, pooled)."""
    wanted = f"a Text of tokens ({batch}, M, {words}) and pooled ({batch}, {pooled})"
    if not isinstance(c, Text):
        raise InputError("c", expected=wanted, got=type(c).__name__, cure="a text encoder makes it")
    tokens, vector = tuple(c.tokens.shape), tuple(c.pooled.shape)
    if len(tokens) != 3 or (tokens[0], tokens[2], vector) != (batch, words, (batch, pooled)):
        raise InputError("c", expected=wanted, got=f"tokens {tokens} and pooled {vector}")
    if c.mask is not None and (c.mask.shape != tokens[:2] or c.mask.dtype != torch.bool):
        got = f"{c.mask.dtype} of shape {tuple(c.mask.shape)}"
        raise InputError("c.mask", expected=f"true or false, shape {tokens[:2]}", got=got)
