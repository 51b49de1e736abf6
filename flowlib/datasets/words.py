"""Captions as numbers: every word of a small vocabulary has one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import Tensor

from flowlib.errors import InputError

PADDING = "[nothing]"  # it fills up a caption, and is all there is in the empty one


class Words:
    """A vocabulary: number 0 stands for nothing, 1, 2 ... for the words, in the order given.

    Args:
        words: each word once.
        length: M, the numbers of a caption; shorter ones are filled up with 0.

    >>> words = Words(("a", "red", "circle"), length=4)
    >>> words(["a red circle", ""]).tolist()
    [[1, 2, 3, 0], [0, 0, 0, 0]]
    >>> words.read(words(["red circle"]))
    ['red circle']
    """

    def __init__(self, words: Sequence[str], length: int) -> None:
        self.words, self.length = (PADDING, *words), length
        self._tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(self.words)}, unk_token=PADDING))
        self._tokenizer.pre_tokenizer = WhitespaceSplit()
        self._tokenizer.enable_padding(length=length, pad_token=PADDING)

    def __len__(self) -> int:
        """How many numbers there are, 0 included: the vocabulary that a text encoder needs."""
        return len(self.words)

    def __call__(self, captions: Sequence[str]) -> Int[Tensor, "B M"]:
        """Numbers of the words of captions, int64 (B, M).

        Raises:
            InputError: a word that the vocabulary does not have, a caption of more than M words.
        """
        rows = self._tokenizer.encode_batch(list(captions))
        for caption, row in zip(captions, rows, strict=True):
            strange = [word for word in caption.split() if word not in self.words[1:]]
            if strange or len(row.ids) > self.length:
                raise InputError(
                    "captions",
                    expected=f"at most {self.length} of the words {', '.join(self.words[1:])}",
                    got=repr(caption) + (f", with {strange[0]!r}" if strange else f", {len(row.ids)} words"),
                )
        return torch.tensor([row.ids for row in rows]).reshape(-1, self.length)

    def read(self, ids: Int[Tensor, "B M"]) -> list[str]:
        """Captions of numbers, the inverse."""
        return [" ".join(self.words[i] for i in row if i) for row in ids.tolist()]
