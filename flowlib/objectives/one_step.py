"""One-step models: three regressions of an average velocity on what it says of itself.

The average velocity of a flow from t to r, along the path through (x, t), is

    u(x, t, r) = 1 / (r - t) int_t^r v(Z_s, s) ds,   Z_t = x,   t <= r,   u(x, t, t) = v(x, t),

so that ``x + (r - t) u(x, t, r)`` is where the flow will be at r. Each loss asks for a property of every such u; of
which flow, the data say. The targets come from the network itself and are held fixed (stop-gradient).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from flowlib.errors import InputError
from flowlib.objectives.timesteps import Timesteps, Uniform
from flowlib.paths import OT
from flowlib.shapes import Batch, Field, Scalar
from flowlib.tensors import per_sample


def mean_flow(
    u: Field,
    x_0: Batch,
    x_1: Batch,
    c: Tensor | None = None,
    *,
    plain: float = 0.5,
    timesteps: Timesteps = Uniform(),  # noqa: B008  frozen
    generator: torch.Generator | None = None,
) -> Scalar:
    """Loss ``E |u(x_t, t, r) - (dx_t + (r - t) du/dt)|^2 / n``, the second term held fixed.

    The derivative ``du/dt = dx_t . grad_x u + partial_t u`` is that of ``u(x_t, t, r)`` in the direction (dx_t, 1, 0)
    of (x, t, r), by forward-mode differentiation. In the paper time is 1 at noise and t > r; before the positive
    length of the jump its term has the other sign.

    Args:
        u: the network u(x, t, c, r=r).
        x_0: noise, (B, *event).
        x_1: data, (B, *event).
        c: condition, one a sample.
        plain: share of the rows with r = t, where the loss is flow matching.
        timesteps: where t and r are drawn from; the later of the two is r.
        generator: randomness of the times.

    Raises:
        InputError: a share outside [0, 1], shapes that differ.

    Source: Geng et al. 2025 (MeanFlow), the identity of section 4.1 and algorithm 1. Chapter 16, equation 16.6.
    """
    a, b = (timesteps.sample(len(x_1), generator).to(x_1) for _ in range(2))
    rest = _rest(x_1, plain)
    t, r = torch.where(rest, torch.minimum(a, b), a), torch.where(rest, torch.maximum(a, b), a)
    x_t, target = OT().sample(x_0, x_1, t)
    if bool(rest.any()):
        du = _slope(u, x_t[rest], t[rest], r[rest], None if c is None else c[rest], target[rest])
        target[rest] += per_sample(r - t, x_t)[rest] * du
    return (u(x_t, t, c, r=r) - target).square().mean()


def shortcut(
    u: Field,
    x_0: Batch,
    x_1: Batch,
    c: Tensor | None = None,
    *,
    steps: int = 128,
    plain: float = 0.75,
    generator: torch.Generator | None = None,
) -> Scalar:
    """Loss of a jump that must equal two of half its length, one after the other, and of flow matching beside it::

        E |u(x_t, t, t + 2d) - (u(x_t, t, t + d) + u(x_t + d u(x_t, t, t + d), t + d, t + 2d)) / 2|^2 / n

    The two halves are held fixed. 2d is one of 1, 1/2, 1/4 .. 2/steps, and t one of its multiples. The shortest halves,
    of d = 1/steps, are Euler steps of ``u(x, t, t)``, which the plain rows train on data.

    Args:
        u: the network u(x, t, c, r=r).
        x_0: noise, (B, *event).
        x_1: data, (B, *event).
        c: condition, one a sample.
        steps: 1 / d of the shortest half, a power of two.
        plain: share of the rows with r = t, where the loss is flow matching.
        generator: randomness of the times.

    Raises:
        InputError: steps that are no power of two from 2 on, a share outside [0, 1], shapes that differ.

    Source: Frans et al. 2025 (shortcut models), section 3 and algorithm 1. Chapter 16, equation 16.11.
    """
    if steps < 2 or steps & (steps - 1):
        raise InputError("steps", expected="a power of two, at least 2", got=steps)
    t, rest = Uniform().sample(len(x_1), generator).to(x_1), _rest(x_1, plain)
    device = generator.device if generator is not None else x_1.device
    halvings = torch.randint(steps.bit_length() - 1, (len(x_1),), generator=generator, device=device).to(x_1.device)
    d = torch.where(rest, 0.5 ** (halvings + 1), 0).to(x_1)
    t = torch.where(rest, (t / (2 * d)).floor() * 2 * d, t)
    x_t, target = OT().sample(x_0, x_1, t)
    if bool(rest.any()):
        target[rest] = _two_halves(u, x_t[rest], t[rest], d[rest], None if c is None else c[rest], 1 / steps)
    return (u(x_t, t, c, r=t + 2 * d) - target).square().mean()


def consistency(
    u: Field,
    x_0: Batch,
    x_1: Batch,
    c: Tensor | None = None,
    *,
    steps: int = 32,
    teacher: Field | None = None,
    generator: torch.Generator | None = None,
) -> Scalar:
    """Loss ``E w(t) |f(x_t, t) - f(x_t', t')|^2 / n`` of the jump to the end, ``f(x, t) = x + (1 - t) u(x, t, 1)``.

    Here t' = t + 1/N, the second f is held fixed, and ``w(t) = 1/(1 - t)^2`` makes both sides velocities: u(x_t, t, 1)
    is regressed on ``(f(x_t', t') - x_t) / (1 - t)``. At t' = 1 that is ``x_1 - x_0``, since ``f(x, 1) = x``.

    Args:
        u: the network u(x, t, c, r=r), asked at r = 1 alone.
        x_0: noise, (B, *event).
        x_1: data, (B, *event).
        c: condition, one a sample.
        steps: N; t is one of 0, 1/N .. (N - 1)/N.
        teacher: a field v(x, t, c); x_t' is then one of its midpoint steps from x_t (consistency distillation). Left
            out, x_t and x_t' lie on the line from x_0 to x_1 (consistency training).
        generator: randomness of t.

    Raises:
        InputError: no step at all, shapes that differ.

    Source: Song et al. 2023 (consistency models), algorithm 2 (distillation) and algorithm 3 (training), on the
    straight path. Chapter 16, equation 16.9.
    """
    if steps < 1:
        raise InputError("steps", expected="at least 1", got=steps)
    device = generator.device if generator is not None else x_1.device
    t = (torch.randint(steps, (len(x_1),), generator=generator, device=device) / steps).to(x_1)
    one, h = torch.ones_like(t), 1 / steps
    x_t, dx_t = OT().sample(x_0, x_1, t)
    with torch.no_grad():
        if teacher is not None:
            half = teacher(x_t, t, c)
            dx_t = teacher(x_t + h / 2 * half, t + h / 2, c)
        later, x_later = (t + h).clamp(max=1), x_t + h * dx_t
        end = x_later + per_sample(1 - later, x_t) * u(x_later, later, c, r=one)
    return (u(x_t, t, c, r=one) - (end - x_t) / per_sample(1 - t, x_t)).square().mean()


def _rest(x: Tensor, plain: float) -> Tensor:
    """The rows of a batch that are not plain flow matching, (B,) of bool: the last ones, since rows have no order."""
    if not 0 <= plain <= 1:
        raise InputError("plain", expected="a share of the rows, 0 to 1", got=plain)
    return torch.arange(len(x), device=x.device) >= round(plain * len(x))


@torch.no_grad()
def _slope(u: Field, x: Tensor, t: Tensor, r: Tensor, c: Tensor | None, dx: Tensor) -> Tensor:
    """Derivative of u(x, t, r) in the direction (dx, 1, 0)."""
    with sdpa_kernel(SDPBackend.MATH):  # fused attention has no forward-mode derivative
        return torch.func.jvp(lambda x, t: u(x, t, c, r=r), (x, t), (dx, torch.ones_like(t)))[1]


@torch.no_grad()
def _two_halves(u: Field, x: Tensor, t: Tensor, d: Tensor, c: Tensor | None, shortest: float) -> Tensor:
    """Average velocity of two jumps of length d; at the shortest d they are Euler steps."""
    length = torch.where(d > shortest, d, 0)
    first = u(x, t, c, r=t + length)
    second = u(x + per_sample(d, x) * first, t + d, c, r=t + d + length)
    return (first + second) / 2
