"""Averaged weights: better samples than the last weights, for the price of a copy."""

from __future__ import annotations

import copy

import torch
from torch import nn

from flowlib.errors import InputError


class EMA:
    """Exponential moving average of parameters, ``theta_ema <- b theta_ema + (1 - b) theta``.

    The decay starts low, ``b_k = min(decay, (1 + k) / (10 + k))`` at update k, so that the random first weights are
    soon forgotten. Buffers are copied, not averaged: some are integers.

    Args:
        model: the model in training; it is copied, not changed.
        decay: b, in [0, 1).

    Attributes:
        model: the averaged copy, ready to use.

    Source: Karras et al. 2024 (EDM2), section 3, on why the length of the average matters.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise InputError("decay", expected="0 <= decay < 1", got=decay)
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the model's present parameters."""
        b = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        averaged: list[torch.Tensor] = list(self.model.parameters())
        present: list[torch.Tensor] = list(model.parameters())
        torch._foreach_lerp_(averaged, present, 1 - b)
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
