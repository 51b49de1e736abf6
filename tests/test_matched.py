"""MatchedFlow: the exact velocity of a mixture must give the mixture's density and samples, on every path."""

import pytest
import torch
from scipy.stats import ks_2samp

from flowlib.densities import Gaussian, GaussianMixture
from flowlib.errors import InputError
from flowlib.evaluation import bits_per_dim, nats
from flowlib.flows import CNF, MatchedFlow
from flowlib.models import MLP
from flowlib.objectives import flow_matching
from flowlib.paths import OT, VE, VP, Cosine, exact_velocity
from flowlib.solvers import RK4

pytestmark = pytest.mark.usefixtures("float64")
PATHS = [OT(), OT(sigma_min=0.1), VP(), VE(), Cosine()]


def mixture() -> GaussianMixture:
    """Three Gaussians in the plane, no two alike, with their mean away from zero."""
    means = torch.tensor([[1.0, 0.5], [-1.5, 1.0], [0.5, -1.0]])
    covariance = torch.tensor([[[0.4, 0.2], [0.2, 0.3]], [[0.1, 0.0], [0.0, 0.5]], [[0.25, -0.1], [-0.1, 0.2]]])
    return GaussianMixture(means, covariance, torch.tensor([0.5, 0.3, 0.2]))


def law(path, density, t):
    """The law of x_t: what the flow must have at its start and at its end."""
    t = torch.tensor(t)
    return density.marginal(float(path.alpha(t)), float(path.sigma(t)))


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_log_prob_is_the_marginal_of_the_mixture(path, generator):
    density = mixture()
    x, v = density.sample(50, generator), exact_velocity(path, density)
    expected = law(path, density, path.end).log_prob(x)
    from_p_0 = MatchedFlow(v, (2,), path, tolerance=1e-9, base=law(path, density, 0.0))
    torch.testing.assert_close(from_p_0.log_prob(x), expected, rtol=0, atol=2e-6)
    # N(0, sigma_0^2) is p_0 where alpha_0 = 0, and close to it where the path forgets all but a little of the data
    with torch.no_grad():
        own = MatchedFlow(v, (2,), path, tolerance=1e-9).log_prob(x)
    torch.testing.assert_close(own, expected, rtol=0, atol={VP: 0.05, VE: 0.1}.get(type(path), 2e-6))


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_samples_follow_the_mixture(path):
    density, generators = mixture(), [torch.Generator().manual_seed(s) for s in (1, 2)]
    x = MatchedFlow(exact_velocity(path, density), (2,), path).sample(20_000, generator=generators[0])
    y = law(path, density, path.end).sample(20_000, generators[1])
    for direction in torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]):
        assert ks_2samp(x @ direction, y @ direction).pvalue > 1e-3


def test_the_source_of_ve_is_wide(generator):
    """From N(0, I), the start of the other paths, the field of VE would carry nothing to the data."""
    path, density = VE(), Gaussian(torch.zeros(2), 0.25)
    v = exact_velocity(path, density)
    assert float(MatchedFlow(v, (2,), path).draw_base(4000, generator).std()) == pytest.approx(50, rel=0.05)
    assert float(MatchedFlow(v, (2,), path).sample(4000, generator=generator).std()) == pytest.approx(0.5, rel=0.05)
    assert float(CNF(v, (2,)).sample(4000, generator=generator).std()) < 0.05


@pytest.mark.parametrize("predict", ["data", "noise", "score"])
@pytest.mark.parametrize("path", [VP(), VE()], ids=str)
def test_every_prediction_is_the_same_model(path, predict, generator):
    density = mixture()
    v = exact_velocity(path, density)

    def net(x, t, c=None):
        return path.convert(v(x, t), x, t, have="velocity", want=predict)

    x = density.sample(20, generator)
    found = MatchedFlow(net, (2,), path, predict=predict, tolerance=1e-7).log_prob(x)
    torch.testing.assert_close(found, MatchedFlow(v, (2,), path, tolerance=1e-7).log_prob(x), rtol=0, atol=1e-4)
    same = [torch.Generator().manual_seed(0) for _ in range(2)]
    models = MatchedFlow(net, (2,), path, predict=predict), MatchedFlow(v, (2,), path)
    drawn = [m.sample(5, generator=g) for m, g in zip(models, same, strict=True)]
    torch.testing.assert_close(*drawn, rtol=0, atol=1e-4)


@pytest.mark.parametrize("path", [OT(), Cosine(), VP()], ids=str)
def test_pictures_of_any_shape(path, generator):
    means = torch.randn(2, 3, 4, 4, generator=generator)
    density = GaussianMixture(means, torch.tensor([0.3, 0.6]), torch.tensor([0.4, 0.6]))
    x = density.sample(2, generator)
    assert x.shape == (2, 3, 4, 4)
    model = MatchedFlow(exact_velocity(path, density), (3, 4, 4), path, tolerance=1e-7, base=law(path, density, 0.0))
    expected = law(path, density, path.end).log_prob(x)
    torch.testing.assert_close(model.log_prob(x), expected, rtol=0, atol=1e-4)
    assert model.sample(2, generator=generator).shape == x.shape


def test_a_probe_is_unbiased_on_pictures(generator):
    density = GaussianMixture(torch.randn(2, 1, 3, 3, generator=generator), torch.tensor([0.3, 0.6]))
    v, x = exact_velocity(OT(), density), density.sample(1, generator)
    model = MatchedFlow(v, (1, 3, 3), method=RK4, steps=20, probe="rademacher")
    with torch.no_grad():
        estimates = model.log_prob(x.expand(4000, 1, 3, 3), generator=generator)
    with torch.no_grad():
        exact = float(MatchedFlow(v, (1, 3, 3), method=RK4, steps=20).log_prob(x))
    assert float(estimates.std()) > 1e-3
    assert float(estimates.mean()) == pytest.approx(exact, abs=4 * float(estimates.std()) / 4000**0.5)


def test_a_condition_goes_through(generator):
    classes = [Gaussian(torch.tensor([2.0, 0.0]), 0.25), Gaussian(torch.tensor([-1.0, 1.0]), 0.5)]
    fields = [exact_velocity(OT(), density) for density in classes]

    def v(x, t, c):
        return torch.where(c[:, None] == 0, fields[0](x, t), fields[1](x, t))

    model = MatchedFlow(v, (2,), tolerance=1e-8)
    x, c = torch.randn(10, 2, generator=generator), torch.arange(10) % 2
    expected = torch.where(c == 0, classes[0].log_prob(x), classes[1].log_prob(x))
    torch.testing.assert_close(model.log_prob(x, c), expected, rtol=0, atol=1e-6)
    drawn = model.sample(8000, torch.arange(8000) % 2, generator)
    torch.testing.assert_close(drawn[::2].mean(0), torch.tensor([2.0, 0.0]), rtol=0, atol=0.05)
    torch.testing.assert_close(drawn[1::2].mean(0), torch.tensor([-1.0, 1.0]), rtol=0, atol=0.05)


def test_the_loss_trains_what_the_model_uses(generator):
    """The network is a submodule: its parameters are the model's, and they move with it."""
    model = MatchedFlow(MLP(2, width=8, depth=1), (2,), VP(), predict="noise")
    x_0, x_1 = torch.randn(2, 16, 2, generator=generator)
    flow_matching(model.velocity, x_0, x_1, path=VP(), generator=generator).backward()
    assert any(bool(p.grad.any()) for p in model.parameters())
    assert list(model.state_dict()) == ["v." + name for name in model.v.state_dict()]
    assert model.float().sample(3).dtype == torch.float32


def test_the_base_follows_the_model():
    """A base is no module, so ``.to()`` does not reach it: it follows the batch, to any device and type."""
    base = Gaussian(torch.zeros(2), 4.0)
    model = MatchedFlow(lambda x, t, c: x, (2,), base=base)
    assert model.log_base(torch.zeros(3, 2, device="meta")).device.type == "meta"
    assert model.log_base(torch.zeros(3, 2, dtype=torch.float32)).dtype == torch.float32
    assert base.means.device.type == "cpu"
    assert base.means.dtype == torch.float64


def test_likelihood_leaves_the_global_seed_alone(generator):
    x = torch.randint(17, (6, 1, 3, 3), generator=generator) / 8 - 1
    density = GaussianMixture(torch.randn(2, 1, 3, 3, generator=generator), torch.tensor([0.3, 0.6]))
    model = MatchedFlow(exact_velocity(OT(), density), (1, 3, 3), method=RK4, steps=8, probe="gaussian")
    before = torch.get_rng_state()
    for measure in (nats, lambda m, x, generator: bits_per_dim(m, x, levels=17, generator=generator)):
        one, two, other = (measure(model, x, generator=torch.Generator().manual_seed(s)).value for s in (3, 3, 4))
        assert one == two
        assert one != other
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda v: MatchedFlow(v, (2,), VP), "path: expected a path, such as OT.* got <class"),
        (lambda v: MatchedFlow(v, (2,), probe="normal"), 'probe: expected None, "rademacher" or "gaussian"'),
        (lambda v: MatchedFlow(v, (2,)).log_prob(torch.zeros(3, 4)), r"x: expected events of shape \(2,\)"),
        (lambda v: MatchedFlow(v, (2,)).log_prob(torch.full((1, 2), torch.nan)), "x: expected finite numbers"),
        (lambda v: MatchedFlow(v, (2,), base=Gaussian(torch.zeros(3))), r"base: expected events of shape \(2,\)"),
        (lambda v: MatchedFlow(v, (2,)).sample(0), "n: expected at least 1"),
    ],
)
def test_bad_input(call, message, unchecked):
    with pytest.raises(InputError, match=message):
        call(MLP(2, width=4, depth=1))
