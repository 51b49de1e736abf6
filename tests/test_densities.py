"""Known densities: log_prob integrates to one, samples follow it, the posterior is a conditional expectation."""

import math

import pytest
import torch

from flowlib.densities import (
    Gaussian,
    GaussianMixture,
    checkerboard,
    eight_gaussians,
    moons,
    pinwheel,
    rings,
    s_curve,
)
from flowlib.errors import InputError

pytestmark = pytest.mark.usefixtures("float64")
TOYS = (eight_gaussians, moons, s_curve, rings, pinwheel, checkerboard)
PUBLISHED_ENTROPY = [  # nats; numbers printed for these sets by others
    (eight_gaussians, {}, 2.83, 0.005),
    (eight_gaussians, {"radius": 5, "std": math.sqrt(0.1)}, 2.614, 0.002),
    (eight_gaussians, {"radius": 5, "std": 1.0}, 4.769, 0.003),
    (moons, {"noise": 0.05}, 0.289, 0.001),
    (moons, {"noise": 0.1}, 1.008, 0.002),
    (moons, {"noise": 0.2}, 1.677, 0.001),
    (checkerboard, {}, 3.466, 0.001),
]


def tilted_mixture(dim: int = 2) -> GaussianMixture:
    """Unequal weights, full covariances of different shapes."""
    root = torch.randn(3, dim, dim, generator=torch.Generator().manual_seed(3))
    means = torch.tensor([[-2.0, 0.0], [1.5, 1.0], [0.5, -2.0]]) if dim == 2 else 2 * root[:, 0]
    return GaussianMixture(means, 0.3 * root @ root.mT + 0.05 * torch.eye(dim), torch.tensor([0.5, 0.3, 0.2]))


def finite_set() -> GaussianMixture:
    return GaussianMixture(torch.tensor([[0.0, 0.0], [1.0, 0.5], [-2.0, 1.0], [0.3, -0.9]]), 0.0)


@pytest.mark.parametrize("toy", TOYS)
def test_samples_follow_the_density(toy, generator):
    """The mean NLL of fresh samples is the entropy, within four standard errors."""
    p = toy()
    nll = -p.log_prob(p.sample(20_000, generator))
    assert float(nll.mean()) == pytest.approx(p.entropy(), abs=4 * float(nll.std()) / math.sqrt(20_000) + 1e-9)


@pytest.mark.parametrize("toy", TOYS)
def test_samples_fill_the_right_regions(toy, generator):
    """Counts in the cells of a grid agree with the integral of the density: a law that a wrong spread would break."""
    p, n = toy(), 40_000
    edges = torch.linspace(-4, 4, 9)
    x = p.sample(n, generator)
    inside = x[(x.abs() < 4).all(1)]
    counts = torch.histogramdd(inside, [edges, edges]).hist.double()
    fine = torch.linspace(-4, 4, 321)[:-1] + 0.0125  # midpoints, 40 to a cell
    points = torch.cartesian_prod(fine, fine)
    mass = torch.cat([p.log_prob(part).exp() for part in points.split(8192)]).reshape(8, 40, 8, 40).sum((1, 3))
    expected = n * mass * 0.025**2
    chi = (counts - expected) / expected.clamp_min(1).sqrt()
    assert float(chi.abs().max()) < 4.5


@pytest.mark.parametrize(("toy", "options", "entropy", "tolerance"), PUBLISHED_ENTROPY)
def test_entropy_is_the_published_one(toy, options, entropy, tolerance):
    assert toy(**options).entropy() == pytest.approx(entropy, abs=tolerance)


def test_gaussian_entropy_and_log_prob_against_torch():
    c = torch.tensor([[2.0, 0.6], [0.6, 0.5]])
    p, judge = (
        Gaussian(torch.tensor([1.0, -1.0]), c),
        torch.distributions.MultivariateNormal(torch.tensor([1.0, -1.0]), c),
    )
    x = torch.randn(50, 2)
    torch.testing.assert_close(p.log_prob(x), judge.log_prob(x))
    assert p.entropy() == pytest.approx(float(judge.entropy()))
    assert GaussianMixture(p.means, c[None]).entropy() == pytest.approx(p.entropy(), abs=1e-7)


def test_mixture_log_prob_and_score_against_torch(generator):
    p = tilted_mixture()
    judge = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=p.log_weights),
        torch.distributions.MultivariateNormal(p.means, torch.einsum("kij,kj,klj->kil", p.axes, p.variances, p.axes)),
    )
    x = (3 * torch.randn(100, 2, generator=generator)).requires_grad_()
    log_p = judge.log_prob(x)
    torch.testing.assert_close(p.log_prob(x), log_p)
    torch.testing.assert_close(p.score(x.detach()), torch.autograd.grad(log_p.sum(), x)[0])


@pytest.mark.parametrize("make", [tilted_mixture, eight_gaussians, finite_set])
@pytest.mark.parametrize(("alpha", "sigma"), [(0.3, 0.7), (0.9, 0.2), (1.0, 0.5)])
def test_posterior_mean_by_quadrature(make, alpha, sigma):
    """E[x_1 | x_t] is the ratio of two integrals over the noise, which a grid evaluates."""
    p = make()
    x_t = torch.tensor([[0.4, -0.3], [1.0, 0.8]], dtype=p.means.dtype)
    if float(p.variances.max()) == 0:
        x_1, density = p.means, p.log_weights
    else:
        line = torch.linspace(-8, 8, 801, dtype=p.means.dtype)
        x_1 = torch.cartesian_prod(line, line)
        density = p.log_prob(x_1)
    log_joint = density - (x_t[:, None] - alpha * x_1).square().sum(2) / (2 * sigma**2)
    r = log_joint.softmax(1)
    posterior = p.posterior(x_t, alpha, sigma)
    torch.testing.assert_close(posterior.x_1, r @ x_1, rtol=1e-5, atol=1e-6)
    noise = (x_t - alpha * posterior.x_1) / sigma
    torch.testing.assert_close(posterior.score, -noise / sigma)


def test_posterior_takes_a_time_for_each_sample(generator):
    p, x = tilted_mixture(), torch.randn(4, 2, generator=generator)
    alpha, sigma = torch.tensor([0.1, 0.4, 0.6, 1.0]), torch.tensor([0.9, 0.5, 0.3, 0.1])
    together = p.posterior(x, alpha, sigma).x_1
    apart = torch.cat([p.posterior(x[i : i + 1], a, s).x_1 for i, (a, s) in enumerate(zip(alpha, sigma, strict=True))])
    torch.testing.assert_close(together, apart)


def test_marginal_is_the_law_of_the_noised_sample(generator):
    p, alpha, sigma = tilted_mixture(), 0.6, 0.4
    x_t = torch.randn(20, 2, generator=generator)
    marginal = p.marginal(alpha, sigma)
    torch.testing.assert_close(marginal.score(x_t), p.posterior(x_t, alpha, sigma).score)
    n = 40_000
    noised = alpha * p.sample(n, generator) + sigma * torch.randn(n, 2, generator=generator)
    nll = -marginal.log_prob(noised)
    assert float(nll.mean()) == pytest.approx(marginal.entropy(), abs=4 * float(nll.std()) / math.sqrt(n))


def test_images_are_events_too(generator):
    p = GaussianMixture(torch.randn(4, 1, 3, 2, generator=generator), 0.2)
    x = p.sample(7, generator)
    assert x.shape == (7, 1, 3, 2)
    assert p.log_prob(x).shape == (7,)
    assert p.posterior(x, 0.5, 0.5).x_1.shape == x.shape


def test_no_underflow_near_the_data():
    """At t = 0.9999 every responsibility underflows in a plain sum; float32 must still agree with float64."""
    points = torch.tensor([[0.0, 0.0], [5.0, 1.0], [-3.0, 2.0]])
    x = torch.tensor([[2.0, 0.4]])
    exact, single = (
        GaussianMixture(points.to(d), 0.0).posterior(x.to(d), 0.9999, 0.0001).x_1
        for d in (torch.float64, torch.float32)
    )
    assert bool(single.isfinite().all())
    torch.testing.assert_close(single.double(), exact, rtol=1e-3, atol=1e-3)


def test_same_seed_same_samples():
    p = moons()
    first, second = (p.sample(10, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianMixture(torch.tensor([[float("nan")]])), "means: expected finite numbers"),
        (lambda: GaussianMixture(torch.zeros(2, 2), weights=torch.tensor([1.0, -1.0])), "weights: expected 2 numbers"),
        (lambda: GaussianMixture(torch.zeros(2, 2), torch.eye(2)), "covariance: expected a number, 2 numbers"),
        (lambda: Gaussian(torch.zeros(2), torch.tensor([[1.0, 2.0], [0.0, 1.0]])), "symmetric"),
        (lambda: Gaussian(torch.zeros(2), torch.tensor([[1.0, 2.0], [2.0, 1.0]])), "no negative variance"),
        (lambda: Gaussian(torch.zeros(2)).log_prob(torch.zeros(3, 3)), r"x: expected shape \(B, 2\), got \(3, 3\)"),
        (lambda: GaussianMixture(torch.zeros(2, 3)).entropy(), "event_shape"),
    ],
)
def test_bad_input(make, message, unchecked):
    with pytest.raises(InputError, match=message):
        make()
