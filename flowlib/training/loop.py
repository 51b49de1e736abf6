"""The one training loop: a generator, so that a notebook can plot and a recipe can save between steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn
from tqdm import tqdm

from flowlib.errors import InputError
from flowlib.training.distributed import mean, rank, whole
from flowlib.training.ema import EMA
from flowlib.training.optimizers import optimizer_of
from flowlib.training.plan import Plan


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
    """Minimise ``loss(model, *batch)`` over ``batches``, and yield a ``Step`` after each update.

    The model is in training mode meanwhile and in evaluation mode afterwards.

    Args:
        loss: scalar loss of the model on one batch, a mean over its rows.
        model: trained in place.
        batches: tuples; at least ``plan.steps - done`` of them are needed.
        plan: the numbers.
        ema: averaged weights, one or several, updated after every step.
        optimizer: of an earlier part of the same run; a new ``optimizer_of(model, plan)`` when None.
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
    optimizer = optimizer_of(model, plan) if optimizer is None else optimizer
    averages = [ema] if isinstance(ema, EMA) else list(ema or ())
    model.train()
    n, samples, start = done, 0, time.perf_counter()
    with _bar(plan.steps, done) as bar:
        for n, batch in enumerate(islice(batches, plan.steps - done), start=done + 1):
            lr = plan.lr_at(n)
            for group in optimizer.param_groups:
                group["lr"] = lr
            for p in parameters:
                p.grad = None  # what zero_grad does, in a tenth of the time
            value = _backward(loss, model, batch, plan.accumulate)
            norms = torch._foreach_norm([p.grad for p in parameters if p.grad is not None])
            norm = whole(torch.linalg.vector_norm(torch.stack(norms)))
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


def train_average(loss: Callable[..., Tensor], model: nn.Module, batches: Iterable[tuple], plan: Plan) -> nn.Module:
    """Train to the end of ``plan`` as ``train`` does; return the average of the weights at the rate ``plan.ema``.

    Returns:
        A second model, in evaluation mode.
    """
    ema = EMA(model, plan.ema)
    for _ in train(loss, model, batches, plan, ema=ema):
        pass
    return ema.model.eval()


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
