"""How straight a flow is, and what its pairing costs."""

from __future__ import annotations

import torch

from flowlib.errors import InputError
from flowlib.estimates import Estimate
from flowlib.shapes import Batch, Field
from flowlib.solvers import RK4, solve
from flowlib.tensors import check_same_shape, sum_event


@torch.no_grad()
def velocities(v: Field, x_0: Batch, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Trajectory of ``dx/dt = v`` on an even grid (by RK4), and the velocity along it, both (steps + 1, B, *event)."""
    times = torch.linspace(0, 1, steps + 1, dtype=x_0.dtype)
    trajectory = solve(v, x_0, times, RK4).trajectory
    speed = torch.stack([v(x, t.expand(len(x))) for x, t in zip(trajectory, times.to(x_0.device), strict=True)])
    return trajectory, speed


def straightness(v: Field, x_0: Batch, *, steps: int = 50) -> Estimate:
    """Straightness ``S = int_0^1 E |(Z_1 - Z_0) - v(Z_t, t)|^2 dt`` of the flow from x_0; zero when paths are straight.

    Zero means straight and at constant speed: then one Euler step is exact. The integral is a trapezoid rule; the
    standard error is that of the mean over samples.

    Args:
        v: a field v(x, t).
        x_0: where trajectories start, (B, *event).
        steps: intervals of the grid.

    Source: Liu et al. 2023, equation 3. Chapter 05 makes flows straight.
    """
    z, dz = velocities(v, x_0, steps)
    bend = torch.stack([sum_event((z[-1] - z[0] - d).square()) for d in dz])
    return Estimate.of(torch.trapezoid(bend, dx=1 / steps, dim=0))


def transport_cost(x_0: Batch, x_1: Batch, *, power: float = 2.0) -> Estimate:
    """Cost ``E |x_1 - x_0|^p`` of a pairing, in the Euclidean norm; reflow raises it for no convex cost, so no p >= 1.

    Args:
        x_0: where the pairs start, (B, *event).
        x_1: where they end; row b meets row b of x_0.
        power: p, at least 1.

    Source: Liu et al. 2023, theorem 3.5. Chapter 05 proves it.
    """
    check_same_shape("x_0", x_0, "x_1", x_1)
    if power < 1:
        raise InputError("power", expected="at least 1: a convex cost", got=power)
    return Estimate.of(sum_event((x_1 - x_0).square()).pow(power / 2))
