"""Autoregression with a flow head: flow matching of every patch, given those before it."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from flowlib.layers import patchify
from flowlib.objectives.matching import flow_matching
from flowlib.objectives.timesteps import Timesteps, Uniform
from flowlib.shapes import Batch, Scalar


def token_matching(
    model: Any,
    x_0: Batch,
    x_1: Batch,
    c: Tensor | None = None,
    *,
    rounds: Int[Tensor, " N"] | None = None,
    timesteps: Timesteps = Uniform(),  # noqa: B008  frozen
    generator: torch.Generator | None = None,
) -> Scalar:
    """Loss ``E |head(x_i^t, t, z_i) - (x_i^1 - x_i^0)|^2 / D`` over patches, ``x_i^t = t x_i^1 + (1 - t) x_i^0``.

    The context z_i knows the **clean** patches of x_1 that come before i. So each patch is a flow of its own, with its
    own time, and the minimiser is the velocity of the law of patch i given them.

    Args:
        model: the network, with ``context(tokens, rounds, c)``, ``head(x, t, z)`` and ``patch``, such as ``MAR``.
        x_0: noise, (B, C, H, W).
        x_1: pictures, (B, C, H, W).
        c: classes, (B,).
        rounds: when each patch is drawn, (N,); a fresh random order for every picture when left out.
        timesteps: where the times are drawn from, one a patch.
        generator: randomness of the orders and the times.

    Raises:
        InputError: shapes that differ.

    Source: Li et al. 2024 (MAR), equation 1 and section 3.3. Chapter 17.
    """
    tokens_0, tokens_1 = patchify(x_0, model.patch), patchify(x_1, model.patch)
    if rounds is None:
        device = generator.device if generator is not None else x_1.device
        rounds = torch.rand(tokens_1.shape[:2], generator=generator, device=device).argsort(1).to(x_1.device)
    z = model.context(tokens_1, rounds, c)
    rows = (u.flatten(0, 1) for u in (tokens_0, tokens_1, z))
    return flow_matching(model.head, *rows, timesteps=timesteps, generator=generator)
