"""Flow matching: regress on the velocity of a path, or on the data, the noise or the score behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from flowlib.errors import InputError
from flowlib.objectives.timesteps import Timesteps, Uniform
from flowlib.paths import OT, Path
from flowlib.paths.bridge import NoisyLine
from flowlib.paths.path import Quantity
from flowlib.shapes import Batch, Field, PerSample, Scalar, Times
from flowlib.tensors import per_sample


def flow_matching(
    net: Field,
    x_0: Batch,
    x_1: Batch,
    c: Any = None,
    *,
    path: Path = OT(),  # noqa: B008  frozen
    timesteps: Timesteps = Uniform(),  # noqa: B008  frozen
    predict: Quantity = "velocity",
    weight: Callable[[PerSample], PerSample] | None = None,
    generator: torch.Generator | None = None,
) -> Scalar:
    """Weighted regression ``E_t w(t) E |net(x_t, t, c) - target_t|^2 / n`` with n the number of coordinates.

    The target is what the network is to predict: the velocity ``dx_t``, the data ``x_1``, the noise ``x_0`` or the
    score ``-x_0 / sigma_t`` (of Gaussian x_0). The minimiser is its mean given x_t, and the minimum is not zero: it is
    the conditional variance of the target. With every default this is rectified flow, ``x_t = t x_1 + (1 - t) x_0`` and
    ``dx_t = x_1 - x_0``.

    Args:
        net: the network net(x, t, c) to train; a velocity field where ``predict`` is "velocity".
        x_0: noise or source samples, (B, *event).
        x_1: data, (B, *event); row b meets row b of x_0.
        c: condition, one a sample.
        path: how x_0 and x_1 are joined.
        timesteps: where t is drawn from.
        predict: the target: "velocity", "data", "noise" or "score".
        weight: w(t), (B,) to (B,); 1 when left out. A density drawn from is a weight too: give one of them, not both.
        generator: randomness of t, and of a path that adds noise.

    Raises:
        InputError: shapes that differ, another word for ``predict``, the score of a path with noise of its own.

    Source: Liu et al. 2023 (rectified flow), equation 1; Lipman et al. 2023, equation 9; Ho et al. 2020 (DDPM),
    equation 14, for the noise; Vincent 2011 for the score. Chapter 04 derives it, chapter 08 compares the targets.
    """
    t = timesteps.sample(len(x_1), generator).to(x_1).clamp(max=path.end)
    loss = _squared_error(net, x_0, x_1, c, t, path, predict, generator)
    return loss.mean() if weight is None else (per_sample(weight(t), loss) * loss).mean()


@torch.no_grad()
def loss_at(
    net: Field,
    x_0: Batch,
    x_1: Batch,
    times: Times,
    c: Any = None,
    *,
    path: Path = OT(),  # noqa: B008  frozen
    predict: Quantity = "velocity",
    generator: torch.Generator | None = None,
) -> Times:
    """Flow-matching loss at each time of a grid, on the same pairs, without gradient: where the loss is made.

    Args:
        net: the network net(x, t, c).
        x_0: noise or source samples, (B, *event).
        x_1: data, (B, *event).
        times: the grid, (T,).
        c: condition, one a sample.
        path: how x_0 and x_1 are joined.
        predict: the target: "velocity", "data", "noise" or "score".
        generator: randomness of a path that adds noise.

    Returns:
        (T,). Chapter 08 compares networks by it.
    """
    rows = (t.expand(len(x_1)) for t in times.to(x_1))
    return torch.stack([_squared_error(net, x_0, x_1, c, t, path, predict, generator).mean() for t in rows])


def _squared_error(
    net: Field,
    x_0: Tensor,
    x_1: Tensor,
    c: Any,
    t: Tensor,
    path: Path,
    predict: Quantity,
    generator: torch.Generator | None,
) -> Tensor:
    x_t, dx_t = path.sample(x_0, x_1, t, generator)
    targets = {
        "velocity": lambda: dx_t,
        "data": lambda: x_1,
        "noise": lambda: x_0,
        "score": lambda: -x_0 / per_sample(path.sigma(t), x_0),
    }
    if predict == "score" and isinstance(path, NoisyLine):
        raise InputError(
            "predict",
            expected="another target on a path with noise of its own",
            got=repr(predict),
            cure="-x_0 / sigma_t tells the score where x_0 is Gaussian and the only noise",
        )
    if predict not in targets:
        raise InputError("predict", expected="velocity, data, noise or score", got=repr(predict))
    return (net(x_t, t, c) - targets[predict]()).square()
