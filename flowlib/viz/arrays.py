"""Tensors, arrays and lists as numpy arrays of a stated shape, and the grids that pictures are computed on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from flowlib.errors import InputError

Array: TypeAlias = Tensor | np.ndarray | Sequence[Any]
Limits: TypeAlias = tuple[float, float]  # lowest and highest coordinate, the same for both axes


def as_array(name: str, x: Array, shape: str) -> np.ndarray:
    """Return ``x`` as a numpy array, off the graph and on the CPU; raise ``InputError`` unless it has ``shape``.

    >>> as_array("x", torch.zeros(5, 2), "N 2").shape
    (5, 2)

    Args:
        name: the argument's name, for the error.
        x: a tensor on any device, a numpy array, or a list of numbers.
        shape: its dimensions; a number must be met, a letter stands for any size above zero.
    """
    if isinstance(x, Tensor):
        x = x.detach().cpu()
        array = (x.float() if x.dtype == torch.bfloat16 else x).numpy()  # numpy has no bfloat16
    else:
        array = np.asarray(x)
    sizes = shape.split()
    fits = len(sizes) == array.ndim and all(
        n == int(size) if size.isdigit() else n > 0 for size, n in zip(sizes, array.shape, strict=True)
    )
    if not fits:
        raise InputError(name, expected=f"shape ({', '.join(sizes)})", got=f"shape {array.shape}")
    return array


def check_limits(limits: Limits) -> None:
    """Raise ``InputError`` unless ``limits`` is a lower and a higher number."""
    if len(limits) != 2 or not limits[0] < limits[1]:
        raise InputError("limits", expected="(lowest, highest), the same for both axes", got=limits)


def evaluate(name: str, f: Callable[[Tensor], Tensor], limits: Limits, n: int, shape: str) -> np.ndarray:
    """Return ``f`` at the centres of the n x n cells of a square, as (n, n, ...): row = second coordinate, upwards.

    No graph is recorded, which would fill the memory; an ``f`` that differentiates asks for ``torch.enable_grad()``
    itself, as flowlib's do.
    """
    points = torch.as_tensor(cell_centres(limits, n).reshape(-1, 2), dtype=torch.get_default_dtype())
    with torch.no_grad():
        values = f(points)
    return as_array(name, values, shape.replace("N", str(n * n))).reshape(n, n, *values.shape[1:])


def cell_centres(limits: Limits, n: int) -> np.ndarray:
    """Return the centres of the n x n cells of a square, (n, n, 2): [row, column] is (x[column], y[row])."""
    check_limits(limits)
    low, high = limits
    centres = low + (np.arange(n) + 0.5) * (high - low) / n
    return np.stack(np.meshgrid(centres, centres), axis=-1)
