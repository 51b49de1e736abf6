"""A training run: what is trained, and everything that decides its next step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from flowlib.datasets import Stream
from flowlib.errors import InputError
from flowlib.training.distributed import Parallel, everyone, parallelise, placed_like, rank, share, whole
from flowlib.training.ema import EMA
from flowlib.training.loop import Step, train
from flowlib.training.optimizers import optimizer_of
from flowlib.training.plan import Plan
from flowlib.training.precision import in_precision

MEMORY = ("step", "exp_avg", "exp_avg_sq", "momentum_buffer")  # what AdamW and Muon keep of a parameter


class Run:
    """One training run, which can be stopped after any step and go on in another process as if nothing had happened.

    Four things decide a step: the weights with the optimiser's memory, the number of the step, the next batch, and the
    state of torch's random numbers, from which a loss draws its times and dropout its masks. ``state`` returns them.

    Args:
        loss: loss(model, *batch).
        model: trained in place, on ``device``.
        batches: generator -> endless batches, a ``Stream`` or any other iterator.
        plan: the numbers.
        device: where the batches go.
        resident: whether they are drawn there too, by a generator of that device.
        compiled: whether torch.compile makes the kernels of ``model(...)``.
        parallel: "ddp" or "fsdp" under torchrun.

    Attributes:
        model: the network in training.
        averages: one EMA for each of ``plan.ema`` and ``plan.more_ema``.
        optimizer: the one that the plan names.
        n: steps done.
        seconds: spent on them, in all processes that worked on the run before this one too.
        steps: the training loop, one ``Step`` an update.
    """

    def __init__(
        self,
        loss: Callable[..., Tensor],
        model: nn.Module,
        batches: Callable[[torch.Generator], Iterator[tuple[Tensor, ...]]],
        plan: Plan,
        *,
        device: str = "cpu",
        resident: bool = False,
        compiled: bool = False,
        parallel: Parallel | None = None,
    ) -> None:
        self.model, self.plan, self.device = model, plan, device
        self.n, self.seconds = 0, 0.0
        self.averages = tuple(EMA(model, decay) for decay in (plan.ema, *plan.more_ema))
        self._loss = in_precision(loss, plan.precision)
        if parallel is not None:
            self._loss = parallelise(self._loss, model, [average.model for average in self.averages], parallel)
        if compiled:
            model.compile()
        self.optimizer = optimizer_of(model, plan)
        self._make_batches, self._generator_device = batches, device if resident else "cpu"
        self._batches = self._fresh()
        self.steps = self._steps()

    @property
    def ema(self) -> EMA:
        """The first average, whose ``.model`` is the one to use."""
        return self.averages[0]

    def _steps(self) -> Iterator[Step]:
        before = self.seconds  # read at the first step, after a checkpoint has been loaded
        mine = (tuple(u.to(self.device, non_blocking=True) for u in share(batch)) for batch in self._batches)
        for step in train(
            self._loss, self.model, mine, self.plan, ema=self.averages, optimizer=self.optimizer, done=self.n
        ):
            self.n, self.seconds = step.n, before + step.seconds
            yield step

    def _fresh(self) -> Iterator[tuple[Tensor, ...]]:
        return iter(self._make_batches(torch.Generator(self._generator_device).manual_seed(self.plan.seed)))

    def state(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """Return groups of tensors, on the CPU, and plain numbers: everything, to the first process.

        Every process calls it, and the others get no weights and no memory of the optimiser.
        """
        memory = {name: self.optimizer.state.get(p, {}) for name, p in self.model.named_parameters() if p.requires_grad}
        groups = {"model": whole_state(self.model)}
        groups |= {f"ema_{i}": whole_state(average.model) for i, average in enumerate(self.averages)}
        groups["optimizer"] = _tensors({f"{name}/{k}": v for name, row in memory.items() for k, v in row.items()})
        groups["random"] = {f"{k}/{r}": v for r, row in enumerate(everyone(_random())) for k, v in row.items()}
        place = self._batches.state_dict() if isinstance(self._batches, Stream) else {}  # else drawn again
        groups["random"] |= {f"batches/{k}": v for k, v in place.items() if isinstance(v, Tensor)}
        facts = {
            "n": self.n,
            "seconds": self.seconds,
            "updates": [average.updates for average in self.averages],
            "batches": {k: v for k, v in place.items() if not isinstance(v, Tensor)},
            "drawn_on": torch.device(self._generator_device).type,
        }
        return groups, facts

    def load_state(self, groups: dict[str, dict[str, Tensor]], facts: dict[str, Any]) -> None:
        """Go to a state of the same run, whichever number of processes it came from.

        Raises:
            InputError: its batches are drawn on another kind of device, whose generator cannot go on with these.
        """
        here = torch.device(self._generator_device).type
        there = facts.get("drawn_on", here)
        if there != here:
            cure = f"--device {there}, or --fresh to start again"
            raise InputError(
                "device", expected=f"{there}, where the batches of this run are drawn", got=here, cure=cure
            )
        _fill(self.model, groups["model"])
        for i, average in enumerate(self.averages):
            _fill(average.model, groups[f"ema_{i}"])
            average.updates = facts["updates"][i]
        self.n, self.seconds = facts["n"], facts["seconds"]
        for name, p in self.model.named_parameters():
            if p.requires_grad:
                kept = {k: groups["optimizer"].get(f"{name}/{k}") for k in MEMORY}
                self.optimizer.state[p] = {
                    k: placed_like(v, p) if v.ndim else v.to(p.device) for k, v in kept.items() if v is not None
                }
        self._seek(groups["random"], facts["batches"])
        _set_random(groups["random"], self.plan.seed + self.n)

    def _seek(self, random: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Go to the next batch: at once where the stream knows its position, else by drawing those before it again."""
        place = {k.removeprefix("batches/"): v for k, v in random.items() if k.startswith("batches/")} | numbers
        if isinstance(self._batches, Stream):
            self._batches.load_state_dict(place)
            return
        self._batches = self._fresh()
        drawn = sum(1 for _ in islice(self._batches, self.n))
        if drawn < self.n:
            raise InputError("batches", expected=f"the {self.n} batches of the run so far", got=drawn)


def whole_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the model's state as whole tensors on the CPU, sharded or not, to the first process.

    Every process calls it; the others get none, since eight copies of a large model fit into no machine.
    """
    return _tensors(model.state_dict())


def _tensors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    kept = {}
    for name, v in state.items():
        full = whole(v.detach())  # gathered by all
        if rank() == 0:
            kept[name] = full.cpu().contiguous()
    return kept


def _fill(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Copy whole tensors into a model, sharded or not."""
    with torch.no_grad():
        for name, v in model.state_dict().items():
            v.copy_(placed_like(state[name], v))


def _random() -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_initialized() else {})


def _set_random(random: dict[str, Tensor], seed: int) -> None:
    """Restore this process's random numbers; a process that the run did not have gets a seed of its own."""
    if f"cpu/{rank()}" not in random:
        torch.manual_seed(seed + 1_000_003 * rank())
        return
    torch.set_rng_state(random[f"cpu/{rank()}"])
    if torch.cuda.is_initialized() and f"cuda/{rank()}" in random:
        torch.cuda.set_rng_state(random[f"cuda/{rank()}"])
