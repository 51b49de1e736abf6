"""Noisy lines: the velocity is the derivative, the marginals have the stated moments, fields keep them."""

import math

import pytest
import torch

from flowlib.densities import Gaussian
from flowlib.errors import InputError
from flowlib.objectives import flow_matching
from flowlib.paths import OT, Bridge, Tube, exact_velocity

pytestmark = pytest.mark.usefixtures("float64")
PATHS = (Tube(0.1), Tube(0.7), Bridge(1.0), Bridge(0.3))
by_path = pytest.mark.parametrize("path", PATHS, ids=str)


def seeded():
    return torch.Generator().manual_seed(7)


@by_path
@pytest.mark.parametrize("event", [(2,), (3, 4, 5)])
def test_dx_t_is_the_time_derivative_of_x_t(path, event, generator):
    """At the same eps, which the same seed gives."""
    x_0, x_1 = torch.randn(2, 6, *event, generator=generator)
    t, h = 0.1 + 0.8 * torch.rand(6, generator=generator), 1e-6
    ahead, back = (path.sample(x_0, x_1, t + s, seeded()).x_t for s in (h, -h))
    torch.testing.assert_close(path.sample(x_0, x_1, t, seeded()).dx_t, (ahead - back) / (2 * h), rtol=1e-6, atol=1e-6)


def test_bridge_is_equation_8(generator):
    """[SF]^2M: u = (1 - 2t) / (2t (1 - t)) (x - mean) + x_1 - x_0."""
    x_0, x_1 = torch.randn(2, 6, 2, generator=generator)
    t = torch.rand(6, generator=generator)
    x_t, dx_t = Bridge(0.7).sample(x_0, x_1, t, generator)
    t = t[:, None]
    mean = t * x_1 + (1 - t) * x_0
    torch.testing.assert_close(dx_t, (1 - 2 * t) / (2 * t * (1 - t)) * (x_t - mean) + x_1 - x_0)


@by_path
@pytest.mark.parametrize("time", [0.0, 0.2, 0.5, 1.0])
def test_noise_has_the_stated_mean_and_variance(path, time, generator):
    n = 40_000
    x_0, x_1 = torch.tensor([1.0, -2.0]).expand(n, 2), torch.tensor([3.0, 5.0]).expand(n, 2)
    x_t = path.sample(x_0, x_1, torch.full((n,), time), generator).x_t
    variance = path.noise**2 * (1 if isinstance(path, Tube) else time * (1 - time))
    error = math.sqrt(variance / n)
    assert float((x_t.mean(0) - (time * x_1[0] + (1 - time) * x_0[0])).abs().max()) <= 4.5 * error + 1e-12
    assert float((x_t.var(0) - variance).abs().max()) <= 4.5 * variance * math.sqrt(2 / n) + 1e-12


def test_a_tube_blurs_the_data():
    """Trap: at t = 1 a perfect I-CFM model has variance c^2 + sigma^2."""
    n, c = 200_000, 0.5
    x_0, x_1 = torch.randn(2, n, 1, generator=seeded())
    x_t = Tube(0.4).sample(x_0, c * x_1, torch.ones(n), seeded()).x_t
    assert abs(float(x_t.var()) - (c**2 + 0.4**2)) < 4.5 * 0.41 * math.sqrt(2 / n)


def gaussian_pairs(n, a, b, covariance, generator):
    """Samples of N(0, a^2) and N(0, b^2) with the given covariance."""
    x_0, eps = torch.randn(2, n, 1, generator=generator)
    x_1 = covariance / a * x_0 + math.sqrt(b**2 - (covariance / a) ** 2) * eps
    return a * x_0, x_1


@pytest.mark.parametrize("path", [Tube(0.5), Bridge(1.0)], ids=str)
@pytest.mark.parametrize("solver", ["ODE", "SDE"])
def test_the_field_keeps_the_marginals(path, solver):
    """Pairs of the Schroedinger bridge of two Gaussians; the field is regressed on ``dx_t``, as in training.

    For Gaussians ``E[dx_t | x_t] = A_t x_t`` and the score is ``-x / V_t``. Euler's method of
    ``dx = (v + sigma^2/2 score) dt + sigma dW`` and of ``dx = v dt`` must give the same variance V_1.
    """
    a, b, n, steps, sigma = 1.0, 2.0, 100_000, 200, 0.8
    covariance = 0.5 * (math.sqrt(4 * a**2 * b**2 + path.noise**4) - path.noise**2)
    generator = seeded()
    x_0, x_1 = gaussian_pairs(n, a, b, covariance, generator)
    variance = a**2 + (path.noise**2 if isinstance(path, Tube) else 0)
    for t in (torch.arange(steps) + 0.5) / steps:
        x_t, dx_t = path.sample(x_0, x_1, t.expand(n), generator)
        slope = float((x_t * dx_t).mean() / x_t.square().mean())
        drift, kick = (slope, 0.0) if solver == "ODE" else (slope - sigma**2 / (2 * variance), sigma**2 / steps)
        variance = (1 + drift / steps) ** 2 * variance + kick
    assert abs(variance - (b**2 + (path.noise**2 if isinstance(path, Tube) else 0))) < 0.05


def test_ends_of_a_bridge_are_pinned_and_finite():
    x_0, x_1 = torch.randn(2, 5, 2, generator=seeded())
    for time, end in ((0.0, x_0), (1.0, x_1)):
        x_t, dx_t = Bridge(1.0).sample(x_0, x_1, torch.full((5,), time), seeded())
        torch.testing.assert_close(x_t, end)
        assert bool(dx_t.isfinite().all())


def test_without_noise_both_are_the_straight_line(generator):
    x_0, x_1 = torch.randn(2, 5, 2, generator=generator)
    t = torch.rand(5, generator=generator)
    for path in (Tube(0.0), Bridge(0.0)):
        for ours, straight in zip(path.sample(x_0, x_1, t), OT().sample(x_0, x_1, t), strict=True):
            torch.testing.assert_close(ours, straight)


@by_path
def test_the_loss_draws_the_noise_from_its_generator(path):
    x_0, x_1 = torch.randn(2, 64, 2, generator=seeded())
    state = torch.get_rng_state()
    net = lambda x, t, c: x  # noqa: E731
    first, again = (flow_matching(net, x_0, x_1, path=path, generator=seeded()) for _ in range(2))
    assert float(first) == float(again)
    assert torch.equal(state, torch.get_rng_state())


@by_path
@pytest.mark.usefixtures("unchecked")
def test_mistakes_are_named(path):
    x, t = torch.zeros(3, 2), torch.full((3,), 0.5)
    with pytest.raises(InputError, match="path without noise of its own"):
        path.convert(x, x, t, have="velocity", want="data")
    with pytest.raises(InputError, match=r"x_0.*shape of x_1"):
        path.sample(x[:2], x, t)
    with pytest.raises(InputError, match=r"t.*\[0, 1\]"):
        path.sample(x, x, t + 1)
    with pytest.raises(InputError, match=r"noise.*no negative"):
        type(path)(-1.0)


def test_a_line_with_noise_of_its_own_has_no_such_velocity():
    with pytest.raises(InputError, match="path: expected a path without noise of its own"):
        exact_velocity(Tube(0.5), Gaussian(torch.zeros(2)))
