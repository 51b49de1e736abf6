"""How well pictures come back."""

from __future__ import annotations

from flowlib.estimates import Estimate
from flowlib.shapes import Batch
from flowlib.tensors import check_same_shape


def psnr(x: Batch, y: Batch) -> Estimate:
    """Peak signal-to-noise ratio ``10 log10(2^2 / mean (x - y)^2)`` in decibels, of each picture, then averaged.

    Pictures lie in [-1, 1], so the peak is 2. Errors as large as a grey level of 256 score 48 dB; the average of the
    logarithms is above the logarithm of the average, so the order belongs to the number.

    Args:
        x: pictures, (B, C, H, W).
        y: the same pictures after whatever was done to them.
    """
    check_same_shape("y", y, "x", x)
    return Estimate.of(10 * (4 / (x - y).double().flatten(1).square().mean(1)).log10())
