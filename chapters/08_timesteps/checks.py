"""Checks of the exercises of chapter 08: what was expected, what came, a hint."""

import math

import torch

from flowlib.coursework.checks import check, expect_close, expect_true
from flowlib.objectives import LogitNormal, Mode, min_snr
from flowlib.paths import OT


@check
def check_8_1(data, noise, score, data_error, noise_error):
    expect_close(data, 1.1, name="data", hint="solve x_t = t x_1 + (1 - t) x_0 and v = x_1 - x_0 for x_1")
    expect_close(noise, 0.6, name="noise", hint="the same two equations, for x_0")
    expect_close(score, -3.0, name="score", hint="(8.3): minus the noise over sigma_t")
    expect_close(data_error, 0.02, name="error of the data", hint="x_1 = x_t + (1 - t) v, and x_t is known")
    expect_close(noise_error, -0.08, name="error of the noise", hint="x_0 = x_t - t v, and x_t is known")


@check
def check_8_2(sd3_draws):
    for m, b in ((1.0, 0.5), (-0.4, 1.0)):
        t = sd3_draws(20_000, m, b, torch.Generator().manual_seed(0))
        expect_close(t.shape, (20_000,), name="shape of the draws")
        expect_true(t.min() >= 0 and t.max() <= 1, "some times lie outside [0, 1]", "sigmoid maps the line to (0, 1)")
        logit = torch.logit(t.double())
        hint = "t = 1 - s, so logit t = -logit s: m > 0 means more noise, and noise is at t = 0"
        expect_close(logit.mean(), -m, atol=4 * b / 141, rtol=0, name=f"mean of logit t for m = {m}", hint=hint)
        expect_close(logit.std(), b, rtol=0.03, name=f"standard deviation of logit t for b = {b}", hint="m + b z")
    again = [sd3_draws(5, 0.0, 1.0, torch.Generator().manual_seed(1)) for _ in range(2)]
    expect_close(again[0], again[1], name="the same seed", hint="draw with the generator that is given")


@check
def check_8_3(quantile, density):
    u = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    t = quantile(u)
    hint = "t / (1 - t) on the straight path is the root of its SNR; set it equal to u / sqrt(1 - u)"
    expect_close(OT().snr(t), u**2 / (1 - u), name="SNR at Q(u)", hint=hint)
    h = 1e-6
    slope = (quantile(u + h) - quantile(u - h)) / (2 * h)
    expect_close(density(t), 1 / slope, rtol=1e-4, name="density", hint="du/dt, not dt/du: one over Q'(u)")


@check
def check_8_4(min_snr_of_velocity):
    t = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    for gamma in (5.0, 1.0):
        hint = (
            "(8.4): an error of v is 1 / (1 - t)^2 times that of the data, so the weight is (1 - t)^2 min(SNR, gamma)"
        )
        expect_close(min_snr_of_velocity(t, gamma), min_snr(gamma)(t), name=f"w at gamma = {gamma}", hint=hint)
    ends = min_snr_of_velocity(torch.tensor([0.0, 1.0]), 5.0)
    expect_close(ends, (0, 0), atol=1e-4, name="w at t = 0 and t = 1", hint="multiply (1 - t)^2 into the minimum")


@check
def check_8_5(shift, time, mean, change):
    expect_close(
        shift, 4, name="shift", hint="the root of the ratio of the numbers of pixels; 3 was found by asking people"
    )
    expect_close(time, 0.2, name="time", hint="(8.12): more pixels need more noise, so t falls")
    expect_close(mean, -math.log(4), rtol=1e-3, name="m", hint="logit t' = logit t - ln a")
    expect_close(change, -2 * math.log(4), rtol=1e-3, name="change of lambda", hint="lambda = 2 logit t")


@check
def check_8_6(two_estimates):
    pi, n = Mode(1.29), 40_000
    for name, loss in {"t^2": torch.square, "1": torch.ones_like, "1 / pi": lambda t: 1 / pi.density(t)}.items():
        answer = two_estimates(loss, pi, n, torch.Generator().manual_seed(0))
        expect_true(len(answer) == 4, f"expected two means and two errors, got {len(answer)} numbers")
        drawn, weighted, drawn_error, weighted_error = (float(v) for v in answer)
        grid = (torch.arange(200_000) + 0.5) / 200_000
        want = float((pi.density(grid) * loss(grid)).mean())
        first = float(loss(pi.quantile(grid)).std()) / n**0.5
        second = float((pi.density(grid) * loss(grid)).std()) / n**0.5
        hint = "one of the two, not both: draws from pi carry no weight"
        expect_close(drawn, want, rtol=0, atol=5 * first + 1e-5, name=f"drawn, loss {name}", hint=hint)
        expect_close(drawn_error, first, rtol=0.1, name=f"its error, loss {name}", hint="s / sqrt(n)")
        expect_close(weighted, want, rtol=0, atol=5 * second + 1e-5, name=f"weighted, loss {name}", hint=hint)
        expect_close(weighted_error, second, rtol=0.1, name=f"its error, loss {name}", hint="s / sqrt(n)")


@check
def check_8_7(least_noisy):
    t = (torch.arange(50, dtype=torch.float64) + 0.5) / 50
    pi, s = LogitNormal().density(t), (1 + 20 * t**4) ** 2
    q, ratio = least_noisy(pi / pi.mean(), s)
    expect_close(q.mean(), 1, name="mean of q", hint="a density: divide by the mean over the cells")
    want = pi * (1 + 20 * t**4)
    expect_close(q, want / want.mean(), name="q", hint="proportional to pi times the root of s")
    best = (pi / pi.mean() * (1 + 20 * t**4)).mean() ** 2
    expect_close(
        ratio, best / (pi / pi.mean() * s).mean(), name="ratio", hint="at q the integral is (int pi sqrt(s))^2"
    )
