"""Flow matching: regress on the velocity of a path between a sample of noise and one of data."""

from __future__ import annotations

import torch
from torch import Tensor

from flowlib.objectives.timesteps import Uniform
from flowlib.paths import OT, Path
from flowlib.shapes import Batch, Field, Scalar


def flow_matching(
    v: Field,
    x_0: Batch,
    x_1: Batch,
    c: Tensor | None = None,
    *,
    path: Path = OT(),  # noqa: B008  frozen
    timesteps: Uniform = Uniform(),  # noqa: B008  frozen
    generator: torch.Generator | None = None,
) -> Scalar:
    """Conditional flow-matching loss ``E |v(x_t, t, c) - dx_t|^2 / n`` with n the number of coordinates.

    With the default path this is rectified flow: ``x_t = t x_1 + (1 - t) x_0`` and ``dx_t = x_1 - x_0``. Its minimiser
    is the marginal velocity ``E[dx_t | x_t]``, and its minimum is not zero: it is the conditional variance of dx_t.

    Args:
        v: the field v(x, t, c) to train.
        x_0: noise or source samples, (B, *event).
        x_1: data, (B, *event); row b meets row b of x_0.
        c: condition, one a sample.
        path: how x_0 and x_1 are joined.
        timesteps: where t is drawn from.
        generator: randomness of t.

    Source: Liu et al. 2023 (rectified flow), equation 1; Lipman et al. 2023, equation 9. Chapter 04 derives it.
    """
    t = timesteps.sample(len(x_1), generator).to(x_1)
    x_t, dx_t = path.sample(x_0, x_1, t)
    return (v(x_t, t, c) - dx_t).square().mean()
