"""Endless batches whose exact position can be saved: a run that is killed goes on with the very next batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from typing import Any

import torch
from torch import Tensor

from flowlib.errors import InputError

Make = Callable[..., tuple[Tensor, ...]]


class Stream(Iterator[tuple[Tensor, ...]]):
    """Batches for ever, each made with ``generator``, which alone decides what comes.

    With a set of ``size`` samples, each pass over it is a new permutation, cut into index tensors of ``batch_size``;
    the remainder is dropped. Without one there is nothing to permute, and every batch is fresh.

    Args:
        make: an index tensor, on the CPU, to a batch; without a set, nothing to a batch. May draw from ``generator``.
        generator: of the permutations and of what ``make`` draws.
        size: samples in the set, 0 for none.
        batch_size: samples a batch.

    Raises:
        InputError: batches larger than the set.

    >>> stream = Stream(lambda index: (index,), torch.Generator().manual_seed(0), size=6, batch_size=2)
    >>> first, place = next(stream), stream.state_dict()
    >>> second = next(stream)
    >>> stream.load_state_dict(place)
    >>> torch.equal(next(stream)[0], second[0])
    True
    """

    def __init__(self, make: Make, generator: torch.Generator, *, size: int = 0, batch_size: int = 1) -> None:
        if size and not 1 <= batch_size <= size:
            raise InputError("batch_size", expected=f"1 to {size}, the size of the set", got=batch_size)
        self.make, self.generator, self.size, self.batch_size = make, generator, size, batch_size
        self._order: tuple[Tensor, ...] = ()  # what this pass still has to give starts at self._place
        self._place = 0
        self._before = generator.get_state()  # of the generator, when this pass was permuted

    def __next__(self) -> tuple[Tensor, ...]:
        if not self.size:
            return self.make()
        if self._place == len(self._order):
            self._before, self._place = self.generator.get_state(), 0
            self._permute()
        self._place += 1
        return self.make(self._order[self._place - 1])

    def map(self, change: Make) -> Stream:
        """Return this stream, from where it stands, with ``change(*batch)``, which may draw from the generator too."""
        changed, make = copy(self), self.make  # a copy, whose permutations may be of another kind than ours
        changed.make = lambda *index: change(*make(*index))
        return changed

    def state_dict(self) -> dict[str, Any]:
        """Return the exact position: tensors of bytes and a number, to be kept with the weights."""
        return {"generator": self.generator.get_state(), "before": self._before, "place": self._place}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a position that ``state_dict`` gave, of a stream made the same way; this draws no batch."""
        self._before, self._place = state["before"], int(state["place"])
        self._order = ()
        if self._place:
            self.generator.set_state(self._before)
            self._permute()
        self.generator.set_state(state["generator"])

    def _permute(self) -> None:
        order = torch.randperm(self.size, generator=self.generator, device=self.generator.device).cpu()
        self._order = order[: self.size // self.batch_size * self.batch_size].split(self.batch_size)
