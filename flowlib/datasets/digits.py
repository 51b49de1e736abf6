"""Handwritten digits, 8 x 8: real pictures that come with scikit-learn, so that every chapter runs offline."""

from __future__ import annotations

from typing import Literal

import torch

from flowlib.datasets.labelled import Labelled
from flowlib.errors import InputError
from flowlib.shapes import Batch

HELD_OUT = 360


def digits(split: Literal["train", "test"] = "train") -> Labelled:
    """Load 1437 digits to train on, or the 360 held out; float32 (N, 1, 8, 8) in [-1, 1] on 17 grey levels.

    The split is fixed and keeps the classes balanced. Source: Alpaydin and Kaynak 1998, UCI Machine Learning
    Repository (CC BY 4.0), as scikit-learn's ``load_digits``.

    Raises:
        InputError: a split of another name.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    if split not in ("train", "test"):
        raise InputError("split", expected='"train" or "test"', got=repr(split))
    levels, c = load_digits(return_X_y=True)
    parts = train_test_split(levels, c, test_size=HELD_OUT, stratify=c, random_state=0)
    levels, c = (parts[0], parts[2]) if split == "train" else (parts[1], parts[3])
    x = torch.from_numpy(levels).float().reshape(-1, 1, 8, 8) / 8 - 1
    return Labelled(x, torch.from_numpy(c).long())


def grey_levels(x: Batch) -> Batch:
    """Round pictures in [-1, 1] to the 17 grey levels of the digits, the multiples of 1/8."""
    return (8 * x).round().clamp(-8, 8) / 8
