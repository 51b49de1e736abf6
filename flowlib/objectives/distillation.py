"""Distillation: regress on the whole jump of a flow, at the few times that the student will be asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from flowlib.errors import InputError
from flowlib.paths import OT
from flowlib.shapes import Batch, Field, Scalar
from flowlib.tensors import per_sample

Distance: TypeAlias = Callable[[Tensor, Tensor], Tensor]  # two batches to a scalar


def distillation(
    v: Field,
    x_0: Batch,
    x_1: Batch,
    c: Tensor | None = None,
    *,
    steps: int = 1,
    distance: Distance | None = None,
    reverse: bool = False,
    generator: torch.Generator | None = None,
) -> Scalar:
    """Loss of a student of k Euler steps, ``E |v(x_t, t, c) - (x_1 - x_0)|^2 / n`` over t in {0, 1/k .. (k-1)/k}.

    It is flow matching on the pairs of a flow, looked at only where Euler's method with k steps will look. For k = 1
    that is t = 0, where ``x_t = x_0`` has one partner: the smallest loss is zero, and ``x_0 + v(x_0, 0, c)`` is x_1.
    For k > 1 it is zero only where the pairs' lines do not cross.

    Args:
        v: the student v(x, t, c).
        x_0: starts of the teacher's paths, (B, *event).
        x_1: their ends; row b is where row b of x_0 went.
        c: condition, one a pair.
        steps: k.
        distance: compares the end that the student heads for, ``x_t + (1 - t) v``, with x_1, instead of velocities;
            `perceptual` makes one.
        reverse: learn the way back: t in {1, 1 - 1/k .. 1/k}, and the end headed for is ``x_t - t v``, beside x_0.
        generator: randomness of t.

    Source: Liu et al. 2023, section 2.2. Chapter 05 sets it against reflow.
    """
    if steps < 1:
        raise InputError("steps", expected="at least 1", got=steps)
    device = generator.device if generator is not None else x_1.device
    t = (torch.randint(steps, (len(x_1),), generator=generator, device=device) / steps).to(x_1)
    t = 1 - t if reverse else t
    x_t, dx_t = OT().sample(x_0, x_1, t)
    velocity = v(x_t, t, c)
    if distance is None:
        return (velocity - dx_t).square().mean()
    if reverse:
        return distance(x_t - per_sample(t, x_t) * velocity, x_0)
    return distance(x_t + per_sample(1 - t, x_t) * velocity, x_1)


def perceptual(features: Callable[[Tensor], Tensor], weight: float = 1.0) -> Distance:
    """Distance ``E |x - y|^2 / n + weight E |f(x) - f(y)|^2 / m``, with f the features of a judge, m of them.

    Pixels alone blur what they are unsure of; features ask that a picture be recognised. (The published runs use the
    features of LPIPS, which must be downloaded; a judge of our own costs nothing.)

    Args:
        features: pictures to feature vectors; its parameters are not trained.
        weight: of the features.
    """

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return (x - y).square().mean() + weight * (features(x) - features(y)).square().mean()

    return distance
