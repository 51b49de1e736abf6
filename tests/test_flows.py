"""Normalizing flows: densities that integrate to one, samples that follow them, exact answers, training, bad input."""

import math

import pytest
import torch
from laws import reaches_every_parameter
from torch import nn

from flowlib.bijections import InvertibleLinear
from flowlib.densities import Gaussian, GaussianMixture, moons
from flowlib.errors import InputError
from flowlib.flows import MAF, Glow, NormalizingFlow, RealNVP, SplineFlow
from flowlib.objectives import negative_log_likelihood
from flowlib.recipes import nf_toy
from flowlib.training import Plan, train

PLANAR = {
    "RealNVP": lambda k=0: RealNVP(2, layers=4, width=16, condition=k),
    "MAF": lambda k=0: MAF(2, layers=3, width=16, condition=k),
    "spline": lambda k=0: SplineFlow(2, layers=3, width=16, condition=k),
    "autoregressive spline": lambda k=0: SplineFlow(2, layers=3, width=16, autoregressive=True, condition=k),
}
by_flow = pytest.mark.parametrize("name", PLANAR)


def random_flow(make, k=0):
    torch.manual_seed(0)
    flow = make(k)
    for parameter in flow.parameters():
        nn.init.normal_(parameter, std=0.25)
    return flow.eval()


def integral(log_prob, reach=12.0, n=601):
    """Integral of p and of -p log p over a square, by the trapezoid rule."""
    side = torch.linspace(-reach, reach, n)
    grid = torch.cartesian_prod(side, side)
    with torch.no_grad():
        log_p = torch.cat([log_prob(x) for x in grid.split(40_000)])
    cell = (side[1] - side[0]) ** 2
    return float(log_p.exp().sum() * cell), float(-(log_p.exp() * log_p).sum() * cell)


@pytest.mark.usefixtures("float64")
@by_flow
@pytest.mark.parametrize("k", [0, 3])
def test_density_integrates_to_one_and_samples_follow_it(name, k, generator):
    flow = random_flow(PLANAR[name], k)
    c = torch.tensor([0.5, -1.0, 2.0]) if k else None
    of = (lambda n: None) if c is None else (lambda n: c.expand(n, 3))
    mass, entropy = integral(lambda x: flow.log_prob(x, of(len(x))))
    assert mass == pytest.approx(1, abs=2e-3)
    n = 20_000
    surprise = -flow.log_prob(flow.sample(n, of(n), generator), of(n)).detach()
    assert float(surprise.mean()) == pytest.approx(entropy, abs=4 * float(surprise.std()) / n**0.5 + 5e-3)


@pytest.mark.usefixtures("float64")
def test_linear_flow_is_a_gaussian(generator):
    """z = W x with z ~ N(0, I) makes x ~ N(0, (W^T W)^-1)."""
    w = torch.randn(3, 3, generator=generator)
    flow = NormalizingFlow(InvertibleLinear(3, w), (3,))
    x = torch.randn(10, 3, generator=generator)
    exact = Gaussian(torch.zeros(3), (w.T @ w).inverse())
    torch.testing.assert_close(flow.log_prob(x), exact.log_prob(x))
    torch.testing.assert_close(
        flow.sample(100_000, generator=generator).T.cov(), (w.T @ w).inverse(), rtol=0.05, atol=0.05
    )


@pytest.mark.usefixtures("float64")
def test_base_can_be_another_density(generator):
    base = GaussianMixture(torch.tensor([[-3.0, 0.0], [3.0, 0.0]]), 0.25)
    flow = NormalizingFlow(RealNVP(2, layers=2).bijection, (2,), base)  # starts as the identity
    x = torch.randn(10, 2, generator=generator)
    torch.testing.assert_close(flow.log_prob(x), base.log_prob(x))
    assert float(flow.sample(1000, generator=generator)[:, 0].abs().mean()) == pytest.approx(3, abs=0.1)


@by_flow
def test_untrained_flow_is_its_base(name, generator):
    x = torch.randn(5, 2, generator=generator)
    torch.testing.assert_close(PLANAR[name]().log_prob(x), Gaussian(torch.zeros(2)).log_prob(x))


@by_flow
def test_samples_come_from_the_generator_alone(name):
    flow = random_flow(PLANAR[name])
    before = torch.get_rng_state()
    one, two = (flow.sample(4, generator=torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(before, torch.get_rng_state())
    assert not one.requires_grad


@by_flow
def test_condition_is_one_a_sample(name, generator):
    flow = random_flow(PLANAR[name], 3)
    c = torch.tensor([0, 1, 2, 0])
    x = flow.sample(4, c, generator)
    log_p = flow.log_prob(x, c)
    torch.testing.assert_close(log_p[2:3], flow.log_prob(x[2:3], c[2:3]), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(log_p, flow.log_prob(x, c.flip(0)))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("event", [(1, 8, 8), (3, 4, 8), (2, 8, 12)])
@pytest.mark.parametrize("k", [0, 10])
def test_glow_on_pictures(event, k, generator):
    torch.manual_seed(0)
    flow = Glow(event, levels=2, steps=2, width=8, condition=k)
    c = torch.arange(5) % 10 if k else None
    x = 3 * torch.randn(5, *event, generator=generator) + 1
    flow.initialise(x, c)
    for parameter in flow.parameters():
        nn.init.normal_(parameter, mean=0.0, std=0.1)
    z, logdet = flow.bijection(x, c)
    assert z.shape == x.shape
    torch.testing.assert_close(flow.bijection.inverse(z, c)[0], x, rtol=0, atol=1e-10)
    torch.testing.assert_close(flow.log_prob(x, c), Gaussian(torch.zeros(event)).log_prob(z) + logdet)
    reaches_every_parameter(negative_log_likelihood(flow, x, c), flow)
    assert flow.sample(5, c, generator).shape == x.shape


@pytest.mark.parametrize(
    ("make", "gap"),
    [
        (lambda: RealNVP(2, layers=8), 0.3),
        (lambda: MAF(2, layers=4), 0.3),
        (lambda: SplineFlow(2, layers=4), 0.12),
        (lambda: SplineFlow(2, layers=4, autoregressive=True), 0.12),
    ],
    ids=list(PLANAR),
)
def test_training_approaches_the_entropy_floor(make, gap):
    torch.manual_seed(0)
    target, flow, generator = moons(0.1), make(), torch.Generator().manual_seed(0)
    if isinstance(flow, SplineFlow):
        flow.initialise(target.sample(1000, generator))
    batches = ((target.sample(256, generator),) for _ in range(250))
    for _ in train(negative_log_likelihood, flow, batches, Plan(steps=250, batch_size=256, lr=3e-3)):
        pass
    x = target.sample(5000, generator)
    excess = (target.log_prob(x) - flow.log_prob(x)).detach()  # paired: its mean is the KL divergence
    assert -3 * float(excess.std()) / math.sqrt(5000) < float(excess.mean()) < gap


def test_toy_recipes_start_where_they_say():
    for family in ("realnvp", "maf", "spline", "cnf"):
        recipe = nf_toy(family=family, toy="eight_gaussians").changed(steps=1, batch_size=16)
        assert recipe.name == f"{family}_eight_gaussians"
        run = recipe.start()
        assert [step.n for step in run.steps] == [1]
        assert recipe.draw(run.ema.model, 3, torch.Generator().manual_seed(0)).shape == (3, 2)
    metrics = nf_toy(family="maf", toy="moons").evaluate(MAF(2))
    nll, floor, kl = metrics.values()
    assert float(nll) - float(floor) == pytest.approx(float(kl), abs=4 * nll.error)
    assert kl.error < 2 * nll.error


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RealNVP(2).log_prob(torch.zeros(3, 4)), r"x: expected events of shape \(2,\), got shape \(3, 4\)"),
        (lambda: RealNVP(2).log_prob(torch.zeros(2)), r"x: expected events of shape \(2,\), got shape \(2,\)"),
        (lambda: MAF(2).log_prob(torch.full((1, 2), torch.nan)), "x: expected finite numbers, got 2 NaN"),
        (lambda: SplineFlow(2).initialise(torch.full((1, 2), torch.inf)), "x: expected finite numbers"),
        (lambda: RealNVP(2).sample(0), "n: expected at least 1, got 0"),
        (lambda: RealNVP(1), "dim: expected at least 2"),
        (lambda: SplineFlow(2, layers=0), "layers: expected at least 1"),
        (lambda: Glow((1, 6, 8)), r"event_shape: expected \(C, H, W\) with H and W multiples of 2\^levels"),
        (lambda: Glow((8, 8)), r"event_shape: expected \(C, H, W\)"),
        (lambda: NormalizingFlow(InvertibleLinear(3), (3,), moons()), r"base: expected events of shape \(3,\)"),
        (lambda: RealNVP(2, condition=2).log_prob(torch.zeros(1, 2)), "c: expected 2 features"),
        (lambda: Glow((1, 4, 4)).log_prob(torch.zeros(1, 1, 4, 4), torch.zeros(1)), "c: expected no condition"),
        (lambda: nf_toy(family="glow"), "family: expected one of realnvp, maf, spline, cnf"),
        (lambda: nf_toy(toy="spiral"), "toy: expected one of moons, eight_gaussians, checkerboard"),
    ],
)
def test_bad_input(call, message, unchecked):
    with pytest.raises(InputError, match=message):
        call()
