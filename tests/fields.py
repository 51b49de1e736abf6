"""Velocity fields for the tests of continuous flows."""

import torch
from torch import nn

from flowlib.models import MLP


class Linear(nn.Module):
    """v(x, t, c) = A x + b, plus c where there is one."""

    def __init__(self, n, generator):
        super().__init__()
        self.a = nn.Parameter(0.5 * torch.randn(n, n, generator=generator))
        self.b = nn.Parameter(torch.randn(n, generator=generator))

    def forward(self, x, t, c=None):
        return x @ self.a.T + self.b + (0 if c is None else c)


class Pixels(nn.Module):
    """A field of pictures that is not linear and depends on time."""

    def __init__(self, channels):
        super().__init__()
        self.first = nn.Conv2d(channels, 4, 3, padding=1)
        self.last = nn.Conv2d(4, channels, 3, padding=1)

    def forward(self, x, t, c=None):
        return self.last(torch.tanh(self.first(x) + t[:, None, None, None]))


def random_mlp(generator, dim=2):
    field = MLP(dim, width=8, depth=2)
    for parameter in field.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    return field
