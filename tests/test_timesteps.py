"""Timestep samplers: each draws from the law it states, and the law is the one of the paper, in our time."""

import importlib
import math

import pytest
import torch
from scipy import integrate, stats

from flowlib.datasets import Labelled, digits
from flowlib.errors import InputError
from flowlib.objectives import (
    CosMap,
    LogitNormal,
    Mode,
    Shifted,
    Stratified,
    Uniform,
    UShaped,
    flow_matching,
    shift_time,
)
from flowlib.training import Plan

pytestmark = pytest.mark.usefixtures("float64")
SAMPLERS = (
    Uniform(),
    LogitNormal(),
    LogitNormal(0.5, 0.6),
    LogitNormal.edm(),
    Mode(1.29),
    Mode(-0.9),
    CosMap(),
    UShaped(4.0),
    Shifted(Uniform(), 3.0),
    Shifted(LogitNormal(-0.4, 1.0), 0.5),
)
by_sampler = pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
N = 20_000
INSIDE = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)


def ks(draws, sampler) -> float:
    """p-value of the Kolmogorov-Smirnov test of draws against a sampler's cdf."""
    return float(stats.kstest(draws.numpy(), lambda t: sampler.cdf(torch.from_numpy(t)).numpy()).pvalue)


def on_diffusers_time(scheme, generator, **numbers):
    """Draws of diffusers. Its scripts index *descending* timesteps by them: they are our t, not SD3's s."""
    from diffusers.training_utils import compute_density_for_timestep_sampling

    return compute_density_for_timestep_sampling(scheme, N, **numbers, generator=generator)


@by_sampler
def test_draws_follow_the_cdf(sampler, generator):
    t = sampler.sample(N, generator)
    assert t.shape == (N,)
    assert 0 <= float(t.min()) <= float(t.max()) <= 1
    assert ks(t, sampler) > 0.01


@by_sampler
def test_the_test_of_draws_can_fail(sampler, generator):
    """The same draws, moved a little: p below 1e-4."""
    wrong = sampler.sample(N, generator) ** 1.08
    assert ks(wrong, sampler) < 1e-4


@by_sampler
def test_quantile_inverts_the_cdf(sampler):
    torch.testing.assert_close(sampler.cdf(sampler.quantile(INSIDE)), INSIDE, rtol=0, atol=1e-12)
    ends = torch.tensor([0.0, 1.0])
    torch.testing.assert_close(sampler.cdf(ends), ends, rtol=0, atol=1e-12)
    torch.testing.assert_close(sampler.quantile(ends), ends, rtol=0, atol=1e-12)


@by_sampler
def test_density_is_the_derivative_of_the_cdf(sampler):
    t = INSIDE.clone().requires_grad_()
    (slope,) = torch.autograd.grad(sampler.cdf(t).sum(), t)
    torch.testing.assert_close(slope, sampler.density(INSIDE), rtol=1e-8, atol=1e-10)


@by_sampler
def test_density_integrates_to_one(sampler):
    area, _ = integrate.quad(lambda t: float(sampler.density(torch.tensor(t))), 0, 1, epsabs=1e-10, limit=200)
    assert area == pytest.approx(1, abs=1e-7)


@by_sampler
def test_density_and_cdf_outside(sampler):
    t = torch.tensor([-0.5, 0.0, 1.0, 1.5])
    assert bool(sampler.density(t).isfinite().all())
    assert sampler.density(t)[[0, 3]].tolist() == [0, 0]
    torch.testing.assert_close(sampler.cdf(t), torch.tensor([0.0, 0.0, 1.0, 1.0]), rtol=0, atol=1e-12)


@by_sampler
def test_same_seed_same_times(sampler):
    """The generator alone decides: the global state neither gives nor takes."""
    before = torch.random.get_rng_state()
    first, second = (sampler.sample(64, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, sampler.sample(64, torch.Generator().manual_seed(4)))
    assert torch.equal(before, torch.random.get_rng_state())


def test_single_precision_stays_inside():
    """The draws at the ends of what torch.rand can give: no time outside, and none that is not a number."""
    u = torch.tensor([0.0, 2.0**-24, 0.5, 1 - 2.0**-24], dtype=torch.float32)
    for sampler in (*SAMPLERS, Mode(-1.0), Mode(2 / (math.pi - 2))):
        t = sampler.quantile(u)
        assert t.dtype == torch.float32
        assert 0 <= float(t.min()) <= float(t.max()) <= 1
        assert bool((t.diff() >= 0).all())


# ---------------------------------------------------------------- the laws of the papers


def test_logit_normal_is_normal_in_the_logit(generator):
    """SD3's m, stated in s = 1 - t, is -m here: m = +1 means more noise."""
    logit = torch.logit(LogitNormal.sd3(1.0, 0.6).sample(N, generator))
    assert float(logit.mean()) == pytest.approx(-1, abs=4 * 0.6 / math.sqrt(N))
    assert float(logit.std()) == pytest.approx(0.6, abs=0.02)
    assert float(torch.sigmoid(logit).mean()) < 0.4
    s = INSIDE  # equation 19, as printed, at s = 1 - t
    printed = torch.exp(-((torch.logit(s) - 1) ** 2) / (2 * 0.6**2)) / (0.6 * math.sqrt(2 * math.pi) * s * (1 - s))
    torch.testing.assert_close(LogitNormal.sd3(1.0, 0.6).density(1 - s), printed)


def test_edm_is_log_normal_in_the_noise_level(generator):
    """ln sigma ~ N(-1.2, 1.2^2) with sigma = (1 - t) / t: less noise than data, for most draws."""
    t = LogitNormal.edm().sample(N, generator)
    level = torch.log((1 - t) / t)
    assert stats.kstest(level.numpy(), stats.norm(-1.2, 1.2).cdf).pvalue > 0.01
    assert float(t.mean()) > 0.6


@pytest.mark.parametrize("a", [-1.0, -0.5, 0.81, 1.29, 1.75])
def test_mode_is_the_printed_map(a, generator):
    """Equation 20, s = 1 - u - a (cos^2(pi u / 2) - 1 + u), gives the same law; centre and ends as derived."""
    u = torch.rand(N, generator=generator)
    s = 1 - u - a * (torch.cos(math.pi * u / 2) ** 2 - 1 + u)
    assert ks(s, Mode(a)) > 0.01
    middle, end = Mode(a).density(torch.tensor([0.5, 1e-9]))
    assert float(middle) == pytest.approx(1 / (1 + a - math.pi * a / 2), rel=1e-4)
    if a > -1:
        assert float(end) == pytest.approx(1 / (1 + a), rel=1e-6)


def test_mode_at_zero_is_uniform():
    torch.testing.assert_close(Mode(0.0).quantile(INSIDE), INSIDE)
    torch.testing.assert_close(Mode(0.0).density(INSIDE), torch.ones(99))


def test_cosmap_has_the_noise_levels_of_the_cosine_path():
    from flowlib.paths import OT, Cosine

    torch.testing.assert_close(OT().snr(CosMap().quantile(INSIDE)), Cosine().snr(INSIDE))


def test_u_shape_is_a_reflected_exponential(generator):
    """The code of 2-RF++: s = ln(1 + u (e^a - 1)) / a, half of the draws reflected. Not e^(at) + e^(-at)."""
    u, half = torch.rand(2, N, generator=generator)
    s = torch.log(1 + u * (math.exp(4) - 1)) / 4
    assert ks(torch.where(half < 0.5, s, 1 - s), UShaped(4.0)) > 0.01
    low, middle, high = UShaped(4.0).density(torch.tensor([0.01, 0.5, 0.99]))
    assert float(low) == pytest.approx(float(high))
    assert float(low / middle) > 3
    assert float(UShaped(4.0).sample(N, generator).mean()) == pytest.approx(0.5, abs=4 * 0.36 / math.sqrt(N))


@pytest.mark.parametrize(
    ("scheme", "numbers", "sampler"),
    [
        ("logit_normal", {"logit_mean": 0.7, "logit_std": 1.3}, LogitNormal(0.7, 1.3)),
        ("mode", {"mode_scale": 1.29}, Mode(1.29)),
        ("none", {}, Uniform()),
    ],
)
def test_against_diffusers(scheme, numbers, sampler, generator):
    """With SD3's time the same m would be LogitNormal.sd3(m): the test tells them apart."""
    draws = on_diffusers_time(scheme, generator, **numbers)
    assert ks(draws, sampler) > 0.01
    if scheme == "logit_normal":
        assert ks(draws, LogitNormal.sd3(0.7, 1.3)) < 1e-6


def test_cosmap_density_against_diffusers():
    """diffusers ships CosMap as a weight of uniform draws: the density, which is the other half of the same law."""
    from diffusers.training_utils import compute_loss_weighting_for_sd3

    torch.testing.assert_close(compute_loss_weighting_for_sd3("cosmap", 1 - INSIDE), CosMap().density(INSIDE))


# ---------------------------------------------------------------- shift


def test_shift_is_sd3s_in_the_other_time():
    s, a = 1 - INSIDE, 3.0
    torch.testing.assert_close(1 - a * s / (1 + (a - 1) * s), shift_time(INSIDE, a))
    torch.testing.assert_close(torch.logit(shift_time(INSIDE, a)), torch.logit(INSIDE) - math.log(a))


def test_shifts_compose_by_product():
    torch.testing.assert_close(shift_time(shift_time(INSIDE, 2.0), 1.5), shift_time(INSIDE, 3.0))
    torch.testing.assert_close(shift_time(shift_time(INSIDE, 2.0), 0.5), INSIDE)
    twice, once = Shifted(Shifted(LogitNormal(), 2.0), 1.5), Shifted(LogitNormal(), 3.0)
    torch.testing.assert_close(twice.density(INSIDE), once.density(INSIDE))


def test_a_shifted_logit_normal_is_one():
    shifted, moved = Shifted(LogitNormal(0.3, 0.8), 3.0), LogitNormal(0.3 - math.log(3), 0.8)
    torch.testing.assert_close(shifted.density(INSIDE), moved.density(INSIDE))
    torch.testing.assert_close(shifted.quantile(INSIDE), moved.quantile(INSIDE))


def test_shift_against_diffusers():
    from diffusers import FlowMatchEulerDiscreteScheduler

    sigmas = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=3.0).sigmas.double()
    unshifted = torch.linspace(1, 0.001, 1000)
    torch.testing.assert_close(1 - shift_time(1 - unshifted, 3.0), sigmas, rtol=0, atol=1e-6)


# ---------------------------------------------------------------- stratified draws


@by_sampler
def test_stratified_draws_fill_every_stratum(sampler, generator):
    n = 50
    t = Stratified(sampler).sample(n, generator)
    assert sorted((sampler.cdf(t) * n).floor().int().tolist()) == list(range(n))
    assert t.tolist() != t.sort().values.tolist()
    one = torch.stack([Stratified(sampler).sample(8, generator)[0] for _ in range(2000)])
    assert ks(one, sampler) > 0.01
    torch.testing.assert_close(Stratified(sampler).density(INSIDE), sampler.density(INSIDE))


def test_stratified_draws_lower_the_variance(generator):
    means = {
        s: torch.stack([s.sample(64, generator).square().mean() for _ in range(400)])
        for s in (LogitNormal(), Stratified(LogitNormal()))
    }
    plain, stratified = means.values()
    assert float(stratified.var()) < 0.05 * float(plain.var())
    assert float(stratified.mean()) == pytest.approx(float(plain.mean()), abs=4 * float(plain.std()) / 20)


# ---------------------------------------------------------------- density or weight


@by_sampler
def test_density_or_weight(sampler):
    """E over draws from pi of l = E over uniform draws of pi l."""
    u = (torch.arange(200_000) + 0.5) / 200_000  # a grid of u: each side is an integral
    drawn = torch.exp(-3 * sampler.quantile(u)).mean()
    weighted = (sampler.density(u) * torch.exp(-3 * u)).mean()
    torch.testing.assert_close(drawn, weighted, rtol=1e-4, atol=0)


def test_density_or_weight_in_the_loss():
    """The same through flow_matching, within its noise; to draw from pi and weight by it is another loss."""
    x_0, x_1 = torch.randn(2, 400_000, 1, generator=torch.Generator().manual_seed(0))
    pi = LogitNormal(0.5, 1.0)

    def net(x, t, c):
        return (3 * t).exp()[:, None] * x

    drawn = flow_matching(net, x_0, x_1, timesteps=pi, generator=torch.Generator().manual_seed(1))
    weighted = flow_matching(net, x_0, x_1, weight=pi.density, generator=torch.Generator().manual_seed(1))
    assert float(drawn) == pytest.approx(float(weighted), rel=0.03)
    both = flow_matching(net, x_0, x_1, timesteps=pi, weight=pi.density, generator=torch.Generator().manual_seed(1))
    assert float(drawn) != pytest.approx(float(both), rel=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Mode(1.77), r"a: expected -1 to 1.752, where t rises with u, got 1.77"),
        (lambda: Mode(-1.1), "a: expected -1 to 1.752"),
        (lambda: LogitNormal(0.0, 0.0), "b: expected a positive standard deviation, got 0.0"),
        (lambda: UShaped(0.0), "a: expected a positive steepness"),
        (lambda: shift_time(torch.zeros(2), 0.0), "shift: expected a positive number, got 0.0"),
        (lambda: Shifted(Uniform(), -1.0), "shift: expected a positive number"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()


# ---------------------------------------------------------------- the table of chapter 08


def test_the_ablation_is_measured_once_and_reproduces(tmp_path, monkeypatch):
    """A row depends on its density and seed alone, and a second call measures nothing."""
    module = importlib.import_module("flowlib.recipes.timesteps_digits")

    monkeypatch.setattr(module, "TIMES", {"uniform": {"timesteps": Uniform()}, "EDM": {"timesteps": LogitNormal.edm()}})
    monkeypatch.setattr(module, "two_sample_accuracy", lambda real, drawn: 0.5)  # slow where nothing is learned
    few = {split: Labelled(*(u[:60] for u in digits(split))) for split in ("train", "test")}
    monkeypatch.setattr(module, "digits", few.get)
    torch.set_default_dtype(torch.float32)
    plan = Plan(steps=2, batch_size=8)
    first = module.timesteps_digits(tmp_path / "a.jsonl", seeds=(0, 1), plan=plan)
    assert [(row["times"], row["seed"]) for row in first] == [("uniform", 0), ("EDM", 0), ("uniform", 1), ("EDM", 1)]
    assert len({row["loss"] for row in first}) == 4
    for row in first:
        assert row["loss"] == pytest.approx(sum(row["losses"]) / 20, abs=1e-4)
    before = (tmp_path / "a.jsonl").read_text()
    module.timesteps_digits(tmp_path / "a.jsonl", seeds=(1, 0), plan=plan)
    assert (tmp_path / "a.jsonl").read_text() == before
    alone = module.timesteps_digits(tmp_path / "b.jsonl", seeds=(1,), plan=plan)
    assert [row["loss"] for row in alone] == pytest.approx([row["loss"] for row in first[2:]])
