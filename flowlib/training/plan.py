"""The numbers of a training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from flowlib.errors import InputError
from flowlib.training.precision import DTYPES, Precision


@dataclass(frozen=True)
class Plan:
    """How to train: everything that is a number, and nothing that is not.

    Attributes:
        steps: optimiser steps.
        batch_size: samples a step.
        lr: peak learning rate.
        warmup: steps of linear rise to it.
        lr_schedule: what follows, "constant" or "cosine" (down to 0 at the last step).
        weight_decay: AdamW's.
        clip: largest norm of the gradient.
        accumulate: parts that a batch is cut into, one after another through the model; their gradients are averaged.
        precision: of matrix products, "float32" or "bfloat16".
        ema: decay of the averaged weights; 0 for none.
        more_ema: decays of further averages, kept beside it.
        seed: of the weights, the batches and the noise.
        optimizer: "adamw", or "muon" for the matrices of the blocks and AdamW for the rest.
    """

    steps: int = 2000
    batch_size: int = 256
    lr: float = 1e-3
    warmup: int = 0
    lr_schedule: Literal["constant", "cosine"] = "constant"
    weight_decay: float = 0.0
    clip: float = math.inf
    accumulate: int = 1
    precision: Precision = "float32"
    ema: float = 0.0
    more_ema: tuple[float, ...] = ()
    seed: int = 0
    optimizer: Literal["adamw", "muon"] = "adamw"

    def __post_init__(self) -> None:
        rules = {
            "steps": (self.steps >= 1, "at least 1"),
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "lr": (0 < self.lr < math.inf, "a positive number"),
            "warmup": (self.warmup >= 0, "no negative number"),
            "lr_schedule": (self.lr_schedule in ("constant", "cosine"), "constant or cosine"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "no negative number"),
            "seed": (-(2**63) <= self.seed < 2**63, "a number of 64 bits"),
            "clip": (self.clip > 0, "a positive number"),
            "accumulate": (
                self.accumulate >= 1 and self.batch_size % self.accumulate == 0,
                f"a divisor of the batch size {self.batch_size}",
            ),
            "precision": (self.precision in DTYPES, " or ".join(DTYPES)),
            "ema": (0 <= self.ema < 1, "0 <= ema < 1"),
            "more_ema": (all(0 <= b < 1 for b in self.more_ema), "0 <= ema < 1 for each"),
            "optimizer": (self.optimizer in ("adamw", "muon"), "adamw or muon"),
        }
        for name, (holds, expected) in rules.items():
            if not holds:
                raise InputError(name, expected=expected, got=getattr(self, name))

    def lr_at(self, n: int) -> float:
        """Learning rate of step n = 1 .. steps."""
        if n <= self.warmup:
            return self.lr * n / self.warmup
        if self.lr_schedule == "constant":
            return self.lr
        return self.lr * 0.5 * (1 + math.cos(math.pi * (n - self.warmup) / max(1, self.steps - self.warmup)))
