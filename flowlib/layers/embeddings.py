"""How a network is told the time and the class."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from flowlib.errors import InputError
from flowlib.shapes import PerSample


def time_embedding(t: PerSample, dim: int, max_period: float = 10_000.0) -> Tensor:
    """Sinusoids ``[cos(1000 t f_i), sin(1000 t f_i)]`` with ``f_i = max_period^(-i / (dim/2))``, (B, dim).

    The frequencies were made for the step numbers 0 to 1000 of DDPM. Our t in [0, 1] is multiplied here, once; without
    the factor none of them would turn by more than a radian.

    Args:
        t: times in [0, 1], (B,).
        dim: even number of features.
        max_period: longest period over 2 pi, in steps.

    Source: Vaswani et al. 2017, section 3.5; Ho et al. 2020, appendix B.
    """
    if dim % 2:
        raise InputError("dim", expected="an even number: a cosine and a sine for each frequency", got=dim)
    i = torch.arange(dim // 2, device=t.device, dtype=t.dtype)
    angle = 1000 * t[:, None] * torch.exp(-math.log(max_period) * i / (dim // 2))
    return torch.cat([angle.cos(), angle.sin()], 1)
