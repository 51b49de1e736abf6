"""Paths: boundaries, derivatives, conversions against exact answers, the marginal velocity."""

import math

import pytest
import torch
from laws import derivative_matches
from test_densities import tilted_mixture

from flowlib.densities import Gaussian, GaussianMixture, eight_gaussians
from flowlib.derivatives import divergence
from flowlib.errors import InputError
from flowlib.paths import OT, VE, VP, Cosine, ScaledLinear, ZeroTerminal, exact_velocity
from flowlib.solvers import EULER, RK4, solve

pytestmark = pytest.mark.usefixtures("float64")
DIFFUSIONS = (VP(), VP(0.5, 5.0), ScaledLinear(), ZeroTerminal(), ZeroTerminal(ScaledLinear()))
PATHS = (OT(), OT(0.1), *DIFFUSIONS, VE(), VE(0.1, 10.0), Cosine())
INSIDE = (0.05, 0.3, 0.5, 0.8, 0.95)
QUANTITIES = ("velocity", "data", "noise", "score")
by_path = pytest.mark.parametrize("path", PATHS, ids=str)


@by_path
def test_boundaries(path):
    t = torch.tensor([0.0, 1.0])
    alpha, sigma = path.alpha(t), path.sigma(t)
    expected = {
        OT: ((0, 1), (1, getattr(path, "sigma_min", 0))),
        Cosine: ((0, 1), (1, 0)),
        ZeroTerminal: ((0, 1), (1, 0)),
        VE: ((1, 1), (getattr(path, "sigma_max", 0), getattr(path, "sigma_min", 0))),
    }
    if isinstance(path, VP):
        s = torch.linspace(0, 1, 2001)
        left = math.exp(-float(torch.trapezoid(path.beta(1 - s), s)) / 2)
        expected[type(path)] = ((left, 1), (math.sqrt(1 - left**2), 0))
    want_alpha, want_sigma = expected[type(path)]
    torch.testing.assert_close(alpha, torch.tensor(want_alpha, dtype=alpha.dtype), rtol=1e-6, atol=1e-15)
    torch.testing.assert_close(sigma, torch.tensor(want_sigma, dtype=alpha.dtype), rtol=1e-7, atol=1e-15)


@by_path
def test_source_is_the_start_of_the_path(path, generator):
    """x_0 of a sample from no data at all; for VE fifty times the noise."""
    x_0 = torch.randn(3, 2, generator=generator)
    torch.testing.assert_close(path.source(x_0), path.sample(x_0, torch.zeros(3, 2), torch.zeros(3)).x_t)


@by_path
def test_end_is_the_last_time_of_a_finite_velocity(path):
    one = torch.ones(1)
    assert bool(path.d_sigma(one * path.end).isfinite().all())
    assert (path.end == 1) == bool(path.d_sigma(one).isfinite().all())


@by_path
def test_schedules_match_their_derivatives(path):
    t = torch.linspace(0.01, 0.99, 99)
    derivative_matches(path.alpha, path.d_alpha, t)
    derivative_matches(path.sigma, path.d_sigma, t)
    torch.testing.assert_close(path.sigma_d_sigma(t), path.sigma(t) * path.d_sigma(t))
    assert bool(path.sigma_d_sigma(torch.tensor([1.0])).isfinite().all())


@by_path
def test_signal_to_noise_rises(path):
    snr = path.snr(torch.linspace(0, 0.999, 200))
    assert bool((snr.diff() > 0).all())


@by_path
def test_time_at_snr_inverts_it(path):
    t = torch.linspace(0, 1, 101)
    torch.testing.assert_close(path.time_at_snr(path.snr(t)), t, rtol=0, atol=1e-12)


@by_path
def test_diffusion_is_the_rate_of_the_signal_to_noise_ratio(path):
    """w = sigma^2/2 d log(snr)/dt, by differences: VP beta / 2, VE -sigma d_sigma, straight (1 - t) / t."""
    t, h = torch.linspace(0.05, 0.95, 19), 1e-6
    rate = (path.snr(t + h).log() - path.snr(t - h).log()) / (2 * h)
    torch.testing.assert_close(path.diffusion(t), path.sigma(t) ** 2 / 2 * rate, rtol=1e-6, atol=1e-8)
    if isinstance(path, VP):
        torch.testing.assert_close(path.diffusion(t), path.beta(t) / 2)


@by_path
@pytest.mark.parametrize("event", [(2,), (3, 4, 4)])
def test_dx_t_is_the_time_derivative_of_x_t(path, event, generator):
    x_0, x_1 = torch.randn(2, 5, *event, generator=generator)
    t = torch.rand(5, generator=generator) * 0.98
    _, tangent = torch.func.jvp(lambda t: path.sample(x_0, x_1, t).x_t, (t,), (torch.ones_like(t),))
    torch.testing.assert_close(path.sample(x_0, x_1, t).dx_t, tangent)


def test_vp_is_lipmans_equation(generator):
    """Lipman et al. 2023, equation 19: u = alpha'_{1-t} (alpha_{1-t} x - x_1) / (1 - alpha_{1-t}^2)."""
    path = VP()
    x_0, x_1, t = *torch.randn(2, 6, 2, generator=generator), torch.rand(6, generator=generator) * 0.9
    x_t, dx_t = path.sample(x_0, x_1, t)
    s = (1 - t).requires_grad_()
    alpha = torch.exp(-0.5 * (0.1 * s + 0.5 * 19.9 * s**2))
    (prime,) = torch.autograd.grad(alpha.sum(), s)
    alpha, prime = alpha.detach()[:, None], prime[:, None]
    torch.testing.assert_close(dx_t, prime * (alpha * x_t - x_1) / (1 - alpha**2))


def test_ve_is_lipmans_equation(generator):
    """Lipman et al. 2023, equation 17: u = -(sigma'_{1-t} / sigma_{1-t}) (x - x_1)."""
    path = VE(0.1, 10.0)
    x_0, x_1, t = *torch.randn(2, 6, 2, generator=generator), torch.rand(6, generator=generator)
    x_t, dx_t = path.sample(x_0, x_1, t)
    torch.testing.assert_close(dx_t, -math.log(100.0) * (x_t - x_1))


def exact_quantities(path, p, x, t):
    """The four quantities from the mixture's posterior, not from a conversion."""
    alpha, sigma = path.alpha(t), path.sigma(t)
    x_1, score = p.posterior(x, alpha, sigma)
    return {
        "data": x_1,
        "score": score,
        "noise": -sigma[:, None] * score,
        "velocity": path.d_alpha(t)[:, None] * x_1 - (sigma * path.d_sigma(t))[:, None] * score,
    }


@by_path
@pytest.mark.parametrize("have", QUANTITIES)
@pytest.mark.parametrize("want", QUANTITIES)
def test_conversions_of_the_exact_mixture(path, have, want, generator):
    t = torch.tensor(INSIDE).repeat(4)
    x = 2 * torch.randn(20, 2, generator=generator)
    exact = exact_quantities(path, tilted_mixture(), x, t)
    converted = path.convert(exact[have], x, t, have=have, want=want)
    torch.testing.assert_close(converted, exact[want], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("path", "have", "want", "t", "finite"),
    [
        (OT(), "velocity", "data", 0.0, True),
        (OT(), "velocity", "data", 1.0, True),
        (OT(), "velocity", "noise", 1.0, True),
        (OT(), "noise", "velocity", 1.0, True),
        (OT(), "data", "velocity", 0.0, True),
        (OT(), "score", "data", 1.0, True),
        (OT(), "noise", "data", 0.0, False),
        (OT(), "noise", "velocity", 0.0, False),
        (OT(), "data", "velocity", 1.0, False),
        (OT(), "velocity", "score", 1.0, False),
        (OT(), "score", "velocity", 0.0, False),
        (Cosine(), "velocity", "score", 1.0, False),
        (VE(), "noise", "velocity", 0.0, True),
        (VE(), "velocity", "score", 1.0, True),
        (VP(), "noise", "data", 0.0, True),
        (VP(), "noise", "velocity", 0.0, True),
        (ZeroTerminal(), "noise", "velocity", 0.0, False),
        (ZeroTerminal(), "velocity", "data", 0.0, True),
    ],
)
def test_conversions_at_the_ends(path, have, want, t, finite):
    """Where a limit exists it is returned; where none does, an error names the time."""
    x_0, x_1, t = torch.tensor([[0.7, -1.0]]), torch.tensor([[1.5, 0.2]]), torch.tensor([t])
    x_t, dx_t = path.sample(x_0, x_1, t)
    known = {"velocity": dx_t, "data": x_1, "noise": x_0, "score": -x_0 / path.sigma(t).clamp(min=1e-300)}
    if finite:
        torch.testing.assert_close(path.convert(known[have], x_t, t, have=have, want=want), known[want])
    else:
        with pytest.raises(InputError, match=f"t: expected t where {have} determines {want} on .*got t = {t.item():g}"):
            path.convert(known[have], x_t, t, have=have, want=want)


@pytest.mark.parametrize("path", DIFFUSIONS, ids=str)
def test_conversions_where_the_velocity_of_a_pair_is_infinite(path, generator):
    """At t = 1 of VP the marginal velocity is finite: it tells the score and the data; the noise has the limit 0."""
    x, one, p = torch.randn(6, 2, generator=generator), torch.ones(6), tilted_mixture()
    v, score = exact_velocity(path, p)(x, one), p.score(x)
    torch.testing.assert_close(path.convert(v, x, one, have="velocity", want="score"), score)
    torch.testing.assert_close(path.convert(score, x, one, have="score", want="velocity"), v)
    torch.testing.assert_close(path.convert(v, x, one, have="velocity", want="data"), x)
    torch.testing.assert_close(path.convert(v, x, one, have="velocity", want="noise"), torch.zeros_like(x))
    for have in ("data", "noise"):
        with pytest.raises(InputError, match="got t = 1"):
            path.convert(x, x, one, have=have, want="velocity")


@by_path
@pytest.mark.parametrize("have", QUANTITIES)
def test_field_reads_any_network_as_a_velocity(path, have, generator):
    t, x = torch.tensor(INSIDE), torch.randn(5, 2, generator=generator)
    exact = exact_quantities(path, tilted_mixture(), x, t)
    asked = []

    def net(x, t, c=None):
        asked.append(c)
        return exact[have]

    torch.testing.assert_close(path.field(net, have)(x, t, "a condition"), exact["velocity"])
    assert asked == ["a condition"]


@by_path
@pytest.mark.parametrize("t", INSIDE)
def test_exact_velocity_is_a_conditional_expectation(path, t, generator):
    """Averaging dx_t over pairs, weighted by how close their x_t comes, is another road to E[dx_t | x_t = x]."""
    p, x = Gaussian(torch.tensor([1.0]), 0.25), torch.tensor([[0.5], [1.2]])
    alpha, sigma = path.alpha(torch.tensor(t)), path.sigma(torch.tensor(t))
    x_1 = torch.linspace(-6, 8, 20_001)[:, None]
    x_0 = (x[:, None] - alpha * x_1) / sigma  # the noise that brings x_1 to x at time t
    weight = (p.log_prob(x_1) - x_0.squeeze(2) ** 2 / 2).softmax(1)
    dx_t = path.d_alpha(torch.tensor(t)) * x_1 + path.d_sigma(torch.tensor(t)) * x_0
    expected = (weight[..., None] * dx_t).sum(1)
    v = exact_velocity(path, p)
    torch.testing.assert_close(v(x, torch.full((2,), t)), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("path", [OT(), VP(0.5, 5.0), VE(0.1, 10.0), Cosine()], ids=str)
@pytest.mark.parametrize("t", [0.2, 0.5, 0.8])
def test_continuity_equation(path, t, generator):
    """d log p_t / dt + div v + v . grad log p_t = 0 at random points, by differences in t of the known marginal."""
    p, h = tilted_mixture(), 1e-5
    x = 1.5 * torch.randn(8, 2, generator=generator)
    v = exact_velocity(path, p)

    def log_p(t):
        return p.marginal(float(path.alpha(torch.tensor(t))), float(path.sigma(torch.tensor(t)))).log_prob(x)

    value, div = divergence(lambda y: v(y, torch.full((8,), t)), x)
    score = p.posterior(x, path.alpha(torch.tensor(t)), path.sigma(torch.tensor(t))).score
    rate = (log_p(t + h) - log_p(t - h)) / (2 * h)
    torch.testing.assert_close(rate + div + (value * score).sum(1), torch.zeros(8), rtol=0, atol=1e-5)


@pytest.mark.parametrize("path", [OT(), VP(), Cosine()], ids=str)
def test_exact_velocity_carries_a_gaussian_along_the_known_map(path):
    """x_t = alpha m + R_t (x_0 - alpha_0 m) / R_0, with R^2 = alpha^2 c^2 + sigma^2, up to t = 1 included."""
    m, c = torch.tensor([2.0, -1.0]), 0.4
    times = torch.linspace(0, 1, 501)
    x_0 = torch.tensor([[0.3, 1.0], [-1.2, 0.5]])
    x = solve(exact_velocity(path, Gaussian(m, c**2)), x_0, times, RK4).x
    alpha, sigma = path.alpha(times[[0, -1]]), path.sigma(times[[0, -1]])
    r = (alpha**2 * c**2 + sigma**2).sqrt()
    torch.testing.assert_close(x, alpha[1] * m + r[1] * (x_0 - alpha[0] * m) / r[0], rtol=1e-6, atol=1e-6)


def test_exact_velocity_of_a_finite_set_ends_in_the_set(generator):
    points = torch.tensor([[2.0, 0.0], [-1.0, 1.5], [0.0, -2.0]])
    v = exact_velocity(OT(), GaussianMixture(points, 0.0))
    x = solve(v, torch.randn(50, 2, generator=generator), torch.linspace(0, 1, 401), EULER).x
    assert float(torch.cdist(x, points).min(1).values.max()) < 1e-6


def test_foreign_time_gives_the_same_map(generator):
    """SD3 and Flux run from s = 1 (noise) to 0 with velocity noise - data: v_s(x, s) = -v(x, 1 - s)."""
    v = exact_velocity(OT(), eight_gaussians())
    x_0 = torch.randn(20, 2, generator=generator)
    ours = solve(v, x_0, torch.linspace(0, 1, 51), RK4).x
    theirs = solve(lambda x, s: -v(x, 1 - s), x_0, torch.linspace(1, 0, 51), RK4).x
    torch.testing.assert_close(ours, theirs)


def test_batch_as_long_as_the_image_is_tall():
    """B = H would let a time broadcast along the rows."""
    x_0, x_1, t = torch.zeros(4, 1, 4, 4), torch.ones(4, 1, 4, 4), torch.tensor([0.0, 0.2, 0.5, 1.0])
    x_t = OT().sample(x_0, x_1, t).x_t
    torch.testing.assert_close(x_t[:, 0, 0, 0], t)
    torch.testing.assert_close(x_t[2], torch.full((1, 4, 4), 0.5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: OT().sample(torch.zeros(2, 2), torch.zeros(2, 3), torch.zeros(2)), "x_0: expected the shape of x_1"),
        (lambda: OT().sample(torch.zeros(2, 2), torch.zeros(2, 2), torch.zeros(2, 1)), r"t: expected shape \(2,\)"),
        (lambda: OT().sample(torch.zeros(2, 2), torch.zeros(2, 2), torch.tensor(0.5)), r"t: expected shape \(2,\)"),
        (lambda: OT().sample(torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([1.5])), r"values in \[0, 1\]"),
        (lambda: OT().sample(torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([torch.nan])), r"values in \[0, 1\]"),
        (
            lambda: VP().sample(torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([1.0])),
            "times below 1, where dx_t of VP",
        ),
        (lambda: exact_velocity(OT(), eight_gaussians())(torch.zeros(2, 2), torch.tensor([500.0, 0.0])), "values in"),
        (
            lambda: OT().convert(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1), have="epsilon", want="data"),
            "have/want: expected velocity, data, noise or score",
        ),
        (lambda: OT(1.0), "sigma_min: expected 0 <= sigma_min < 1, got 1.0"),
        (lambda: VP(2.0, 1.0), "beta_min, beta_max"),
        (lambda: VE(1.0, 0.5), "sigma_min, sigma_max"),
        (lambda: VP().time_at_snr(torch.zeros(2)), r"snr: expected 4.32e-05 to inf, the reach of VP"),
    ],
)
def test_bad_input(call, message, unchecked):
    with pytest.raises(InputError, match=message):
        call()
