"""Checks of the exercises of chapter 12: what was expected, what came, a hint."""

import torch
from torch.distributions import Normal, kl_divergence

from flowlib.coursework.checks import check, expect_close, expect_true
from flowlib.paths import OT


@check
def check_12_1(first, second, unused):
    expect_close(first, 2.0, name="rate of the first", hint="put m = 2 and l = log 1 into (12.5)")
    expect_close(second, 1.5091578, name="rate of the second", hint="l = -4; the variance itself enters too", rtol=1e-3)
    expect_close(unused, 0.0, name="rate of the unused one", hint="what is N(0, 1) whatever the picture tells nothing")


@check
def check_12_2(rate_in_bits):
    generator = torch.Generator().manual_seed(0)
    mean, logvar = torch.randn(2, 5, 3, 2, 4, generator=generator)
    law = Normal(mean, (logvar / 2).exp())
    nats = kl_divergence(law, Normal(torch.zeros(()), torch.ones(()))).flatten(1).sum(1)
    got = rate_in_bits(mean, logvar)
    expect_true(
        tuple(got.shape) == (5,),
        f"expected shape (5,), got {tuple(got.shape)}",
        "one number a picture: sum over the rest",
    )
    expect_close(got, nats / torch.log(torch.tensor(2.0)), name="rate", hint="(12.5), and a nat is 1.44 bits")


@check
def check_12_3(water_filling):
    lam = torch.tensor([8.0, 2.0, 0.5, 0.01])
    for beta, rate, distortion in ((1.0, 3.0, 1.51), (4.0, 1.0, 4.51), (0.02, 11.4658, 0.04), (40.0, 0.0, 10.51)):
        got_rate, got_distortion = water_filling(lam, beta)
        hint = "the water stands at beta / 2; a direction below it has D = lambda and R = 0"
        expect_close(got_rate, rate, name=f"rate at beta = {beta}", hint=hint, rtol=1e-3)
        expect_close(got_distortion, distortion, name=f"distortion at beta = {beta}", hint=hint)


@check
def check_12_4(constants):
    generator = torch.Generator().manual_seed(0)
    mean = 3 * torch.randn(400, 2, 2, 2, generator=generator) + 1.5
    logvar = 0.5 * torch.randn(400, 2, 2, 2, generator=generator) + 1
    shift, scale = constants(mean, logvar)
    z = mean + (logvar / 2).exp() * torch.randn(300, *mean.shape, generator=generator)
    after = (z - float(shift)) * float(scale)
    expect_close(after.mean(), 0.0, name="mean of the draws after (12.8)", hint="the mean of z", atol=0.01)
    expect_close(
        after.std(),
        1.0,
        name="standard deviation of the draws after (12.8)",
        hint="Var z = Var m + E exp(l); and scale is one over its root",
        atol=0.01,
    )


@check
def check_12_5(standardise, restore):
    z = torch.randn(3, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    for shift, scale in ((0.0, 0.18215), (0.0609, 1.5305), (0.1159, 0.3611)):
        expect_close(
            standardise(z, shift, scale),
            (z - shift) * scale,
            name="standardise",
            hint="first the shift, then the scale",
        )
        expect_close(
            restore(standardise(z, shift, scale), shift, scale),
            z,
            name="restore(standardise(z))",
            hint="the other order",
        )


@check
def check_12_6(good_time):
    x_0, x_1 = torch.randn(2, 20, 3, generator=torch.Generator().manual_seed(0))
    for a in (0.2, 1.0, 5.49):
        for time in (0.0, 0.1, 0.5, 1.0):
            t = torch.full((20,), time)
            x_t = OT().sample(x_0, a * x_1, t).x_t
            good = float(good_time(time, a))
            expect_true(0 <= good <= 1, f"t' = {good} is no time", "it goes from 0 to 1 as t does")
            other = OT().sample(x_0, x_1, torch.full((20,), good)).x_t
            factor = 1 - time + a * time
            expect_close(factor * other, x_t, name=f"path at t = {time}, a = {a}", hint="t'/(1-t') = a t/(1-t)")
