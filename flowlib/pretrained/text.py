"""CLIP and T5 as the text encoders of SD3 and Flux: frozen, through ``transformers``, loaded only when asked.

What each of them gives, and where it goes::

    SD3    tokens: CLIP-L and CLIP-G side by side (768 + 1280, then zeros to 4096), 77 of them, followed by T5's 77
           pooled: CLIP-L's and CLIP-G's side by side, 768 + 1280
    Flux   tokens: T5's alone, 512 (256 for schnell)
           pooled: CLIP-L's, 768

Source: Esser et al. 2024, section 4 and figure 2; the code of both publishers. Chapters 13 and 14.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flowlib.errors import InputError
from flowlib.models import Text

FETCH = {  # the folders of a model in diffusers' layout; the tokenizers' have names like theirs
    "sd3": ("text_encoder", "text_encoder_2", "text_encoder_3"),
    "flux": ("text_encoder", "text_encoder_2"),
}
SOURCES = {
    "sd3": "of stabilityai/stable-diffusion-3-medium-diffusers, 11 GB",
    "flux": "of black-forest-labs/FLUX.1-schnell, 10 GB",
}
LENGTH = 77


class SD3Text(nn.Module):
    """Captions to the ``Text`` of SD3; without T5 its tokens are zero, as SD3 allows.

    In training each encoder is left out, sample by sample, with probability ``dropout`` and independently of the
    others: its tokens and its part of the pooled vector become zero.

    Args:
        encoders: CLIP-L, CLIP-G (``CLIPTextModelWithProjection`` both) and T5 (``T5EncoderModel``) or None.
        tokenizers: of each.
        width: D of the tokens, that of T5.
        dropout: of each encoder, in training.

    Source: Esser et al. 2024, section 4 and appendix B.3.
    """

    def __init__(
        self, encoders: Sequence[Any], tokenizers: Sequence[Any], *, width: int = 4096, dropout: float = 0
    ) -> None:
        super().__init__()
        self.clip_l, self.clip_g, self.t5 = encoders
        self.tokenizers, self.width, self.dropout = tuple(tokenizers), width, dropout

    def train(self, mode: bool = True) -> SD3Text:
        """Train the model whose text this is; the encoders stay frozen, and T5's own dropout stays off."""
        super().train(False)
        self.training = mode
        return self

    def tokenize(self, captions: Sequence[str]) -> tuple[Tensor, ...]:
        """Numbers of words, (B, 77) for each encoder; what is longer is cut."""
        return tuple(_numbers(tokenizer, captions, LENGTH) for tokenizer in self.tokenizers)

    @torch.no_grad()
    def forward(self, ids: Sequence[Tensor], generator: torch.Generator | None = None) -> Text:
        """Read captions, given as their numbers for each encoder."""
        b = len(ids[0])
        keep = torch.ones(3, b)
        if self.training and self.dropout:
            keep = (torch.rand(3, b, generator=generator) >= self.dropout).float()
        keep = keep.to(ids[0].device)
        sequences, vectors = [], []
        for clip, numbers, kept in zip((self.clip_l, self.clip_g), ids, keep, strict=False):
            out = clip(numbers, output_hidden_states=True)
            sequences.append(kept[:, None, None] * out.hidden_states[-2])  # the last layer but one
            vectors.append(kept[:, None] * out.text_embeds)
        both = torch.cat(sequences, -1)
        both = nn.functional.pad(both, (0, self.width - both.shape[-1]))
        if self.t5 is None:
            last = both.new_zeros(b, LENGTH, self.width)
        else:
            last = keep[2][:, None, None] * self.t5(ids[2]).last_hidden_state
        return Text(torch.cat([both, last], 1), torch.cat(vectors, -1))


class FluxText(nn.Module):
    """Captions to the ``Text`` of Flux: words from T5, one vector from CLIP-L.

    Args:
        encoders: CLIP-L (``CLIPTextModel``) and T5 (``T5EncoderModel``).
        tokenizers: of each.
        length: tokens of T5, 512 for dev and 256 for schnell.

    Source: Black Forest Labs 2024, their code.
    """

    def __init__(self, encoders: Sequence[nn.Module], tokenizers: Sequence[Any], *, length: int = 512) -> None:
        super().__init__()
        self.clip, self.t5 = encoders
        self.tokenizers, self.length = tuple(tokenizers), length

    def train(self, mode: bool = True) -> FluxText:
        """Train the model whose text this is; the encoders stay frozen, and T5's own dropout stays off."""
        super().train(False)
        self.training = mode
        return self

    def tokenize(self, captions: Sequence[str]) -> tuple[Tensor, ...]:
        """Numbers of words, (B, 77) for CLIP and (B, length) for T5; what is longer is cut."""
        clip, t5 = self.tokenizers
        return _numbers(clip, captions, LENGTH), _numbers(t5, captions, self.length)

    @torch.no_grad()
    def forward(self, ids: Sequence[Tensor]) -> Text:
        """Read captions, given as their numbers for each encoder."""
        return Text(self.t5(ids[1]).last_hidden_state, self.clip(ids[0]).pooler_output)


def load_text(folder: str | Path, name: str, **options: Any) -> SD3Text | FluxText:
    """Read the text encoders of a released model from a folder in diffusers' layout; nothing is downloaded.

    Args:
        folder: with text_encoder, tokenizer, and so on.
        name: "sd3" or "flux".
        options: of `SD3Text` or `FluxText`, such as dropout or length.

    Raises:
        InputError: another name; a folder that is missing: the message says what to fetch.
    """
    if name not in FETCH:
        raise InputError("name", expected=" or ".join(FETCH), got=repr(name))
    folder = Path(folder)
    parts = FETCH[name]
    wanted = [*parts, *(part.replace("text_encoder", "tokenizer") for part in parts)]
    absent = [part for part in wanted if not (folder / part).is_dir()]
    if absent:
        cure = f"fetch {', '.join(wanted)} {SOURCES[name]}"
        raise InputError(
            "folder", expected=f"the folders {', '.join(wanted)}", got=f"no {folder / absent[0]}", cure=cure
        )
    from transformers import AutoTokenizer, CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel

    clip = CLIPTextModelWithProjection if name == "sd3" else CLIPTextModel
    classes = [clip] * (len(parts) - 1) + [T5EncoderModel]
    encoders = [
        kind.from_pretrained(folder / part, local_files_only=True).eval().requires_grad_(False)
        for kind, part in zip(classes, parts, strict=True)
    ]
    tokenizers = [AutoTokenizer.from_pretrained(folder / part, local_files_only=True) for part in wanted[len(parts) :]]
    if name == "flux":
        return FluxText(encoders, tokenizers, **options).eval()
    return SD3Text(encoders, tokenizers, width=encoders[-1].config.d_model, **options).eval()


def _numbers(tokenizer: Any, captions: Sequence[str], length: int) -> Tensor:
    return tokenizer(
        list(captions), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    ).input_ids
