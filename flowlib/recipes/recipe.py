"""A recipe: everything one run needs, as one frozen value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from flowlib.errors import InputError
from flowlib.estimates import Estimate
from flowlib.training import EMA, Plan, Step, load_checkpoint, train

Scale = Literal["laptop", "full"]
WEIGHTS = Path(__file__).parents[2] / "data" / "weights"  # shipped with the book, not with the package


class Run(NamedTuple):
    """A training run that has been set up; iterate ``steps`` to train.

    Attributes:
        model: the network in training.
        ema: its average, whose ``.model`` is the one to use.
        steps: the training loop, one ``Step`` an update.
    """

    model: nn.Module
    ema: EMA
    steps: Iterator[Step]


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
    """

    name: str
    model: Callable[[], nn.Module]
    batches: Callable[[int, torch.Generator], Iterator[tuple[Tensor, ...]]]
    loss: Callable[..., Tensor]
    plan: Plan
    evaluate: Callable[[nn.Module], dict[str, Estimate]]
    draw: Callable[[nn.Module, int, torch.Generator], Tensor] | None
    data: str

    def changed(self, **plan: object) -> Recipe:
        """Return the same recipe with some numbers of its plan changed."""
        return replace(self, plan=replace(self.plan, **plan))  # type: ignore[arg-type]

    def build(self) -> nn.Module:
        """Build the network with the weights that ``plan.seed`` gives, leaving the global random state alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.plan.seed)
            return self.model()

    def start(self, device: str = "cpu") -> Run:
        """Set up a run: model, average and loop.

        Args:
            device: "cpu" or "cuda"; batches are drawn on the CPU, so that a seed means the same on both.
        """
        model = self.build().to(device)
        ema = EMA(model, self.plan.ema)
        batches = self.batches(self.plan.batch_size, torch.Generator().manual_seed(self.plan.seed))
        moved = (tuple(u.to(device) for u in batch) for batch in batches)
        return Run(model, ema, train(self.loss, model, moved, self.plan, ema=ema))

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
                cure=f"flowlib train {self.name}",
            )
        load_checkpoint(path or shipped, model)
        return model.eval()
