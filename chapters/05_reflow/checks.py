"""Checks of the exercises of chapter 05: what was expected, what came, a hint."""

import math

import torch

from flowlib.coursework.checks import check, expect_close, expect_true
from flowlib.densities import Gaussian, eight_gaussians
from flowlib.paths import OT, exact_velocity
from flowlib.rectify import straightness, velocities
from flowlib.solvers import EULER, MIDPOINT, solve


@check
def check_5_1(end, cost_before, cost_after, crossing, straight):
    hint = "the flow exchanges the continuations where the tubes meet"
    expect_true(math.dist(end, (2, 0)) < 1e-6, f"(0, 0) does not end in {tuple(end)}", hint)
    expect_close(cost_before, 8, name="cost before", hint="the mean of the squared lengths of both lines")
    expect_close(cost_after, 4, name="cost after", hint="the squared length from (0, 0) to its end")
    expect_close(crossing, 0, name="V", hint="an integral over time does not see one instant")
    expect_close(straight, 4, name="S", hint="compare both halves of the path with the direct way, or use (5.5)")


@check
def check_5_2(straightness_of):
    generator = torch.Generator().manual_seed(0)
    for shape in ((11, 5, 2), (21, 3, 1, 4, 4)):
        z, dz = torch.randn(2, *shape, generator=generator)
        bend = torch.stack([((z[-1] - z[0] - d) ** 2).flatten(1).sum(1) for d in dz])
        want = ((bend[1:] + bend[:-1]) / 2).sum(0).div(len(z) - 1).mean()
        hint = "sum over coordinates, trapezoid over time, mean over samples"
        expect_close(straightness_of(z, dz), want, name=f"S of shape {shape}", hint=hint)
    v = exact_velocity(OT(), Gaussian(torch.tensor([2.0]), 0.16))
    x_0 = torch.randn(500, 1, generator=generator)
    expect_close(
        straightness_of(*velocities(v, x_0, 50)), straightness(v, x_0).value, name="S", hint="Z_1 - Z_0 is z[-1] - z[0]"
    )


@check
def check_5_3(student_loss):
    generator = torch.Generator().manual_seed(0)
    z_0, z_1 = torch.randn(2, 40, 3, generator=generator)
    j = torch.arange(40) % 4

    def v(x, t):
        return x * (1 + t[:, None])

    rest = student_loss(lambda x, t: torch.zeros_like(x), z_0, z_1, j, 4)
    expect_close(rest, (z_1 - z_0).square().mean(), name="loss of a student at rest", hint="the velocity of the line")
    t = (j / 4)[:, None]
    want = ((t * z_1 + (1 - t) * z_0) * (1 + t) - (z_1 - z_0)).square().mean()
    expect_close(student_loss(v, z_0, z_1, j, 4), want, name="loss", hint="the time is j / k, and t = 0 is Z_0")


@check
def check_5_4(cost_random, cost_flow, bend_and_crossing, cost_next):
    expect_close(cost_random, 6, name="cost of random pairs", hint="a variance of independent numbers adds")
    expect_close(cost_flow, 2, name="cost of the flow's pairs", hint="Z_1 - Z_0 = m + (c - 1) x_0")
    expect_close(bend_and_crossing, 4, name="S + V", hint="subtract, by (5.5)")
    expect_close(cost_next, 2, name="cost after one more round", hint="do the lines from x_0 to m + c x_0 cross?")


@check
def check_5_5(least_steps):
    v = exact_velocity(OT(), eight_gaussians())
    x_0 = torch.randn(200, 2, generator=torch.Generator().manual_seed(1))
    for method, tolerance in ((EULER, 0.05), (MIDPOINT, 0.05), (MIDPOINT, 0.002)):
        n = least_steps(v, x_0, method, tolerance)
        ends = {m: solve(v, x_0, torch.linspace(0, 1, m + 1), method).x for m in {max(n // 2, 1), n, 2 * n}}
        moved = float((ends[2 * n] - ends[n]).square().mean().sqrt())
        got = f"{n} {method} steps: doubling them moves the ends by {moved:.2g}"
        expect_true(moved < tolerance, f"{got}, not below {tolerance}", "root mean square, N against 2 N")
        if n > 4:
            before = float((ends[n] - ends[n // 2]).square().mean().sqrt())
            expect_true(before >= tolerance, f"{got}; half as many do already", "the smallest N, not 2 N")


@check
def check_5_6(u_shaped):
    for a in (4.0, 2.0):
        t = u_shaped(200_000, a, torch.Generator().manual_seed(0))
        expect_true(t.shape == (200_000,), f"expected 200000 times, got shape {tuple(t.shape)}")
        expect_true(bool(((t >= 0) & (t <= 1)).all()), "times outside [0, 1]", "invert the distribution function")
        for x in (0.05, 0.25, 0.5, 0.9):
            want = 0.5 + math.sinh(a * (x - 0.5)) / (2 * math.sinh(a / 2))
            got = float((t <= x).double().mean())
            hint = "t = ln(1 + u (e^a - 1)) / a, and half of the draws are 1 - t"
            expect_true(abs(got - want) < 0.006, f"a = {a}: {got:.3f} of the times are below {x}, not {want:.3f}", hint)


@check
def check_5_7(turning_velocity):
    x_0 = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    for angle in (0.5, 2.0):
        turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        x_1 = x_0 @ turn.T
        for time in (0.0, 0.3, 1.0):
            x_t, t = time * x_1 + (1 - time) * x_0, torch.full((200,), time)
            hint = "solve x_t = ((1 - t) I + t R) x_0 for x_0; the velocity is (R - I) x_0"
            expect_close(
                turning_velocity(x_t, t, angle), x_1 - x_0, name=f"v at t = {time}", hint=hint, rtol=1e-3, atol=1e-4
            )
