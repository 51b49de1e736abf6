"""Checks of the exercises of chapter 06: what was expected, what came, a hint."""

import math

import torch

from flowlib.coursework.checks import check, expect_close, expect_true
from flowlib.densities import Gaussian, GaussianMixture, eight_gaussians
from flowlib.paths import OT, VE, VP, Cosine, exact_velocity
from flowlib.rectify import straightness

PATHS = (OT(), OT(sigma_min=0.1), VP(), VE(), Cosine())


@check
def check_6_1(ot, cosine, ve):
    expect_close(ot, 2.0, name="OT", hint="(x_1 - x) / (1 - t): straight to x_1, there at time 1", rtol=1e-3)
    hint = "alpha = sigma = sqrt(1/2); put both derivatives into (6.2)"
    half = math.pi / 2 * math.sqrt(0.5)
    expect_close(cosine, -math.pi / 2 * (1 - 2 * math.sqrt(0.5)) + half * 2, name="Cosine", hint=hint, rtol=1e-3)
    hint = "sigma' / sigma = -ln(sigma_max / sigma_min), at every time: which sign has x - x_1?"
    expect_close(ve, math.log(5000), name="VE", hint=hint, rtol=1e-3)


@check
def check_6_2(conditional_velocity):
    generator = torch.Generator().manual_seed(0)
    for shape in ((5, 2), (4, 3, 4, 4), (3, 3)):  # B = height, B = dimension: there a wrong time broadcasts unseen
        x_0, x_1 = torch.randn(2, *shape, generator=generator)
        t = 0.05 + 0.9 * torch.rand(len(x_0), generator=generator)
        for path in PATHS:
            x_t, dx_t = path.sample(x_0, x_1, t)
            found = conditional_velocity(path, x_t, x_1, t)
            hint = "(6.2), with each of the four numbers seen as (B, 1, ..., 1)"
            expect_close(found, dx_t, name=f"u for {path} and shape {shape}", hint=hint, rtol=1e-3, atol=1e-3)


@check
def check_6_3(marginal_velocity):
    generator = torch.Generator().manual_seed(0)
    points, x = torch.randn(6, 2, generator=generator), torch.randn(50, 2, generator=generator)
    for path in (OT(), VP(), VE(), Cosine()):
        exact = exact_velocity(path, GaussianMixture(points, 0.0))
        for time in (0.3, 0.7, 0.995):
            t = torch.full((50,), time)
            hint = "weights exp(-|x - alpha y|^2 / (2 sigma^2)), then the mean of (6.2)"
            hint = hint if time < 0.9 else "use softmax of the exponents, not a ratio of exp"
            found = marginal_velocity(path, x, t, points)
            expect_close(found, exact(x, t), name=f"v of {path} at t = {time}", hint=hint, rtol=1e-2, atol=1e-3)


@check
def check_6_4(floor_ot, floor_cosine, closer):
    hint = "the variance of x_1 given x_t is c^2 sigma^2 / (alpha^2 c^2 + sigma^2); dx_t is (D / sigma) x_1 + known"
    expect_close(floor_ot, math.pi * 0.4 / 2, name="floor of OT", hint=hint, rtol=2e-3)
    expect_close(floor_cosine, math.pi**2 * 0.4 / 4, name="floor of Cosine", hint=hint, rtol=2e-3)
    expect_true(closer == "Cosine", f"{closer!r} is not closer to its field", "what is each loss above its own floor?")


@check
def check_6_5(on_another_path):
    target, generator = eight_gaussians(), torch.Generator().manual_seed(0)
    ot = exact_velocity(OT(), target)
    for path in (OT(), Cosine(), VP(), VE()):
        v, exact = on_another_path(ot, path), exact_velocity(path, target)
        for time in (0.2, 0.6, 0.9):
            t = torch.full((40,), time)
            x, _ = path.sample(torch.randn(40, 2, generator=generator), target.sample(40, generator), t)
            hint = "the OT point with the same sigma / alpha is x / (alpha + sigma), at time alpha / (alpha + sigma)"
            expect_close(v(x, t), exact(x, t), name=f"v of {path} at t = {time}", hint=hint, rtol=1e-2, atol=1e-2)


@check
def check_6_6(bend, straighter):
    z_0 = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
    z_0 = z_0 / z_0.square().mean().sqrt()
    found = {}
    for c in (0.1, 1.0, 3.0):
        for path in (OT(), VP()):
            v = exact_velocity(path, Gaussian(torch.zeros(1), c**2))
            found[c, path] = straightness(v, path.source(z_0), steps=200).value
            hint = "an average over t and over standard normal starts of (Z_1 - Z_0 - v)^2"
            expect_close(bend(path, c), found[c, path], name=f"S of {path}, c = {c}", hint=hint, rtol=0.1, atol=0.01)
    for c in (0.1, 1.0, 3.0):
        want = "OT" if found[c, OT()] < found[c, VP()] else "VP"
        expect_true(straighter[c] == want, f"for c = {c} it is not {straighter[c]}", "compare your own numbers")


@check
def check_6_7(squared, absolute, flow):
    expect_close(squared, 1.0, name="minimiser of the squared loss", hint="set the derivative to zero: the mean")
    expect_close(absolute, 0.0, name="minimiser of the absolute loss", hint="as many above as below: the median")
    expect_true(flow == "squared", f"the {flow} loss does not give the flow", "(6.5) is a mean")
