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

from torch import Tensor, nn

from flowlib.layers import AdaLN, JointAttention, layer_norm, mlp


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
