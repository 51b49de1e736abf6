"""Distillation: regress on what a teacher says; on the whole jump of its flow, or on its guided velocity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from flowlib.errors import InputError
from flowlib.objectives.timesteps import Timesteps, Uniform
from flowlib.paths import OT
from flowlib.shapes import Batch, Field, Scalar
from flowlib.tensors import per_sample

Distance: TypeAlias = Callable[[Tensor, Tensor], Tensor]  # two batches to a scalar


def distillation(
    v: Field,
    x_0: Batch,
    x_1: Batch,
    c: Any = None,
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


def guidance_distillation(
    v: Callable[..., Tensor],
    x_0: Batch,
    x_1: Batch,
    c: Tensor,
    *,
    teacher: Field,
    null: Tensor,
    weights: tuple[float, float] = (1.0, 5.0),
    timesteps: Timesteps = Uniform(),  # noqa: B008  frozen
    generator: torch.Generator | None = None,
) -> Scalar:
    """Loss of a student that is told the strength of guidance, ``E |v(x_t, t, c, w) - v_w(x_t, t, c)|^2 / n``.

    The target is the teacher's guided velocity, ``v_w = v_u + w (v_c - v_u)`` with ``v_u`` its answer to the null
    condition: a function of what the student sees, so that the smallest loss is zero. Two evaluations become one. The
    points x_t are those of the data's path; where strong guidance leads, fewer of them lie.

    Args:
        v: the student v(x, t, c, w=w), w of shape (B,).
        x_0: noise, (B, *event).
        x_1: data, (B, *event).
        c: condition, one a sample.
        teacher: field teacher(x, t, c), trained with conditions dropped at random.
        null: the condition that says nothing, of the shape of c.
        weights: w is drawn evenly between these two; 1 is no guidance.
        timesteps: where t is drawn from.
        generator: randomness of t and w.

    Raises:
        InputError: weights out of order, a null condition of another shape.

    Source: Meng et al. 2023, section 3.1, equation 1, with w counted from 1. Chapter 14.
    """
    low, high = weights
    if not low <= high:
        raise InputError("weights", expected="two numbers, the smaller one first", got=weights)
    if null.shape != c.shape:
        raise InputError("null", expected=f"the shape of c, {tuple(c.shape)}", got=f"shape {tuple(null.shape)}")
    t = timesteps.sample(len(x_1), generator).to(x_1)
    device = generator.device if generator is not None else x_1.device
    w = low + (high - low) * torch.rand(len(x_1), generator=generator, device=device).to(x_1)
    x_t, _ = OT().sample(x_0, x_1, t)
    with torch.no_grad():
        v_c, v_u = teacher(x_t, t, c), teacher(x_t, t, null)
        target = v_u + per_sample(w, x_t) * (v_c - v_u)
    return (v(x_t, t, c, w=w) - target).square().mean()


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
