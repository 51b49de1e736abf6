"""Checks of the exercises of chapter 04: what was expected, what came, a hint."""

import math
from itertools import pairwise

import torch

from flowlib.coursework.checks import check, expect_close, expect_true
from flowlib.densities import Gaussian, GaussianMixture, eight_gaussians
from flowlib.paths import OT, exact_velocity
from flowlib.solvers import RK4, solve


@check
def check_4_1(time, place, velocity, end):
    expect_true(abs(time - 0.5) < 1e-6, f"time {time} is not when they meet", "set both lines (4.2) equal")
    expect_close(place, (1, 1), name="place", hint="put the time into (4.2)")
    expect_close(velocity, (2, 0), name="velocity", hint="the mean of two velocities, each the end minus the start")
    expect_true(
        math.dist(end, (2, 0)) < 1e-6,
        f"the point does not end in {tuple(end)}",
        "the flow's paths have the same crowd at t = 1, and the upper path stays above the lower one",
    )


@check
def check_4_2(interpolate):
    generator = torch.Generator().manual_seed(0)
    for shape in ((5, 2), (4, 3, 4, 4), (3, 3)):  # B = height, B = dimension: there a wrong time broadcasts unseen
        x_0, x_1 = torch.randn(2, *shape, generator=generator)
        t = torch.rand(len(x_0), generator=generator)
        x_t, dx_t = interpolate(x_0, x_1, t)
        want = torch.stack([t_b * b + (1 - t_b) * a for a, b, t_b in zip(x_0, x_1, t, strict=True)])
        expect_close(x_t, want, name=f"x_t of shape {shape}", hint="t = 0 is noise; each sample has its own time")
        expect_close(dx_t, x_1 - x_0, name="dx_t", hint="differentiate (4.2) by t")


@check
def check_4_3(rectified_flow_loss):
    generator = torch.Generator().manual_seed(0)
    x_0, x_1 = torch.randn(2, 64, 3, generator=generator)
    t = torch.rand(64, generator=generator)
    rest = rectified_flow_loss(lambda x, t: torch.zeros_like(x), x_0, x_1, t)
    expect_close(
        rest, (x_1 - x_0).square().mean(), name="loss of a field at rest", hint="a mean, also over coordinates"
    )

    def v(x, t):
        return x * (1 + t[:, None])

    x_t = t[:, None] * x_1 + (1 - t[:, None]) * x_0
    want = (v(x_t, t) - (x_1 - x_0)).square().mean()
    expect_close(
        rectified_flow_loss(v, x_0, x_1, t), want, name="loss", hint="ask the field at x_t, compare with x_1 - x_0"
    )


@check
def check_4_4(finite_set_velocity):
    points = torch.tensor([[2.0, 0.0], [-1.0, 1.0], [0.0, -2.0]])
    exact = exact_velocity(OT(), GaussianMixture(points, 0.0))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 2, generator=generator)
    for time in (0.0, 0.3, 0.7, 0.95, 0.999):
        t = torch.full((50,), time)
        hint = (
            "softmax of -|x - t y|^2 / (2 (1 - t)^2), then (4.8)" if time < 0.95 else "use softmax, not a ratio of exp"
        )
        expect_close(finite_set_velocity(x, t, points), exact(x, t), name=f"v at t = {time}", hint=hint, rtol=1e-3)


@check
def check_4_5(velocity, flow_end, euler_end):
    v = exact_velocity(OT(), Gaussian(torch.tensor([2.0]), 0.16))
    want = v(torch.tensor([[2.0]]), torch.tensor([0.5])).item()
    hint = "S = t^2 0.16 + (1 - t)^2; how far is x from t times the mean?"
    expect_true(abs(velocity - want) < 1e-3, f"v(2, 0.5) is not {velocity}", hint)
    right = solve(v, torch.tensor([[1.0]]), torch.linspace(0, 1, 401), RK4).x.item()
    hint = "in one dimension paths keep their order: quantiles go to quantiles"
    expect_true(abs(flow_end - right) < 1e-2, f"the flow does not end in {flow_end}", hint)
    expect_true(abs(euler_end - 2) < 1e-6, f"one Euler step does not end in {euler_end}", "what is v(x, 0)?")


@check
def check_4_6(euler_errors):
    v, z_0 = exact_velocity(OT(), eight_gaussians()), torch.randn(200, 2, generator=torch.Generator().manual_seed(1))
    steps = [25, 50, 100, 200]
    errors = euler_errors(v, z_0, steps)
    expect_true(len(errors) == 4, f"expected one error for each of {steps}, got {len(errors)}")
    ratios = [a / b for a, b in pairwise(errors)]
    shown = ", ".join(f"{r:.2f}" for r in ratios)
    expect_true(all(1.6 < r < 2.6 for r in ratios), f"the errors fall by {shown}", "Euler is of order one: about 2")
    x = z_0
    for k in range(25):
        x = x + v(x, torch.full((200,), k / 25)) / 25
    right = solve(v, z_0, torch.linspace(0, 1, 401), RK4).x
    want = (x - right).square().sum(1).mean().sqrt()
    expect_close(errors[0], want, rtol=0.02, name="error at 25 steps", hint="root of the mean squared length, from RK4")


@check
def check_4_7(transport_costs):
    generator = torch.Generator().manual_seed(0)
    target = eight_gaussians()
    x_0, x_1 = torch.randn(4000, 2, generator=generator), target.sample(4000, generator)
    v = exact_velocity(OT(), target)
    flow, random = transport_costs(v, x_0, x_1)
    expect_close(random, (x_1 - x_0).square().sum(1).mean(), name="cost of the random pairs", hint="sum coordinates")
    z_1 = solve(v, x_0, torch.linspace(0, 1, 101), RK4).x
    want = (z_1 - x_0).square().sum(1).mean()
    expect_close(flow, want, rtol=1e-2, name="cost of the flow's pairs", hint="solve from x_0 to t = 1, then compare")
    expect_true(flow < random, f"the flow costs {flow:.2f}, the pairs {random:.2f}")
