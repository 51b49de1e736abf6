"""Multilayer perceptrons, and how they are told a condition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from flowlib.errors import InputError


def mlp(sizes: Sequence[int], activation: Callable[[], nn.Module] = nn.SiLU) -> nn.Sequential:
    """Linear layers with an activation h between them, ``W_L h(... h(W_1 x + b_1) ...) + b_L``.

    Args:
        sizes: of the input, the hidden layers and the output.
        activation: h; SiLU is smooth, as a velocity field has to be, ReLU learns sharp edges sooner.
    """
    *inner, last = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    return nn.Sequential(*(layer for linear in inner for layer in (linear, activation())), last)


class ConditionedMLP(nn.Module):
    """Perceptron of points and a condition, ``mlp([x, c])`` with ReLU, whose last layer starts at zero.

    Args:
        dim: coordinates of x.
        out: numbers in the output.
        width: size of the hidden layers.
        depth: number of hidden layers.
        condition: features of c, or classes where c holds labels; 0 for no condition.

    Raises:
        InputError: points of another dimension, a condition that does not fit.
    """

    def __init__(self, dim: int, out: int, *, width: int = 64, depth: int = 2, condition: int = 0) -> None:
        super().__init__()
        self.dim = dim
        self.condition = condition
        self.net = mlp([dim + condition] + [width] * depth + [out], partial(nn.ReLU, inplace=True))
        start_at_zero(self.net[-1])

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Output, (B, out)."""
        return self.net(with_condition(x, c, self.dim, self.condition))


def start_at_zero(layer: nn.Module) -> None:
    """Set weight and bias to zero: a bijection whose conditioner ends so starts as the identity (Glow, section 3.3)."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def start_xavier(module: nn.Module) -> None:
    """Draw the weight of a linear layer from Xavier's uniform law and set its bias to zero; for ``Module.apply``.

    Source: Glorot and Bengio 2010, equation 16; ViT and DiT start all their layers so.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def with_condition(x: Tensor, c: Tensor | None, dim: int, condition: int) -> Tensor:
    """Join points (B, dim) and the features of their condition, (B, dim + condition).

    Raises:
        InputError: points of another dimension, a condition that does not fit.
    """
    if x.ndim != 2 or x.shape[1] != dim:
        raise InputError("x", expected=f"shape (B, {dim})", got=f"shape {tuple(x.shape)}")
    features = condition_features(c, condition, x)
    return x if features is None else torch.cat([x, features], 1)


def condition_features(c: Tensor | None, size: int, x: Tensor) -> Tensor | None:
    """Features of a condition in the dtype of ``x``: numbers (B, size) as they are, labels (B,) as one of ``size``.

    Raises:
        InputError: a condition that is missing, not asked for, or of another shape; labels out of range.
    """
    if c is None and size == 0:
        return None
    if c is None or size == 0:
        raise InputError(
            "c",
            expected="no condition" if size == 0 else f"{size} features, or a label of {size} classes, a sample",
            got="None" if c is None else f"shape {tuple(c.shape)}",
            cure="the model's condition= says how many features it takes",
        )
    if c.shape == (len(x),) and not c.is_floating_point():
        if c.device.type == "cpu" and not bool(((c >= 0) & (c < size)).all()):
            raise InputError("c", expected=f"labels 0 to {size - 1}", got=f"{int(c.min())} to {int(c.max())}")
        return nn.functional.one_hot(c.long(), size).to(x.dtype)
    if c.shape != (len(x), size):
        raise InputError("c", expected=f"shape {(len(x), size)}, or ({len(x)},) labels", got=f"shape {tuple(c.shape)}")
    return c.to(x.dtype)
