"""What the benchmarks share: one field, trained for a moment, so that its flow bends as a real one does."""

from functools import cache, partial
from itertools import repeat

import torch
from torch import nn

from flowlib.datasets import between
from flowlib.densities import Gaussian, moons
from flowlib.models import MLP
from flowlib.objectives import flow_matching
from flowlib.training import Plan, train


@cache
def trained() -> MLP:
    """A field from the normal law to two moons, 3 x 64, after 600 steps."""
    torch.manual_seed(0)
    v, generator = MLP(2), torch.Generator().manual_seed(0)
    batches = between(Gaussian(torch.zeros(2)), moons(0.1), 256, generator)
    for _ in train(partial(flow_matching, generator=generator), v, batches, Plan(steps=600, lr=3e-3)):
        pass
    return v.eval().requires_grad_(False)


class Swapped(nn.Module):
    """The same field as the peers call it, v(t, x) with a scalar time."""

    def __init__(self, v: nn.Module) -> None:
        super().__init__()
        self.v = v

    def forward(self, t, x, *others, **more):
        return self.v(x, t.expand(len(x)))


def endless(batch):
    """One batch for ever: drawing is not what is measured."""
    return repeat(batch)
