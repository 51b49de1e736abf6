"""Masked layers: networks whose i-th output does not see the i-th input or any after it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flowlib.layers.mlp import start_at_zero, with_condition


class MaskedLinear(nn.Linear):
    """Linear layer with some weights held at zero, ``y = (mask * W) x + b``.

    Args:
        mask: which output sees which input, (out, in), true or false.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.to(self.weight.dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Output, (B, out)."""
        return F.linear(x, self.mask * self.weight, self.bias)


class MADE(nn.Module):
    """Masked perceptron: P numbers for each of n coordinates, those of coordinate i from x_1 .. x_{i-1} and c only.

    Every unit has a degree, the number of coordinates it may see, and sees units of its degree or less. The hidden
    degrees run through 1 .. n - 1, and with a condition through 0 .. n - 1: else x_1 would know nothing of c. Layers
    of fewer units have degrees evenly between, the largest among them. The last layer starts at zero.

    Args:
        dim: n.
        num_params: P; the output has one block of n numbers for each.
        width: size of the hidden layers.
        depth: number of hidden layers.
        condition: features of c, or classes where c holds labels; 0 for no condition.

    Raises:
        InputError: points of another dimension, a condition that does not fit.

    Source: MADE (Germain et al. 2015), section 4.
    """

    def __init__(self, dim: int, num_params: int, *, width: int = 64, depth: int = 2, condition: int = 0) -> None:
        super().__init__()
        self.dim = dim
        self.condition = condition
        least = 0 if condition or dim == 1 else 1
        seen = torch.cat([1 + torch.arange(dim), torch.zeros(condition, dtype=torch.long)])
        layers: list[nn.Module] = []
        for _ in range(depth):
            units, degrees = torch.arange(width), dim - least
            degree = least + (units % degrees if width >= degrees else (units + 1) * degrees // width - 1)
            layers += [MaskedLinear(degree[:, None] >= seen), nn.ReLU(inplace=True)]
            seen = degree
        out = torch.arange(dim).repeat(num_params)
        layers.append(MaskedLinear(out[:, None] >= seen))
        start_at_zero(layers[-1])
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Output, (B, P n)."""
        return self.net(with_condition(x, c, self.dim, self.condition))
