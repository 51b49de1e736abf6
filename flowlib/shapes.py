"""The letters that shapes are written with: ``B`` samples in a batch, ``event`` the shape of one sample.

A point of the plane has ``event = (2,)``, a digit ``(1, 8, 8)``. Signatures use these names, beartype checks them while
the tests run, and at no other time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from jaxtyping import Float, Int
from torch import Tensor

Batch: TypeAlias = Float[Tensor, " B *event"]  # samples: points, images or tokens
PerSample: TypeAlias = Float[Tensor, " B"]  # one number a sample: a time, a log-density
Labels: TypeAlias = Int[Tensor, " B"]  # one class a sample
Scalar: TypeAlias = Float[Tensor, ""]
Times: TypeAlias = Float[Tensor, " T"]  # a grid of times
Field: TypeAlias = Callable[..., Tensor]  # v(x, t, c=None): an x-shaped velocity; t has shape (B,)
