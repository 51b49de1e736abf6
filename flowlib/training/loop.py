"""The one training loop: a generator, so that a notebook can plot and a recipe can save between steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import torch
from torch import Tensor, nn
from tqdm import tqdm

from flowlib.errors import InputError
from flowlib.training.distributed import mean, rank, whole
from flowlib.training.ema import EMA
from flowlib.training.precision import DTYPES, Precision


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
        accumulate: parts that a batch is cut into, one after another through the model; their gradients are averaged.
        precision: of matrix products, "float32" or "bfloat16".
        ema: decay of the averaged weights; 0 for none.
        more_ema: decays of further averages, kept beside it.
        seed: of the weights, the batches and the noise.
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

    def __post_init__(self) -> None:
        rules = {
            "steps": (self.steps >= 1, "at least 1"),
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "lr": (self.lr > 0, "a positive number"),
            "warmup": (self.warmup >= 0, "no negative number"),
            "lr_schedule": (self.lr_schedule in ("constant", "cosine"), "constant or cosine"),
            "clip": (self.clip > 0, "a positive number"),
            "accumulate": (
                self.accumulate >= 1 and self.batch_size % self.accumulate == 0,
                f"a divisor of the batch size {self.batch_size}",
            ),
            "precision": (self.precision in DTYPES, " or ".join(DTYPES)),
            "ema": (0 <= self.ema < 1, "0 <= ema < 1"),
            "more_ema": (all(0 <= b < 1 for b in self.more_ema), "0 <= ema < 1 for each"),
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
    """The loss or its gradient became NaN or infinite; the weights are those of the last good step."""


def adamw(model: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    """Return the optimiser that ``train`` uses: AdamW on the parameters that are trained, in one fused kernel."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(parameters, lr=plan.lr, weight_decay=plan.weight_decay, fused=True)


def train(
    loss: Callable[..., Tensor],
    model: nn.Module,
    batches: Iterable[tuple],
    plan: Plan,
    *,
    ema: EMA | Sequence[EMA] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    done: int = 0,
) -> Iterator[Step]:
    """Minimise ``loss(model, *batch)`` over ``batches`` with AdamW, and yield a ``Step`` after each update.

    The model is in training mode meanwhile and in evaluation mode afterwards.

    Args:
        loss: scalar loss of the model on one batch, a mean over its rows.
        model: trained in place.
        batches: tuples; at least ``plan.steps - done`` of them are needed.
        plan: the numbers.
        ema: averaged weights, one or several, updated after every step.
        optimizer: of an earlier part of the same run; a new ``adamw(model, plan)`` when None.
        done: steps of that earlier part.

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
    optimizer = adamw(model, plan) if optimizer is None else optimizer
    averages = [ema] if isinstance(ema, EMA) else list(ema or ())
    model.train()
    n, samples, start = done, 0, time.perf_counter()
    with _bar(plan.steps, done) as bar:
        for n, batch in enumerate(islice(batches, plan.steps - done), start=done + 1):
            lr = optimizer.param_groups[0]["lr"] = plan.lr_at(n)
            optimizer.zero_grad()
            value = _backward(loss, model, batch, plan.accumulate)
            norm = whole(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
            number, grad_norm = torch.stack([mean(value), norm]).tolist()  # a GPU is waited for here, and only here
            for name, found in (("loss", number), ("gradient norm", grad_norm)):
                if not math.isfinite(found):
                    raise NonFiniteLoss(f"{name} is {found} at step {n}; try a smaller lr than {plan.lr:g}, or a clip")
            if plan.clip < math.inf:
                nn.utils.clip_grads_with_norm_(parameters, plan.clip, norm)
            optimizer.step()
            for average in averages:
                average.update(model)
            samples, seconds = samples + len(batch[0]), time.perf_counter() - start
            bar.set_postfix_str(f"loss {number:.4g}, {samples / seconds:.0f} samples/s", refresh=False)
            bar.update()
            yield Step(n, number, grad_norm, lr, seconds)
    model.eval()
    if n < plan.steps:
        raise InputError("batches", expected=f"{plan.steps} batches, one a step", got=n, cure="use an endless stream")


def _backward(loss: Callable[..., Tensor], model: nn.Module, batch: tuple, parts: int) -> Tensor:
    """Add the gradient of the mean loss to the parameters, part by part, and return that loss."""
    if parts == 1:
        value = loss(model, *batch)
        value.backward()
        return value.detach()
    if len(batch[0]) % parts:
        raise InputError("accumulate", expected=f"a divisor of the batch, {len(batch[0])} rows", got=parts)
    total = torch.zeros((), device=batch[0].device)
    for part in zip(*(u.chunk(parts) for u in batch), strict=True):
        value = loss(model, *part) / parts
        value.backward()
        total += value.detach()
    return total


def _bar(steps: int, done: int) -> tqdm:
    silent = {"disable": True} if rank() else {}  # one bar, not one a process
    return tqdm(total=steps, initial=done, unit="step", mininterval=0.5, **silent)
