"""Checks of the exercises of chapter 00: what was expected, what came, a hint."""

import math

import torch

from flowlib.coursework.checks import check, expect_close, expect_true
from flowlib.densities import Gaussian, GaussianMixture
from flowlib.paths import OT, VP, Cosine

FAMILIES = {"a": "diffusion", "b": "autoregressive", "c": "normalizing", "d": "continuous", "e": "rectified"}
HINTS = {
    "a": "what is predicted is the noise",
    "b": "one number from those before it",
    "c": "invertible layers with a cheap determinant",
    "d": "the path is learned, by likelihood, through a solver",
    "e": "the velocity of a straight line",
}


@check
def check_0_1(a, b, c, d, e):
    for letter, got in zip("abcde", (a, b, c, d, e), strict=True):
        names = sorted(FAMILIES.values())
        expect_true(got in names, f"{letter} is {got!r}, expected one of {', '.join(names)}")
        expect_true(got == FAMILIES[letter], f"{letter} is not {got}", HINTS[letter])


@check
def check_0_2(logdet, log_q):
    hint = "J = df/dx = 1/3: f goes from data to noise"
    expect_close(logdet, math.log(1 / 3), name="log|det J|", hint=hint, atol=1e-3)
    expect_close(log_q, -0.918939 - 0.5 + math.log(1 / 3), name="log q(4)", hint="f(4) = 1, and (0.1)", atol=1e-3)


@check
def check_0_3(by_flow, by_autoregression):
    hint = "the symmetric A with A A = C, times (1, 0): its first column"
    expect_close(by_flow, (2.0, 1.0), name="the place of the flow", hint=hint, atol=1e-3)
    want = (math.sqrt(5), 4 / math.sqrt(5))
    hint = "the first coordinate has variance 5; the mean of the second, given it, is 4/5 of it"
    expect_close(by_autoregression, want, name="the place of the autoregression", hint=hint, atol=1e-3)


@check
def check_0_4(velocity_from_noise):
    generator = torch.Generator().manual_seed(0)
    for path in (OT(), Cosine(), VP()):
        for shape in ((6, 2), (5, 1, 4, 5), (3, 3)):  # B = width: there a wrong time broadcasts unseen
            x_1, x_0 = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
            t = 0.1 + 0.8 * torch.rand(len(x_1), generator=generator, dtype=torch.float64)
            point = path.sample(x_0, x_1, t)
            schedule = path.alpha(t), path.sigma(t), path.d_alpha(t), path.d_sigma(t)
            got = velocity_from_noise(point.x_t, x_0, *schedule)
            hint = "with the true noise it is dx_t itself; each sample has its own time"
            expect_close(got, point.dx_t, name=f"velocity on {path}, shape {shape}", hint=hint)


@check
def check_0_5(table_log_prob):
    generator = torch.Generator().manual_seed(0)
    for k in (4, 10):
        first, second = torch.randn(k, generator=generator), 2 * torch.randn(k, k, generator=generator)
        centres = -4 + (torch.arange(k) + 0.5) * 8 / k
        grid = torch.cartesian_prod(centres, centres)
        got = table_log_prob(grid, first, second)
        mass = float(torch.as_tensor(got).double().exp().sum()) * (8 / k) ** 2
        expect_true(abs(mass - 1) < 1e-3, f"with {k} bins it integrates to {mass:.4g}", "divide by the area of a bin")
        want = first.log_softmax(0)[:, None] + second.log_softmax(1) - 2 * math.log(8 / k)
        expect_close(got, want.flatten(), name="log-density", hint="rows of `second` belong to bins of x^1")
        x = grid + (torch.rand(grid.shape, generator=generator) - 0.5) * 7.9 / k
        expect_close(
            table_log_prob(x, first, second), got, name="log-density inside a bin", hint="it is constant there"
        )


@check
def check_0_6(kl_divergence):
    p, q = Gaussian(torch.zeros(2)), Gaussian(torch.tensor([0.3, 0.0]))
    value, error = kl_divergence(p, q, 20_000, torch.Generator().manual_seed(0))
    expect_true(abs(value - 0.045) < 0.01, f"for two Gaussians 0.3 apart it is 0.045, got {value:.4f}", "p comes first")
    hint = "the spread of the difference, over the root of n"
    expect_close(error, 0.3 / 20_000**0.5, rtol=0.05, name="its error", hint=hint)
    q = GaussianMixture(torch.zeros(1, 2), 4.0)
    value, _ = kl_divergence(p, q, 20_000, torch.Generator().manual_seed(0))
    want = 2 * math.log(2) - 0.75
    expect_close(value, want, rtol=0.05, name="KL from N(0, I) to N(0, 4 I)", hint="points come from p")


@check
def check_0_7(autoregression, ddpm, heun, one_step):
    hint = "3072 numbers, one evaluation for each"
    expect_close(autoregression, 30.72, name="autoregression", hint=hint, rtol=1e-3)
    expect_close(ddpm, 2.5, name="DDPM", hint="250 evaluations; a millisecond is 0.001 s", rtol=1e-3)
    expect_close(heun, 0.2, name="Heun", hint="two evaluations a step", rtol=1e-3)
    expect_close(one_step, 0.01, name="one step", hint="one evaluation", rtol=1e-3)
