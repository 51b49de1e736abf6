"""Likelihoods: nats and bits a dimension against exact answers, dequantisation, standard errors, bad input."""

import math

import pytest
import torch
from torch import Tensor

from flowlib.densities import Density, Gaussian, GaussianMixture
from flowlib.errors import InputError
from flowlib.evaluation import bits_per_dim, nats
from flowlib.flows import Flow, NormalizingFlow, RealNVP
from flowlib.objectives import dequantise, negative_log_likelihood

pytestmark = pytest.mark.usefixtures("float64")


class Known(Flow):
    """A known density in the clothes of a flow; a condition shifts it."""

    def __init__(self, density: Density):
        super().__init__(density.event_shape, density)

    def log_prob(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        return self.log_base(x if c is None else x - c)

    def sample(self, n, c=None, generator=None):
        return self.draw_base(n, generator)


class Box(Density):
    """Uniform on a cube that holds every bin of ``levels`` grey levels, and nothing more."""

    def __init__(self, event_shape, levels):
        self.event_shape = event_shape
        self.half = 1 + 1 / (levels - 1)

    def sample(self, n, generator=None):
        return self.half * (2 * torch.rand(n, *self.event_shape, generator=generator) - 1)

    def log_prob(self, x):
        inside = (x.flatten(1).abs() <= self.half + 1e-9).all(1)
        return torch.where(inside, -x[0].numel() * math.log(2 * self.half), -math.inf)

    def entropy(self):
        return math.prod(self.event_shape) * math.log(2 * self.half)


def pictures(n, levels, generator, event=(2, 3, 4)):
    return torch.randint(levels, (n, *event), generator=generator) * 2 / (levels - 1) - 1


def test_negative_log_likelihood_is_a_mean(generator):
    flow = RealNVP(2, layers=2, condition=1)
    x, c = torch.randn(7, 2, generator=generator), torch.randn(7, 1, generator=generator)
    torch.testing.assert_close(negative_log_likelihood(flow, x, c), -flow.log_prob(x, c).mean())


def test_nats_of_the_true_density_is_its_entropy(generator):
    p = GaussianMixture(torch.tensor([[-2.0, 0.0], [2.0, 1.0]]), 0.3)
    x = p.sample(4000, generator)
    result = nats(Known(p), x)
    assert abs(result.value - p.entropy()) < 4 * result.error
    log_p = p.log_prob(x)
    assert result.value == pytest.approx(-float(log_p.mean()))
    assert result.error == pytest.approx(float(log_p.std()) / math.sqrt(4000))


def test_batches_change_nothing(generator):
    model = Known(Gaussian(torch.zeros(2)))
    x, c = torch.randn(2, 11, 2, generator=generator)
    whole, parts = (nats(model, x, c, batch_size=b) for b in (11, 4))
    assert whole.value == pytest.approx(parts.value)
    assert whole.value != pytest.approx(nats(model, x).value)


def test_judging_leaves_the_mode_alone(generator):
    model = RealNVP(2, layers=2).train()
    assert math.isfinite(nats(model, torch.randn(5, 2, generator=generator)).value)
    assert model.training
    nats(model.eval(), torch.randn(5, 2, generator=generator))
    assert not model.training


@pytest.mark.parametrize(("levels", "bits"), [(256, 8), (17, math.log2(17)), (2, 1)])
@pytest.mark.parametrize("samples", [1, 5])
def test_uniform_density_costs_the_bits_of_its_levels(levels, bits, samples, generator):
    """All levels equally likely: log2 of their number, exactly, whatever is drawn. This fixes the constant."""
    event = (2, 3, 4)
    result = bits_per_dim(Known(Box(event, levels)), pictures(20, levels, generator), levels=levels, samples=samples)
    assert result.value == pytest.approx(bits, abs=1e-9)
    assert result.error == pytest.approx(0, abs=1e-9)


def test_constants():
    """3 bits for the digits; 6.994 for bytes on [-1, 1], and 7 on the [-1, 1) of other papers."""
    x = torch.ones(1, 1, 1, 1)
    for levels, constant in ((17, 3.0), (256, math.log2(127.5))):
        box = Known(Box((1, 1, 1), levels))
        density = -float(box.log_prob(x)) / math.log(2)
        assert bits_per_dim(box, x, levels=levels).value - density == pytest.approx(constant)


def test_many_draws_approach_the_probability_of_the_bin(generator):
    """One pixel under a normal density: P(k) is a difference of two distribution functions."""
    p = Gaussian(torch.zeros(1, 1, 1), 0.05)
    x = torch.tensor([-0.25, 0.0, 0.125, 0.5]).reshape(4, 1, 1, 1)
    cdf = torch.distributions.Normal(0.0, math.sqrt(0.05)).cdf
    exact = -float((cdf(x + 1 / 16) - cdf(x - 1 / 16)).log2().mean())
    assert bits_per_dim(Known(p), x, levels=17, samples=4000, generator=generator).value == pytest.approx(
        exact, abs=5e-3
    )


def test_more_draws_tighten_the_bound(generator):
    p = Gaussian(torch.zeros(2, 3, 4), 0.01)
    x = pictures(400, 17, generator)
    few, more, many = (bits_per_dim(Known(p), x, levels=17, samples=k, generator=generator).value for k in (1, 4, 16))
    assert few > more > many


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_dequantised_pictures_stay_in_their_bins(levels, generator):
    x = pictures(50, levels, generator).float()
    y = dequantise(x, levels, generator)
    h = 2 / (levels - 1)
    assert y.dtype == x.dtype
    torch.testing.assert_close((y / h).add((levels - 1) / 2).round().mul(h).sub(1), x)
    offset = (y - x) / h
    assert float(offset.mean()) == pytest.approx(0, abs=4 * (1 / 12 / x.numel()) ** 0.5)
    assert float(offset.var()) == pytest.approx(1 / 12, rel=0.1)
    one, two = (dequantise(x, levels, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one, two)


def test_a_flow_of_pictures_is_judged_in_bits(generator):
    from flowlib.bijections import Affine

    flow = NormalizingFlow(Affine(1), (1, 4, 4))
    x = pictures(200, 17, generator, (1, 4, 4))
    flow.initialise(dequantise(x, 17, generator))
    gaussian = 0.5 * math.log2(2 * math.pi * math.e * (2**2 / 12 * (17**2 - 1) / 16**2 + 1 / 8**2 / 12)) + 3
    assert bits_per_dim(flow, x, levels=17, generator=generator).value == pytest.approx(gaussian, abs=0.02)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x: bits_per_dim(m, x, levels=256), "x: expected 256 equally spaced values from -1 to 1, got other"),
        (lambda m, x: bits_per_dim(m, x + 0.01, levels=17), "x: expected 17 equally spaced values"),
        (lambda m, x: bits_per_dim(m, (x + 1) * 8, levels=17), "x: expected 17 .* got other values, from 0 to 16"),
        (lambda m, x: bits_per_dim(m, x * torch.nan, levels=17), "x: expected 17 equally spaced values"),
        (lambda m, x: bits_per_dim(m, x, levels=1), "levels: expected at least 2"),
        (lambda m, x: bits_per_dim(m, x, levels=17, samples=0), "samples: expected at least 1, got 0"),
        (lambda m, x: nats(m, x, torch.zeros(3, 1, 4, 4)), "c: expected one condition a sample, 2, got 3"),
    ],
)
def test_bad_input(call, message, unchecked):
    x = torch.linspace(-1, 1, 17)[:16].reshape(1, 1, 4, 4).repeat(2, 1, 1, 1)
    x[1, 0, 0, 0] = 1
    with pytest.raises(InputError, match=message):
        call(Known(Gaussian(torch.zeros(1, 4, 4))), x)
