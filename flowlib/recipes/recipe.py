"""A recipe: everything one run needs, as one frozen value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from flowlib.errors import InputError
from flowlib.estimates import Estimate
from flowlib.training import Parallel, Plan, Run, load_checkpoint, whole_state
from flowlib.training.distributed import rank

Scale = Literal["laptop", "full"]
WEIGHTS = Path(__file__).parents[2] / "data" / "weights"  # shipped with the book, not with the package


@dataclass(frozen=True)
class Recipe:
    """What to train, on what, how, and how to judge it.

    Attributes:
        name: of the recipe and of its weights.
        model: builds the network.
        batches: (batch_size, generator) to an endless stream of batches.
        loss: loss(model, *batch).
        plan: the numbers of the training.
        evaluate: a trained model to named numbers with errors.
        draw: (model, n, generator) to samples, None for a model that makes none.
        data: what it was trained on, for the card.
        warm: puts the trained weights of an earlier stage into the new network, before the first step.
        settle: measures what belongs to the trained network, such as the constants of its latents, after the last step.
        resident: whether batches are drawn, and the trained model is judged, on the device that trains: nothing crosses
            over, and a seed means something else on each kind of device. ``batches`` finds the device in its generator.
        judged_there: whether ``evaluate`` takes a model on the device that trains; that of a resident recipe does.
    """

    name: str
    model: Callable[[], nn.Module]
    batches: Callable[[int, torch.Generator], Iterator[tuple[Tensor, ...]]]
    loss: Callable[..., Tensor]
    plan: Plan
    evaluate: Callable[[nn.Module], dict[str, Estimate]]
    draw: Callable[[nn.Module, int, torch.Generator], Tensor] | None
    data: str
    warm: Callable[[nn.Module], None] | None = None
    settle: Callable[[nn.Module], None] | None = None
    resident: bool = False
    judged_there: bool = False

    def changed(self, **plan: object) -> Recipe:
        """Return the same recipe with some numbers of its plan changed."""
        return replace(self, plan=replace(self.plan, **plan))  # type: ignore[arg-type]

    def build(self) -> nn.Module:
        """Build the network with the weights that ``plan.seed`` gives, leaving the global random state alone."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.plan.seed)  # torch.manual_seed would seed the GPUs too
            return self.model()

    def start(self, device: str = "cpu", *, compiled: bool = False, parallel: Parallel | None = None) -> Run:
        """Set up a run: model, averages, optimiser and batches; iterate its ``steps`` to train.

        Args:
            device: "cpu" or "cuda"; batches are drawn on the CPU, so that a seed means the same on both, unless the
                recipe is resident.
            compiled: whether torch.compile makes the kernels.
            parallel: "ddp" or "fsdp" under torchrun.
        """
        model = self.build()
        if self.warm is not None:
            self.warm(model)
        return Run(
            self.loss,
            model.to(device),
            lambda generator: self.batches(self.plan.batch_size, generator),
            self.plan,
            device=device,
            resident=self.resident,
            compiled=compiled,
            parallel=parallel,
        )

    def finished(self, run: Run) -> nn.Module:
        """Return the averaged model of a run as one plain model on the CPU.

        Under torchrun every process calls it, and the first one's is the trained one.
        """
        model, state = self.build(), whole_state(run.ema.model)
        if rank() == 0:
            model.load_state_dict(state)
            if self.settle is not None:
                self.settle(model.eval())
        return model.eval()

    def judge(self, model: nn.Module, device: str) -> dict[str, Estimate]:
        """Evaluate a trained model, on the device where the recipe can, else on the CPU."""
        return self.evaluate(model.to(device) if self.resident or self.judged_there else model)

    def load(self, path: str | Path | None = None) -> nn.Module:
        """Build the network with trained weights: those at ``path``, or the ones that the book ships.

        Raises:
            InputError: no such file, or weights of another model.
        """
        model = self.build()
        shipped = WEIGHTS / f"{self.name}.safetensors"
        if path is None and not shipped.is_file():
            raise InputError(
                "path",
                expected=f"a checkpoint, since the book ships no weights of {self.name}",
                got="None",
                cure=f"train it with `flowlib train {self.name}`, or name weights with --weights",
            )
        load_checkpoint(path or shipped, model)
        return model.eval()
