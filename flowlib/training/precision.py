"""Arithmetic, applied to a loss from outside: no model knows in which precision it is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

Precision: TypeAlias = Literal["float32", "bfloat16"]
DTYPES: dict[Precision, torch.dtype | None] = {
    # 24 significant bits: the reference, and the default on a CPU. The convolutions of a GPU multiply with 11 of them
    # (TF32) unless torch.backends.cudnn.allow_tf32 is False.
    "float32": None,
    # 8 significant bits and the range of float32 in matrix products, whose sums stay in float32; weights, averages and
    # the optimiser keep float32. float16 has 11 bits but overflows at 65504, so that every loss would need a scale.
    "bfloat16": torch.bfloat16,
}


def in_precision(loss: Callable[..., Tensor], precision: Precision) -> Callable[..., Tensor]:
    """Return ``loss`` with its matrix products and convolutions computed in ``precision``, by autocast.

    The parameters stay float32, so that an update of one part in a thousand is not rounded away: the distance of two
    neighbours in bfloat16 is one part in 128 to 256. In float32 it is the same function that comes back.

    Args:
        loss: loss(model, *batch).
        precision: "float32" or "bfloat16".

    Source: Micikevicius et al. 2018 (mixed precision training), section 3.1. Chapter 15 measures it.
    """
    dtype = DTYPES[precision]
    if dtype is None:
        return loss

    def mixed(model: nn.Module, *batch: Tensor) -> Tensor:
        with torch.autocast(batch[0].device.type, dtype):
            return loss(model, *batch)

    return mixed
