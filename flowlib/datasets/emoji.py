"""Emoji with their names: a small real set for text to image."""

from __future__ import annotations

from typing import NamedTuple

import torch

from flowlib.datasets.parquet import pixels, rows
from flowlib.datasets.sources import EMOJI
from flowlib.errors import InputError
from flowlib.shapes import Batch
from flowlib.tensors import to_float


class Emoji(NamedTuple):
    """Pictures and what they are called.

    Attributes:
        x: float32 (N, 3, 64, 64) in [-1, 1], on white.
        captions: their Unicode names, no two alike.
        groups: their Unicode groups, such as "Food & Drink".
    """

    x: Batch
    captions: tuple[str, ...]
    groups: tuple[str, ...]


def emoji() -> Emoji:
    """Load 1,632 emoji, 64 x 64, in the random order of the file.

    Raises:
        InputError: a missing or damaged set, a wrong ``FLOWLIB_DATA``; the message says what it should hold.

    Source: Noto Emoji (Google, Apache-2.0), names of Unicode; data/README.md says how the set was made.
    """
    pictures, captions, groups = zip(*rows(EMOJI, "train", ("img", "caption", "group")), strict=True)
    if len(captions) != EMOJI.rows["train"]:
        raise InputError("emoji", expected=f"{EMOJI.rows['train']} pictures", got=len(captions), cure=EMOJI.cure)
    x = torch.stack([pixels(EMOJI, picture) for picture in pictures])
    return Emoji(to_float(x), captions, groups)
