"""CIFAR-10: small photographs, the set that most published numbers of the field are about."""

from __future__ import annotations

from typing import Literal

from flowlib.datasets.labelled import Labelled
from flowlib.datasets.parquet import load
from flowlib.datasets.sources import CIFAR10
from flowlib.tensors import to_float

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def cifar10(split: Literal["train", "test"] = "train", *, exact: bool = False) -> Labelled:
    """Load 50,000 pictures to train on, or the 10,000 held out; float32 (N, 3, 32, 32) in [-1, 1] on 256 levels.

    Args:
        split: train or test.
        exact: leave out pictures that this copy marks as lossy, as every number compared with published likelihoods
            should; the copy of the hub has none.

    Raises:
        InputError: a missing or damaged set, a wrong ``FLOWLIB_DATA``; the message says how to get it.

    Source: Krizhevsky 2009, Learning multiple layers of features from tiny images.
    """
    decoded = load(CIFAR10, split)
    keep = decoded.exact if exact else slice(None)
    return Labelled(to_float(decoded.x[keep]), decoded.c[keep])
