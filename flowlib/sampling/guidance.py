"""Guidance: exaggerate what the condition, or a better network, changes."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from flowlib.errors import InputError
from flowlib.shapes import Batch, Field, PerSample
from flowlib.tensors import check_same_shape, per_sample


def guide(
    v: Field,
    w: float,
    *,
    null: object = None,
    interval: tuple[float, float] = (0.0, 1.0),
    weak: Field | None = None,
) -> Field:
    """Guided field ``v_u + w (v_c - v_u)``, on every channel; w = 1 is v itself.

    With the null condition ``v_u = v(x, t, null)`` (classifier-free guidance), with a weaker network
    ``v_u = weak(x, t, c)`` (autoguidance). The formula is the same for a field of noise, data or score, since
    conversions are affine. A guided field has no path whose velocity it is: its likelihood means nothing.

    Args:
        v: field v(x, t, c) trained with labels dropped at random, so that it knows ``null``.
        w: weight; papers that write ``(1 + w') v_c - w' v_u`` mean w = 1 + w'.
        null: the condition that says nothing: ``num_classes`` where c holds classes, 0 where it holds the numbers of
            captions; or a condition of the whole batch, or of one row for all (a U-Net has to be built with one class
            more). Of a caption it makes a negative prompt:
            what to move away from.
        interval: times at which guidance is on, both ends included; elsewhere v is used alone.
        weak: a smaller or less trained network.

    Raises:
        InputError: an interval outside [0, 1]; neither ``null`` nor ``weak``, or both; a call without a condition; a
            number for ``null`` where c is none.

    Source: Ho and Salimans 2022; Kynkaanniemi et al. 2024 (interval); Karras et al. 2024 (autoguidance). Chapter 11.
    """
    low, high = interval
    if not 0 <= low <= high <= 1:
        raise InputError("interval", expected="two times, 0 <= low <= high <= 1", got=interval)
    if (null is None) == (weak is None):
        raise InputError(
            "null, weak",
            expected="one of the two",
            got="neither" if weak is None else "both",
            cure="null=num_classes for classes",
        )

    def guided(x: Batch, t: PerSample, c: Any) -> Batch:
        if c is None and weak is None:
            raise InputError("c", expected="a condition to strengthen", got="None")
        v_c, inside = v(x, t, c), (t >= low) & (t <= high)
        if w == 1 or not bool(inside.any()):  # the second evaluation is half of the cost
            return v_c
        v_u = weak(x, t, c) if weak is not None else v(x, t, _for_all(null, c))
        strength = torch.where(inside, w, 1.0).to(x)
        return v_u + per_sample(strength, x) * (v_c - v_u)

    return guided


def _for_all(null: Any, c: Any) -> Any:
    """The null condition of a whole batch: a number fills the shape of c, one row serves every sample."""
    if isinstance(null, int):
        if not isinstance(c, Tensor):
            raise InputError(
                "null", expected=f"a {type(c).__name__}, like c", got=null, cure="encode the caption that says nothing"
            )
        return torch.full_like(c, null)
    if isinstance(null, Tensor) and isinstance(c, Tensor) and (null.ndim == 0 or len(null) == 1):
        return null.expand_as(c)
    if isinstance(null, tuple) and len(null[0]) == 1:  # a Text
        return cast(Any, type(null))(*(u if u is None else u.expand(len(c[0]), *u.shape[1:]) for u in null))
    return null


def rescale(guided: Batch, conditional: Batch, phi: float = 0.7) -> Batch:
    """Bring a guided prediction back to the contrast of the conditional one, sample by sample.

    ``phi g std(v_c) / std(g) + (1 - phi) g`` with g the guided prediction and the standard deviation over all
    coordinates of a sample. It depends on what is predicted (noise, data or velocity): unlike guidance itself it does
    not commute with conversions, so state which one it was used on.

    Args:
        guided: prediction with guidance, (B, *event).
        conditional: prediction without, (B, *event).
        phi: 0 leaves it as it is, 1 sets the contrast.

    Source: Lin et al. 2024 ("Common diffusion noise schedules and sample steps are flawed"), equations 15 and 16.
    """
    check_same_shape("guided", guided, "conditional", conditional)
    if not 0 <= phi <= 1:
        raise InputError("phi", expected="0 to 1", got=phi)
    ratio = conditional.flatten(1).std(1) / guided.flatten(1).std(1)
    return per_sample(phi * ratio + 1 - phi, guided) * guided
