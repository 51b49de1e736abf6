"""Checks of the exercises of chapter 16: what was expected, what came, a hint."""

import torch

from flowlib.coursework.checks import check, expect_close, expect_true
from flowlib.densities import Gaussian, eight_gaussians
from flowlib.paths import OT, exact_velocity
from flowlib.solvers import RK4, solve

C = 0.4


def radius(t):
    return ((C * t) ** 2 + (1 - t) ** 2) ** 0.5


@check
def check_16_1(average, slope, end, wrong):
    expect_close(average, 0.8, name="average velocity", hint="Z_r - Z_t is the integral of 2 s from t to r")
    expect_close(slope, 1.0, name="du/dt", hint="u(x, t, r) = r + t, wherever x is")
    expect_close(end, 3.75, name="f(3, 0.5)", hint="x + (1 - t) u(x, t, 1)")
    expect_close(wrong, 0.0, name="wrong side", hint="v is 2 t = 0.4, and r - t is 0.4 too")


@check
def check_16_2(average_velocity):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 2, generator=generator)
    t, r = torch.rand(2, 50, generator=generator).sort(0).values * 0.8
    r = r + 0.15
    v = exact_velocity(OT(), Gaussian(torch.zeros(2), C**2))
    want = x * ((radius(r) / radius(t) - 1) / (r - t))[:, None]
    hint = "each sample has its own step (r - t) / steps; the midpoint rule asks v twice in each"
    expect_close(average_velocity(v, x, t, r, 100), want, name="u", hint=hint, rtol=1e-3, atol=1e-3)
    v, start = exact_velocity(OT(), eight_gaussians()), torch.zeros(50)
    want = solve(v, x, torch.linspace(0, 0.5, 101), RK4).x
    got = x + 0.5 * average_velocity(v, x, start, start + 0.5, 100)
    expect_close(got, want, name="x + (r - t) u", hint="ask v on the way, not only at x", rtol=1e-3, atol=3e-3)


@check
def check_16_3(two_halves):
    generator = torch.Generator().manual_seed(0)
    for shape in ((30, 2), (4, 1, 3, 5), (3, 3)):
        x = torch.randn(*shape, generator=generator)
        t, d = 0.5 * torch.rand(len(x), generator=generator), 0.2 + 0.05 * torch.rand(len(x), generator=generator)
        wide = [q.reshape(-1, *(1,) * (x.ndim - 1)) for q in (t, d)]

        def u(x, t, r):
            a, b = (q.reshape(-1, *(1,) * (x.ndim - 1)) for q in (t, r))
            return x.sin() * (1 + a) + b**2

        first = x.sin() * (1 + wide[0]) + (wide[0] + wide[1]) ** 2
        second = (x + wide[1] * first).sin() * (1 + wide[0] + wide[1]) + (wide[0] + 2 * wide[1]) ** 2
        hint = "the second jump starts at x + d u, at time t + d, and ends at t + 2 d"
        expect_close(two_halves(u, x, t, d), (first + second) / 2, name=f"target of shape {shape}", hint=hint)


@check
def check_16_4(drawn_spread):
    hint = "a_j = a_{j+1} E[x_t x_t'] / E[x_t^2], both moments along the line from x_0 to x_1"
    expect_close(
        drawn_spread(C, 1), 0.0, name="a_0 for N = 1", hint="the mean of the data is all that one step can say"
    )
    for c, n, want in ((0.4, 2, 0.137931), (2.0, 2, 0.8), (1.0, 4, 0.72)):
        expect_close(drawn_spread(c, n), want, name=f"a_0 for c = {c}, N = {n}", hint=hint, rtol=1e-3, atol=1e-4)
    far, near = (C - drawn_spread(C, n) for n in (200, 400))
    expect_true(1.8 < far / near < 2.2, f"doubling N divides the error by {far / near:.2f}, not by 2", hint)


@check
def check_16_5(flow, consistent, halves, mean, reflow):
    expect_close(flow, 4800, name="flow matching", hint="1 + 2 a picture, 100 pictures a step")
    expect_close(consistent, 3600, name="consistency", hint="f at t' is a value more, without a way back")
    expect_close(halves, 3600, name="shortcut", hint="two values more, on half of the rows")
    expect_close(mean, 3200, name="mean flow", hint="3 more, on half of the rows")
    expect_close(reflow, 4400, name="after pairs", hint="a midpoint step asks the field twice")


@check
def check_16_6(velocity_of):
    generator = torch.Generator().manual_seed(0)
    turn = torch.tensor([[0.0, -1.5], [1.5, 0.3]], dtype=torch.float64)

    given = []  # the only r at which u may be asked

    def same(r):
        hint = "the identity holds for each r: keep the one that is given, and differentiate by x and t"
        expect_true(abs(float(r) - given[-1]) < 1e-6, f"u was asked at r = {float(r):g}, not {given[-1]:g}", hint)

    def u(x, t, r):  # of the linear field v = A x: (exp((r - t) A) - I) x / (r - t)
        same(r)
        return (torch.linalg.matrix_exp((r - t) * turn) @ x - x) / (r - t)

    def hurried(x, t, r):  # of v = 2 t + x
        same(r)
        grown = torch.as_tensor(r - t, dtype=x.dtype).exp()
        end = grown * (x + 2 * t + 2) - 2 * r - 2
        return (end - x) / (r - t)

    for name, average, v in (("A x", u, lambda x, t: turn @ x), ("x + 2 t", hurried, lambda x, t: x + 2 * t)):
        for t, r in ((0.1, 0.4), (0.2, 1.0)):
            x = torch.randn(2, generator=generator, dtype=torch.float64)
            given.append(r)
            hint = "(I + (r - t) J) v = u - (r - t) du/dt at fixed x, with J the Jacobian of u by x"
            got = velocity_of(average, x, t, r)
            expect_close(got, v(x, t), name=f"v = {name} at t = {t} from r = {r}", hint=hint, rtol=1e-6, atol=1e-6)
