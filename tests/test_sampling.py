"""Samplers: exact answers on Gaussians, DDPM and DDIM against diffusers."""

import math
from itertools import pairwise

import pytest
import torch
from test_densities import tilted_mixture
from test_paths import DIFFUSIONS

from flowlib.densities import Gaussian
from flowlib.errors import InputError
from flowlib.evaluation import sliced_wasserstein
from flowlib.models import MLP
from flowlib.paths import OT, VE, VP, Cosine, Path, ZeroTerminal, exact_velocity
from flowlib.paths.conventions import alpha_bar, linear_betas, zero_terminal_snr
from flowlib.sampling import ddim, posterior_variance, sample, sample_sde
from flowlib.solvers import EULER, MIDPOINT

pytestmark = pytest.mark.usefixtures("float64")
FAMILY = (OT(), OT(0.1), VP(), VE(), Cosine(), ZeroTerminal())
MEAN, STD = 1.5, 0.4


def gaussian():
    return Gaussian(torch.tensor([MEAN]), STD**2)


def noise_of(path, density):
    return lambda x, t, c=None: -path.sigma(t)[:, None] * density.posterior(x, path.alpha(t), path.sigma(t)).score


class Table(Path):
    """The points of a DDPM schedule as a path on the grid t = 1 - k/K: DDPM's steps and ours are then the same."""

    def __init__(self, betas):
        self.abar = torch.cat([torch.ones(1), alpha_bar(betas)]).flip(0)

    def at(self, t):
        return self.abar[(t * (len(self.abar) - 1)).round().long()]

    def alpha(self, t):
        return self.at(t).sqrt()

    def sigma(self, t):
        return (1 - self.at(t)).sqrt()

    def d_alpha(self, t):
        raise NotImplementedError

    d_sigma = d_alpha


def fixed_net(generator):
    net = MLP(2, width=16, depth=2)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    return net


def diffusers_samples(kind, betas, net, x, steps, generator, **step):
    """The last state of a sampler of diffusers, with its own trailing grid, on a network of our time."""
    import diffusers

    schedule = getattr(diffusers, kind)(
        num_train_timesteps=len(betas),
        trained_betas=betas.numpy(),
        clip_sample=False,
        timestep_spacing="trailing",
        prediction_type="epsilon",
    )
    schedule.set_timesteps(steps)
    for k in schedule.timesteps:
        eps = net(x, (1 - (k + 1) / len(betas)).expand(len(x)).to(x))
        x = schedule.step(eps, k, x, generator=generator, **step).prev_sample
    return x


@pytest.mark.parametrize("steps", [5, 20, 100])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_steps_are_those_of_diffusers(steps, eta, generator):
    betas, net, x = linear_betas(100), fixed_net(generator), torch.randn(3, 2, generator=generator)
    path = Table(betas)
    x_0 = x / path.sigma(torch.zeros(()))  # diffusers starts from N(0, I), not from sigma_0 N(0, I)
    ours = ddim(net, x_0, path=path, steps=steps, eta=eta, generator=torch.Generator().manual_seed(5))
    theirs = diffusers_samples("DDIMScheduler", betas, net, x, steps, torch.Generator().manual_seed(5), eta=eta)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)  # their table is float32


@pytest.mark.parametrize("steps", [10, 100])
def test_ancestral_steps_are_those_of_diffusers(steps, generator):
    betas, net, x = linear_betas(100), fixed_net(generator), torch.randn(3, 2, generator=generator)
    path = Table(betas)
    x_0 = x / path.sigma(torch.zeros(()))
    ours = ddim(net, x_0, path=path, steps=steps, eta=1.0, generator=torch.Generator().manual_seed(5))
    theirs = diffusers_samples("DDPMScheduler", betas, net, x, steps, torch.Generator().manual_seed(5))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("steps", [2, 6])
def test_heun_with_a_last_step_of_euler_is_diffusers(steps, generator):
    from diffusers import FlowMatchHeunDiscreteScheduler

    net, x_0, asked = fixed_net(generator), torch.randn(3, 2, generator=generator), []
    schedule = FlowMatchHeunDiscreteScheduler(num_train_timesteps=steps)  # its smallest level is then one step
    schedule.set_timesteps(steps)
    theirs = x_0
    for k in schedule.timesteps:
        theirs = schedule.step(-net(theirs, (1 - k / steps).expand(3).to(x_0)), k, theirs).prev_sample

    def v(x, t, c):
        asked.append(float(t[0]))
        return net(x, t)

    torch.testing.assert_close(sample(v, x_0, steps=steps, last=EULER), theirs, rtol=1e-5, atol=1e-5)  # float32
    assert len(asked) == 2 * steps - 1
    assert max(asked) == pytest.approx(1 - 1 / steps)  # never t = 1
    assert torch.equal(sample(v, x_0, steps=1, last=EULER), sample(v, x_0, steps=1, method=EULER))


def test_zero_terminal_table_starts_from_a_prediction_of_the_data(generator):
    path = Table(zero_terminal_snr(linear_betas(100)))
    x = torch.randn(3, 2, generator=generator)
    with pytest.raises(InputError, match="t where noise determines data"):
        ddim(fixed_net(generator), x, path=path, steps=10)
    net = fixed_net(generator)
    first = ddim(net, x, path=path, have="data", steps=1)
    torch.testing.assert_close(first, net(x, torch.zeros(3)))


def test_posterior_variance_is_that_of_ddpm():
    betas = linear_betas(100)
    abar, times = alpha_bar(betas), torch.linspace(0, 1, 101)
    before = torch.cat([torch.ones(1), abar[:-1]])
    expected = betas * (1 - before) / (1 - abar)
    torch.testing.assert_close(posterior_variance(Table(betas), times), expected.flip(0))


@pytest.mark.parametrize("path", FAMILY, ids=str)
def test_posterior_variance_is_that_of_a_joint_gaussian(path):
    """Var(x_t' | x_t, x_1 = 0) where x_t = (alpha_t/alpha_t') x_t' + independent noise, by regression."""
    times = torch.tensor([0.2, 0.7])
    alpha, sigma = path.alpha(times), path.sigma(times)
    gain = alpha[0] / alpha[1]  # Cov(x_t, x_t') / Var(x_t') given x_1
    expected = sigma[1] ** 2 - (gain * sigma[1] ** 2) ** 2 / sigma[0] ** 2
    torch.testing.assert_close(posterior_variance(path, times), expected[None])


def ddim_gaussian(path, steps, eta):
    """Mean and variance of DDIM's or DDPM's result on N(m, c^2): every step is affine, so both follow exactly."""
    times = torch.linspace(0, 1, steps + 1)
    points = list(zip(path.alpha(times).tolist(), path.sigma(times).tolist(), strict=True))
    mean, var = 0.0, points[0][1] ** 2
    for (a, s), (a_next, s_next) in pairwise(points):
        gain = a * STD**2 / (a**2 * STD**2 + s**2)  # E[x_1 | x] = m + gain (x - a m)
        b = s_next**2 * (1 - (a * s_next / (s * a_next)) ** 2)
        keep = math.sqrt(s_next**2 - eta**2 * b) / s  # times x - a E[x_1 | x]
        slope = a_next * gain + keep * (1 - a * gain)
        mean, var = a_next * MEAN + slope * (mean - a * MEAN), slope**2 * var + eta**2 * b
    return mean, var


@pytest.mark.parametrize("path", FAMILY, ids=str)
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_ddim_and_ddpm_arrive_at_the_gaussian(path, eta, generator):
    """A few steps make the Gaussian that the recursion tells; many would make the data's."""
    n, x_0 = 20_000, torch.randn(20_000, 1, generator=generator)
    v = exact_velocity(path, gaussian())
    x = ddim(v, x_0, path=path, have="velocity", steps=12, eta=eta, generator=generator)
    mean, var = ddim_gaussian(path, 12, eta)
    assert abs(float(x.mean()) - mean) < 4 * math.sqrt(var / n)
    assert float(x.var()) == pytest.approx(var, rel=4 * math.sqrt(2 / n))
    mean, var = ddim_gaussian(path, 20_000, eta)
    assert mean == pytest.approx(MEAN, abs=0.02)  # VE and VP start from noise alone: 0.012 and 0.004
    assert var == pytest.approx(STD**2 + float(path.sigma(torch.ones(()))) ** 2, rel=0.01)


def test_ddim_on_straight_lines_is_euler(generator):
    v, x_0 = exact_velocity(OT(), tilted_mixture()), torch.randn(6, 2, generator=generator)
    torch.testing.assert_close(ddim(v, x_0, path=OT(), have="velocity", steps=7), sample(v, x_0, steps=7, method=EULER))


@pytest.mark.parametrize("path", [VP(), VE()], ids=str)
def test_ddim_is_euler_in_sigma_over_alpha(path, generator):
    """d(x / alpha) / d(sigma / alpha) = x_0_hat, by Euler's method on the same grid."""
    net, x_0 = noise_of(path, tilted_mixture()), torch.randn(6, 2, generator=generator)
    times = torch.linspace(0, 1, 11)
    ratio = path.sigma(times) / path.alpha(times)
    y = ratio[0] * x_0
    for k in range(10):
        y = y + (ratio[k + 1] - ratio[k]) * net(path.alpha(times[k]) * y, times[k].expand(6))
    torch.testing.assert_close(ddim(net, x_0, path=path, steps=10), path.alpha(times[-1]) * y)


@pytest.mark.parametrize("have", ["noise", "data", "velocity", "score"])
def test_ddim_does_not_care_what_is_predicted(have, generator):
    path, x_0 = VP(), torch.randn(6, 2, generator=generator)
    v = exact_velocity(path, tilted_mixture())

    def net(x, t, c=None):
        return path.convert(v(x, t), x, t, have="velocity", want=have)

    expected = ddim(v, x_0, path=path, have="velocity", steps=9)
    torch.testing.assert_close(ddim(net, x_0, path=path, have=have, steps=9), expected)


@pytest.mark.parametrize("path", FAMILY, ids=str)
def test_sample_starts_and_stops_where_the_path_does(path, generator):
    """N(m, c^2) with what noise the path leaves; VE from 50 x_0, VP up to just before t = 1."""
    x_0 = torch.randn(50, 1, generator=generator)
    x = sample(exact_velocity(path, gaussian()), x_0, path=path, steps=150, method=MIDPOINT)
    one = torch.ones(())
    r_1 = math.sqrt(STD**2 + float(path.sigma(one)) ** 2)
    alpha_0, sigma_0 = (float(u(torch.zeros(()))) for u in (path.alpha, path.sigma))
    r_0 = math.hypot(alpha_0 * STD, sigma_0)
    exact = MEAN + r_1 * (sigma_0 * x_0 - alpha_0 * MEAN) / r_0
    torch.testing.assert_close(x, exact, rtol=0, atol=4e-3)


SDE = {
    "none": lambda t: torch.zeros_like(t),
    "constant": lambda t: torch.full_like(t, 0.7),
    "falling": lambda t: 2 * (1 - t),
    "hump": lambda t: 3 * torch.sin(math.pi * t) ** 2,
}


def sde_gaussian(path, w, steps):
    """Mean and variance of Euler-Maruyama on N(m, c^2), whose every step is affine too."""
    times = torch.linspace(0, path.end, steps + 1)
    dt = float(times[1])
    columns = (path.alpha, path.sigma, path.d_alpha, path.sigma_d_sigma, SDE[w])
    mean, var = 0.0, float(path.sigma(times[0])) ** 2
    for k, (a, s, d_a, s_d_s, w_t) in enumerate(zip(*(u(times[:-1]).tolist() for u in columns), strict=True)):
        spread = a**2 * STD**2 + s**2
        # v = d(a m) + (a d_a c^2 + s d_s) (x - a m) / spread and score = -(x - a m) / spread
        slope = 1 + dt * (a * d_a * STD**2 + s_d_s - w_t) / spread
        mean = a * MEAN + d_a * MEAN * dt + slope * (mean - a * MEAN)
        var = slope**2 * var + (2 * w_t * dt if k < steps - 1 else 0)
    return mean, var


@pytest.mark.parametrize(
    ("path", "w"), [(Cosine(), w) for w in SDE] + [(OT(), "hump"), (OT(), "falling"), (VP(), "constant")], ids=str
)
def test_any_diffusion_keeps_the_marginals(path, w, generator):
    """Few steps make what the affine recursion tells; its limit of many steps is the data, whatever w is."""
    n, steps = 20_000, 60
    x_0, v = torch.randn(n, 1, generator=generator), exact_velocity(path, gaussian())
    x = sample_sde(v, x_0, path=path, w=SDE[w], steps=steps, generator=generator)
    mean, var = sde_gaussian(path, w, steps)
    assert abs(float(x.mean()) - mean) < 4 * math.sqrt(var / n)
    assert float(x.var()) == pytest.approx(var, rel=4 * math.sqrt(2 / n))
    assert float(((x - mean) ** 4).mean()) / var**2 == pytest.approx(3, abs=4 * math.sqrt(96 / n))
    mean, var = sde_gaussian(path, w, 20_000)
    assert mean == pytest.approx(MEAN, abs=0.01)
    assert var == pytest.approx(STD**2, rel=0.01)


@pytest.mark.parametrize("path", DIFFUSIONS[:2], ids=str)
def test_reverse_diffusion_keeps_the_marginals_of_a_mixture(path, generator):
    p, x_0 = tilted_mixture(), torch.randn(2000, 2, generator=generator)
    v = exact_velocity(path, p)
    x = sample_sde(v, x_0, path=path, steps=150, generator=generator)
    floor = sliced_wasserstein(p.sample(2000, generator), p.sample(2000, generator), generator=generator)
    assert float(sliced_wasserstein(x, p.sample(2000, generator), generator=generator)) < 0.03 + 2 * float(floor)


def test_increments_are_gaussian_with_variance_2_w_dt(generator):
    """One normal draw a step: variance 2 w dt and kurtosis 3 (two draws multiplied have 9), none in the last step."""
    n, w = 100_000, 0.7
    x_0 = torch.zeros(n, 1)
    first = []

    def v(x, t, c=None):
        first.append(x.clone())
        return x.new_zeros(x.shape)

    last = sample_sde(v, x_0, path=OT(), w=lambda t: torch.full_like(t, w), steps=4, generator=generator)
    step = first[1] - first[0]
    assert float(step.var()) == pytest.approx(2 * w / 4, rel=0.02)
    assert abs(float((step / step.std()).pow(4).mean()) - 3) < 0.1
    t = torch.full((n,), 0.75)
    score = OT().convert(torch.zeros(n, 1), first[3], t, have="velocity", want="score")
    torch.testing.assert_close(last, first[3] + w * score / 4)


def test_reverse_diffusion_is_the_limit_of_ddpm(generator):
    """VP with w = beta/2: drift and noise of one short step agree with DDPM's to first order in dt."""
    path, p, n = VP(), tilted_mixture(), 6
    x, t, dt = torch.randn(n, 2, generator=generator), torch.full((n,), 0.5), 1e-4
    v = exact_velocity(path, p)(x, t)
    score = path.convert(v, x, t, have="velocity", want="score")
    x_1, x_0 = (path.convert(v, x, t, have="velocity", want=u) for u in ("data", "noise"))
    times = torch.tensor([0.5, 0.5 + dt])
    b = posterior_variance(path, times)
    alpha, sigma = path.alpha(times[1]), path.sigma(times[1])
    ddpm = (alpha * x_1 + (sigma**2 - b).sqrt() * x_0 - x) / dt
    torch.testing.assert_close(ddpm, v + path.diffusion(t)[:, None] * score, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(b / dt, 2 * path.diffusion(t[:1]), rtol=1e-2, atol=0)


def still(x, t, c=None):
    return torch.zeros_like(x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sample(still, torch.zeros(1, 2), steps=0), "steps: expected at least 1, got 0"),
        (lambda: ddim(still, torch.zeros(1, 2), steps=0), "steps: expected at least 1, got 0"),
        (lambda: ddim(still, torch.zeros(1, 2), eta=1.5), "eta: expected 0"),
        (lambda: sample_sde(still, torch.zeros(1, 2), steps=0), "steps: expected at least 1"),
        (
            lambda: sample_sde(lambda x, t, c: x, torch.zeros(1, 2), path=OT()),
            "w: expected finite coefficients.*infinite where alpha_t = 0",
        ),
        (lambda: sample_sde(lambda x, t, c: x, torch.zeros(1, 2), w=lambda t: t - 1), "none negative, at t = 0"),
    ],
)
def test_bad_input(call, message, unchecked):
    with pytest.raises(InputError, match=message):
        call()
