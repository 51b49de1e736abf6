"""Checks of the exercises of chapter 03: what was expected, what came, a hint."""

import math
from itertools import pairwise

import torch

from flowlib.coursework.checks import check, expect_close, expect_true
from flowlib.densities import Gaussian
from flowlib.paths import VP, exact_velocity
from flowlib.paths.conventions import cosine_betas, linear_betas, scaled_linear_betas, zero_terminal_snr
from flowlib.sampling import ddim


@check
def check_3_1(steps, alpha_0):
    expect_true(steps == 35, f"{steps} is not the number of steps", "0.98^K < 1/2; take the next integer")
    hint = "half of the integral of beta in the exponent; the mean of a linear rate is the mean of its ends"
    expect_true(abs(alpha_0 / math.exp(-10.05 / 2) - 1) < 5e-3, f"alpha_0 is not {alpha_0}", hint)


@check
def check_3_2(add_noise):
    generator, betas = torch.Generator().manual_seed(0), linear_betas(100).float()
    for shape in ((2,), (3, 4, 4), (5,)):  # a batch of five: there a wrong step broadcasts unseen
        y_0, noise = torch.randn(2, 5, *shape, generator=generator)
        k = torch.tensor([0, 3, 50, 98, 99])
        factors = torch.tensor([math.prod(1 - b for b in betas[: i + 1].tolist()) for i in k.tolist()])
        pairs = zip(y_0, noise, factors, strict=True)
        want = torch.stack([math.sqrt(a) * y + math.sqrt(1 - a) * e for y, e, a in pairs])
        hint = "abar_k is a product over the steps up to k, itself included; roots of it and of 1 - abar_k"
        expect_close(add_noise(y_0, k, betas, noise), want, name=f"y_k of shape {shape}", hint=hint)


@check
def check_3_3(best_noise):
    path = VP()
    t = torch.tensor([0.0, 0.2, 0.5, 0.9])
    x = torch.tensor([[0.3], [-1.0], [2.0], [1.1]])
    for m, c in ((1.5, 0.4), (-2.0, 1.0)):
        v = exact_velocity(path, Gaussian(torch.tensor([m]), c**2))(x, t)
        want = path.convert(v, x, t, have="velocity", want="noise")
        hint = "Cov(x_0, x_t) = sigma_t; divide by Var x_t = alpha_t^2 c^2 + sigma_t^2"
        expect_close(best_noise(x, t, m, c), want, name=f"E[x_0 | x_t], m = {m}, c = {c}", hint=hint, rtol=1e-4)


@check
def check_3_4(step):
    generator = torch.Generator().manual_seed(0)
    data, eps, z = torch.randn(3, 6, 2, generator=generator)
    now, later = (0.6, 0.8), (0.8, 0.6)
    x = now[0] * data + now[1] * eps
    b = later[1] ** 2 * (1 - (now[0] * later[1] / (now[1] * later[0])) ** 2)
    for eta in (0.0, 0.5, 1.0):
        want = later[0] * data + math.sqrt(later[1] ** 2 - eta**2 * b) * eps + eta * math.sqrt(b) * z
        got = step(x, eps, *now, *later, eta, z)
        hint = "x_1_hat = (x - sigma eps) / alpha; eta^2 b is taken from the old noise, eta sqrt(b) z is added"
        expect_close(got, want, name=f"x after a step with eta = {eta}", hint=hint)
    last = step(x, eps, *now, 1.0, 0.0, 1.0, z)
    expect_close(last, data, name="the last step", hint="without noise left, only the estimate of the data remains")


@check
def check_3_5(end_point):
    x, eps = torch.tensor([[0.2, 0.7], [-1.0, 1.5]]), torch.tensor([[0.5, -1.0]])
    hint = "y + (0 - rho) eps with y = x / alpha and rho = sigma / alpha"
    for alpha, sigma in ((0.6, 0.8), (0.1, 2.0)):
        y, rhos = x / alpha, torch.linspace(sigma / alpha, 0, 8)
        for rho, later in pairwise(rhos.tolist()):
            y = y + (later - rho) * eps
        got = end_point(x, eps, alpha, sigma)
        expect_close(got, y, name=f"end from alpha = {alpha}, sigma = {sigma}", hint=hint, rtol=1e-4)
    start, x_0 = torch.zeros(1), torch.tensor([[1.0, -0.5]])
    want = ddim(lambda x, t, c=None: eps.expand(x.shape), x_0, steps=7)
    got = end_point(VP().source(x_0), eps, VP().alpha(start).item(), VP().sigma(start).item())
    expect_close(got, want, name="end of 7 steps of DDIM", hint=hint, rtol=1e-3)


@check
def check_3_6(ddim_errors):
    m, c = -1.0, 0.3
    v, x_0 = exact_velocity(VP(), Gaussian(torch.tensor([m]), c**2)), torch.linspace(-1.5, 1.5, 7)[:, None]
    errors = ddim_errors(v, x_0, m, c, [20, 40, 80, 160])
    expect_true(len(errors) == 4, f"expected four errors, got {len(errors)}")
    ratios = [a / b for a, b in pairwise(errors)]
    shown = ", ".join(f"{r:.2f}" for r in ratios)
    expect_true(all(1.7 < r < 2.4 for r in ratios), f"the errors fall by {shown}", "of order one: about 2")
    start = torch.zeros(1)
    alpha_0, sigma_0 = VP().alpha(start), VP().sigma(start)
    exact = m + c * (sigma_0 * x_0 - alpha_0 * m) / (alpha_0**2 * c**2 + sigma_0**2).sqrt()
    want = (ddim(v, x_0, path=VP(), have="velocity", steps=20) - exact).abs().max()
    expect_close(errors[0], want, rtol=0.02, name="error at 20 steps", hint="the largest distance to (3.10)")


@check
def check_3_7(mend):
    for name, betas in (("linear", linear_betas()), ("scaled", scaled_linear_betas()), ("cosine", cosine_betas(50))):
        got = mend(betas)
        left = (1 - got).cumprod(0)
        expect_true(abs(left[-1].item()) < 1e-12, f"{name}: the last abar is {left[-1]:.2e}, not 0", "shift the roots")
        expect_close(left[0], 1 - betas[0], name=f"{name}: abar at the first step", hint="scale by a_1 / (a_1 - a_K)")
        expect_close(got, zero_terminal_snr(betas), name=f"{name}: betas", hint="beta_k = 1 - (a_k / a_(k-1))^2")


@check
def check_3_8(drawn_spread):
    for alpha_0, n, c in ((0.068265, 4096, 0.43), (0.006353, 65536, 0.5), (0.5, 1, 1.0)):
        sigma = math.sqrt(1 - alpha_0**2)
        want = c * sigma / math.sqrt(n * alpha_0**2 * c**2 + sigma**2)
        hint = "along (1, .., 1)/sqrt(n) the data have standard deviation sqrt(n) c; use (3.10), then divide by sqrt(n)"
        got = drawn_spread(alpha_0, n, c)
        expect_close(got, want, name=f"spread at alpha_0 = {alpha_0}, n = {n}", hint=hint, rtol=1e-3)
