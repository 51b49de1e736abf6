"""Small operations on batches, and the checks that public functions make of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import UInt8
from torch import Tensor

from flowlib.errors import InputError
from flowlib.shapes import Batch, PerSample


def per_sample(t: PerSample, x: Batch) -> Tensor:
    """View the numbers ``t``, one a sample, as (B, 1, ..., 1), so that they multiply the samples of ``x``.

    The only place where time is broadcast: t of shape (B, 1) against x of shape (B, 2) would be right by accident,
    and wrong without a word against an image.
    """
    return t.reshape(-1, *(1,) * (x.ndim - 1))


def sum_event(x: Batch) -> PerSample:
    """Sum over the event: (B, *event) to (B,)."""
    return x.flatten(1).sum(1) if x.ndim > 1 else x


def randn(shape: Sequence[int], *, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Standard normal numbers in the dtype and on the device of ``like``.

    A generator lives on one device; numbers are drawn there and moved, so that a seed means the same on CPU and GPU.
    """
    device = generator.device if generator is not None else like.device
    return torch.randn(*shape, dtype=like.dtype, device=device, generator=generator).to(like.device)


def check_time(t: Tensor, x: Tensor) -> None:
    """Raise ``InputError`` unless ``t`` holds floats, has shape (B,) with B = len(x) and lies in [0, 1].

    On a GPU the values are not read: that would make every call wait for the device.
    """
    if t.shape != x.shape[:1]:
        raise InputError(
            "t",
            expected=f"shape ({len(x)},), one time a sample",
            got=f"shape {tuple(t.shape)}",
            cure="t.expand(len(x)) makes one time serve a whole batch",
        )
    if not t.is_floating_point():
        raise InputError("t", expected="floating-point numbers in [0, 1]", got=str(t.dtype))
    if t.device.type == "cpu" and t.numel():
        low, high = (u.item() for u in t.aminmax())
        if not (low >= 0 and high <= 1):
            raise InputError(
                "t",
                expected="values in [0, 1] (0 is noise, 1 is data)",
                got=f"values from {low:g} to {high:g}",
                cure="divide DDPM steps by their number; 1 - t turns a time that is 1 at noise",
            )


def check_same_shape(name: str, x: Tensor, like_name: str, like: Tensor) -> None:
    """Raise ``InputError`` unless both tensors have the same shape: broadcasting would hide the mistake."""
    if x.shape != like.shape:
        raise InputError(name, expected=f"the shape of {like_name}, {tuple(like.shape)}", got=tuple(x.shape))


def check_finite(name: str, x: Tensor) -> None:
    """Raise ``InputError`` when ``x`` holds NaN or infinity; where the sum is finite, so are the terms."""
    if not math.isfinite(x.detach().sum()) and not bool(torch.isfinite(x).all()):
        raise InputError(
            name,
            expected="finite numbers",
            got=f"{int((~torch.isfinite(x)).sum())} NaN or infinite",
            cure="look at the data before the model",
        )


def to_float(k: UInt8[Tensor, " B *event"]) -> Batch:
    """Grey levels 0 to 255 as float32 in [-1, 1], ``x = k / 127.5 - 1``."""
    return k.float() / 127.5 - 1


def to_uint8(x: Batch) -> UInt8[Tensor, " B *event"]:
    """Pictures in [-1, 1] as grey levels, ``k = floor(127.5 x + 128)`` clamped to 0 .. 255: the nearest level.

    The common ``(x + 1) / 2 * 255`` without rounding darkens by half a level on average and maps 63 of the 256 exact
    levels one too low; distances between sets of pictures change with it.
    """
    return (127.5 * x + 128).floor().clamp(0, 255).to(torch.uint8)
