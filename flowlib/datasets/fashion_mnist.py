"""Fashion-MNIST: grey pictures of clothing, for real runs that are quick."""

from __future__ import annotations

from typing import Literal

from flowlib.datasets.labelled import Labelled
from flowlib.datasets.parquet import load
from flowlib.datasets.sources import FASHION_MNIST
from flowlib.tensors import to_float

FASHION_CLASSES = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip


def fashion_mnist(split: Literal["train", "test"] = "train") -> Labelled:
    """Load 60,000 pictures to train on, or the 10,000 held out; float32 (N, 1, 28, 28) in [-1, 1] on 256 levels.

    Raises:
        InputError: a missing or damaged set, a wrong ``FLOWLIB_DATA``; the message says how to get it.

    Source: Xiao, Rasul and Vollgraf 2017, Fashion-MNIST.
    """
    decoded = load(FASHION_MNIST, split)
    return Labelled(to_float(decoded.x), decoded.c)
