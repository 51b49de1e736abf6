"""The one training loop: a generator, so that a notebook can plot and a recipe can save between steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import torch
from torch import Tensor, nn
from tqdm import tqdm

from flowlib.errors import InputError
from flowlib.training.ema import EMA


@dataclass(frozen=True)
class Plan:
    """How to train: everything that is a number, and nothing that is not.

    Attributes:
        steps: optimiser steps.
        batch_size: samples a step.
        lr: peak learning rate of AdamW.
        warmup: steps of linear rise to it.
        lr_schedule: what follows, "constant" or "cosine" (down to 0 at the last step).
        weight_decay: AdamW's.
        clip: largest norm of the gradient.
        ema: decay of the averaged weights; 0 for none.
        seed: of the weights, the batches and the noise.
    """

    steps: int = 2000
    batch_size: int = 256
    lr: float = 1e-3
    warmup: int = 0
    lr_schedule: Literal["constant", "cosine"] = "constant"
    weight_decay: float = 0.0
    clip: float = math.inf
    ema: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        rules = {
            "steps": (self.steps >= 1, "at least 1"),
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "lr": (self.lr > 0, "a positive number"),
            "warmup": (self.warmup >= 0, "no negative number"),
            "lr_schedule": (self.lr_schedule in ("constant", "cosine"), "constant or cosine"),
            "clip": (self.clip > 0, "a positive number"),
            "ema": (0 <= self.ema < 1, "0 <= ema < 1"),
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


@dataclass(frozen=True)
class Step:
    """What one step did.

    Attributes:
        n: its number, from 1.
        loss: before the update.
        grad_norm: before clipping.
        lr: learning rate used.
        seconds: since training began.
    """

    n: int
    loss: float
    grad_norm: float
    lr: float
    seconds: float


class NonFiniteLoss(RuntimeError):
    """The loss became NaN or infinite; the weights are those of the last good step."""


def train(
    loss: Callable[..., Tensor], model: nn.Module, batches: Iterable[tuple], plan: Plan, *, ema: EMA | None = None
) -> Iterator[Step]:
    """Minimise ``loss(model, *batch)`` over ``batches`` with AdamW, and yield a ``Step`` after each update.

    The model is in training mode meanwhile and in evaluation mode afterwards.

    Args:
        loss: scalar loss of the model on one batch.
        model: trained in place.
        batches: tuples; at least ``plan.steps`` of them are needed.
        plan: the numbers.
        ema: averaged weights, updated after every step.

    Raises:
        NonFiniteLoss: before the update that would have spoilt the weights.
        InputError: batches ended early.

    >>> line = nn.Linear(1, 1)
    >>> batch = (torch.ones(8, 1), torch.zeros(8, 1))
    >>> mse = lambda model, x, y: (model(x) - y).square().mean()
    >>> [step.n for step in train(mse, line, [batch] * 3, Plan(steps=3))]
    [1, 2, 3]
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=plan.lr, weight_decay=plan.weight_decay, fused=True)
    model.train()
    n, start = 0, time.perf_counter()
    with tqdm(total=plan.steps, unit="step", mininterval=0.5) as bar:
        for n, batch in enumerate(islice(batches, plan.steps), start=1):
            lr = optimizer.param_groups[0]["lr"] = plan.lr_at(n)
            value = loss(model, *batch)
            number = value.item()
            if not math.isfinite(number):
                raise NonFiniteLoss(f"loss is {number} at step {n}; try a smaller lr than {plan.lr:g}, or a clip")
            optimizer.zero_grad()
            value.backward()
            grad_norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
            if plan.clip < math.inf:
                nn.utils.clip_grads_with_norm_(parameters, plan.clip, grad_norm)
            optimizer.step()
            if ema is not None:
                ema.update(model)
            bar.update()
            yield Step(n, number, grad_norm.item(), lr, time.perf_counter() - start)
    model.eval()
    if n < plan.steps:
        raise InputError("batches", expected=f"{plan.steps} batches, one a step", got=n, cure="use an endless stream")
