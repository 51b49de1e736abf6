"""Other people's time and networks: each conversion on a Gaussian, where the answer is known, and against diffusers."""

import math

import pytest
import torch
from test_densities import tilted_mixture
from test_paths import by_path

from flowlib.densities import Gaussian
from flowlib.errors import InputError
from flowlib.objectives.timesteps import shift_time
from flowlib.paths import OT, VE, VP, Cosine, ScaledLinear, change_path, exact_velocity
from flowlib.paths.conventions import (
    alpha_bar,
    cosine_betas,
    from_ddpm,
    from_edm,
    linear_betas,
    reverse_time,
    scaled_linear_betas,
    sd3_times,
    step_of_time,
    time_of_sigma,
    time_of_step,
    to_ddpm,
    to_edm,
    zero_terminal_snr,
)
from flowlib.solvers import EULER, RK4, solve

pytestmark = pytest.mark.usefixtures("float64")
MEAN, STD = torch.tensor([1.5, -0.5], dtype=torch.float64), 0.4
BETAS = {"linear": linear_betas, "scaled_linear": scaled_linear_betas, "squaredcos_cap_v2": cosine_betas}
HERE = (OT(), Cosine(), VP(), VE())


def data():
    return Gaussian(MEAN, STD**2)


def ddpm_noise(betas, predict="noise"):
    """The best DDPM network on N(m, c^2), written in DDPM's own symbols: E[eps | x_k] of a joint Gaussian."""
    table = alpha_bar(betas)

    def net(x_k, k, c=None):
        lam = table.log() - (1 - table).log()
        near = k.long().clamp(max=len(table) - 2)
        lam = torch.lerp(lam[near], lam[near + 1], k - near)[:, None]
        a, s = torch.sigmoid(lam).sqrt(), torch.sigmoid(-lam).sqrt()
        eps = s * (x_k - a * MEAN) / (a**2 * STD**2 + s**2)
        return eps if predict == "noise" else a * eps - s * (x_k - s * eps) / a

    return net


def edm_denoiser(y, sig, c=None):
    """E[data | data + sig eps] for N(m, c^2)."""
    sig = sig[:, None]
    return (sig**2 * MEAN + STD**2 * y) / (STD**2 + sig**2)


@pytest.mark.parametrize("path", HERE, ids=str)
@pytest.mark.parametrize("predict", ["noise", "v"])
def test_ddpm_network_becomes_the_exact_velocity(path, predict, generator):
    betas = linear_betas()
    t, x = torch.tensor([0.2, 0.4, 0.6, 0.8, 0.9]), torch.randn(5, 2, generator=generator)
    v = from_ddpm(ddpm_noise(betas, predict), betas, path, predict)
    torch.testing.assert_close(v(x, t), exact_velocity(path, data())(x, t), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("path", HERE, ids=str)
def test_our_velocity_becomes_the_ddpm_network(path, generator):
    betas, k = scaled_linear_betas(), torch.tensor([3.0, 100.0, 499.5, 900.0])
    x_k = torch.randn(4, 2, generator=generator)
    net = to_ddpm(exact_velocity(path, data()), betas, path)
    torch.testing.assert_close(net(x_k, k), ddpm_noise(betas)(x_k, k), rtol=1e-6, atol=1e-6)


def test_a_ddpm_network_is_asked_at_its_own_steps():
    """Steps 0 to K - 1, not times 0 to 1, with noise last (trap 5); one point of a path that starts in pure noise."""
    asked = []

    def net(x_k, k, c):
        asked.append((x_k, k, c))
        return x_k

    v = from_ddpm(net, linear_betas(), OT(), "v")
    v(torch.tensor([[3.0], [3.0]]), torch.tensor([0.0, 0.999]), "cat")
    (x_k, k, c) = asked[0]
    assert k[0] == 999
    assert k[1] < 1
    assert c == "cat"
    torch.testing.assert_close(x_k[:, 0], torch.tensor([3.0, 3 / math.hypot(0.999, 0.001)]))


@pytest.mark.parametrize("name", BETAS)
@pytest.mark.parametrize("path", [OT(), Cosine(), VP(), VE(0.001, 500.0)], ids=str)
def test_steps_and_times_are_inverse(name, path):
    betas = BETAS[name]()
    k = torch.tensor([0.0, 1.0, 17.25, 500.0, 900.75])
    t = time_of_step(k, betas, path)
    torch.testing.assert_close(step_of_time(t, betas, path), k, rtol=0, atol=1e-6)
    snr = (alpha_bar(betas) / (1 - alpha_bar(betas)))[[0, 1, 500]]
    torch.testing.assert_close(path.snr(t)[[0, 1, 3]], snr)


def test_whole_steps_may_be_integers(float64):
    betas, path, k = linear_betas(), VP(), torch.tensor([950, 300])
    assert torch.equal(time_of_step(k, betas, path), time_of_step(k.double(), betas, path))
    net, x = to_ddpm(exact_velocity(path, data()), betas, path), torch.randn(2, 2)
    assert torch.equal(net(x, k), net(x, k.double()))


def test_zero_terminal_betas_reach_time_0():
    betas = zero_terminal_snr(linear_betas())
    k = torch.tensor([998.0, 999.0])
    t = time_of_step(k, betas, OT())
    assert t[1] == 0
    assert 0 < t[0] < 0.001
    torch.testing.assert_close(step_of_time(t, betas, OT()), k)


@pytest.mark.parametrize(
    ("betas", "path"), [(linear_betas, VP()), (scaled_linear_betas, ScaledLinear())], ids=["linear", "scaled linear"]
)
def test_schedule_is_the_limit_of_its_steps(betas, path):
    """alpha at t = 1 - k/K against the product over k steps: the difference halves when K doubles."""

    def gap(n):
        first, last = 1000 / n * betas()[0], 1000 / n * betas()[-1]
        table = alpha_bar(betas(n, float(first), float(last)))[n // 2 - 1 :: n // 4].sqrt()
        return (table - path.alpha(1 - torch.tensor([0.5, 0.75, 1.0]))).abs()

    ratio = gap(4000) / gap(8000)
    torch.testing.assert_close(ratio, torch.full((3,), 2.0), rtol=0.02, atol=0)


@pytest.mark.parametrize(
    ("name", "last"), [("linear", 0.006353), ("scaled_linear", 0.068265), ("squaredcos_cap_v2", 4.93e-5)]
)
def test_betas_are_those_of_diffusers(name, last):
    from diffusers import DDPMScheduler

    ends = {"linear": (1e-4, 0.02), "scaled_linear": (0.00085, 0.012)}.get(name, (1e-4, 0.02))
    theirs = DDPMScheduler(beta_schedule=name, beta_start=ends[0], beta_end=ends[1]).betas
    torch.testing.assert_close(BETAS[name](), theirs.double(), rtol=1e-5, atol=1e-7)
    assert float(alpha_bar(BETAS[name]())[-1].sqrt()) == pytest.approx(last, rel=1e-3)


@pytest.mark.parametrize("name", BETAS)
def test_zero_terminal_snr_is_that_of_diffusers(name):
    from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr

    betas = BETAS[name]()
    ours = zero_terminal_snr(betas)
    torch.testing.assert_close(ours, rescale_zero_terminal_snr(betas))
    before, after = alpha_bar(betas), alpha_bar(ours)
    assert after[-1] == 0
    assert ours[-1] == 1
    torch.testing.assert_close(after[0], before[0])
    assert bool((after[1:] <= before[1:]).all())


@pytest.mark.parametrize("path", HERE, ids=str)
def test_edm_denoiser_becomes_the_exact_velocity_and_back(path, generator):
    t, x = torch.tensor([0.1, 0.5, 0.9, 0.99]), torch.randn(4, 2, generator=generator)
    v = exact_velocity(path, data())
    torch.testing.assert_close(from_edm(edm_denoiser, path)(x, t), v(x, t), rtol=1e-6, atol=1e-6)
    sig, y = torch.tensor([0.02, 0.5, 2.0, 40.0]), 3 * torch.randn(4, 2, generator=generator)
    torch.testing.assert_close(to_edm(v, path)(y, sig), edm_denoiser(y, sig), rtol=1e-6, atol=1e-6)


def test_edm_sigma_on_the_straight_path():
    sig = torch.tensor([0.002, 1.0, 80.0])
    torch.testing.assert_close(time_of_sigma(sig), 1 / (1 + sig))


def test_every_convention_gives_the_same_map(generator):
    """The Gaussian from noise to data by EDM's ODE dy/dsig = (y - Den)/sig, by Flux's clock, and by ours."""
    y = 80 * torch.randn(6, 2, generator=generator)
    exact = MEAN + STD / math.sqrt(80**2 + STD**2) * (y - MEAN)
    start = float(time_of_sigma(torch.tensor(80.0)))
    grid = 1 / (1 + torch.logspace(math.log10(80), -5, 201).flip(0)).flip(0)
    grid = torch.cat([grid, torch.ones(1)])
    v = from_edm(edm_denoiser)
    straight = exact_velocity(OT(), data())
    ours = solve(straight, start * y, grid, RK4).x
    theirs = solve(reverse_time(straight), start * y, 1 - grid, RK4).x
    edm = solve(v, start * y, grid[:-1], RK4).x
    torch.testing.assert_close(ours, exact, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(theirs, ours)
    torch.testing.assert_close(edm, exact, rtol=1e-4, atol=1e-4)
    x, t = torch.randn(3, 2, generator=generator), torch.tensor([0.1, 0.5, 0.7])
    torch.testing.assert_close(reverse_time(reverse_time(straight))(x, t), straight(x, t))
    torch.testing.assert_close(reverse_time(straight)(x, 1 - t), -straight(x, t))


def diffusers_sigmas(steps, shift, sigmas=None):
    from diffusers import FlowMatchEulerDiscreteScheduler

    schedule = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=shift)
    schedule.set_timesteps(**({"num_inference_steps": steps} if sigmas is None else {"sigmas": sigmas}))
    return schedule.sigmas.double()


@pytest.mark.parametrize("shift", [1.0, 1.15, 3.0])
def test_shifted_grid_is_that_of_diffusers(shift):
    """Given the sigmas, as Flux gives them: N + 1 even points, shifted once."""
    s = torch.linspace(1, 0, 11)
    theirs = diffusers_sigmas(10, shift, sigmas=s[:-1].tolist())
    torch.testing.assert_close(1 - shift_time(1 - s, shift), theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_sd3_times_are_those_of_diffusers_but_for_its_double_shift(shift):
    """Left alone, diffusers shifts the smallest s twice: .001, .00299, .00893 at 3 (its issue 13243)."""
    once = shift * 0.001 / (1 + (shift - 1) * 0.001)
    torch.testing.assert_close(1 - sd3_times(28, shift, least=once), diffusers_sigmas(28, shift), rtol=0, atol=1e-6)
    assert float(1 - sd3_times(28, shift)[-2]) == pytest.approx(once)
    torch.testing.assert_close(1 - sd3_times(28, shift)[:1], torch.ones(1))


def test_a_flux_step_of_diffusers_is_a_step_of_ours(generator):
    """One Euler step with velocity noise - data in s, given in shifted sigmas, equals ours in t."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    schedule = FlowMatchEulerDiscreteScheduler(shift=3.0)
    schedule.set_timesteps(sigmas=[1.0, 0.75, 0.5, 0.25])
    v, x = exact_velocity(OT(), data()), torch.randn(4, 2, generator=generator)
    ours = solve(v, x, 1 - schedule.sigmas.double(), EULER).x
    for s, k in zip(schedule.sigmas[:-1].double(), schedule.timesteps, strict=True):
        x = schedule.step(reverse_time(v)(x, s.expand(4)), k, x).prev_sample
    torch.testing.assert_close(x.double(), ours, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("old", [OT(), VP(), Cosine(), VE()], ids=str)
@by_path
def test_change_of_path_is_the_exact_velocity_of_the_other(path, old, generator):
    t, x = torch.tensor([0.3, 0.5, 0.8, 0.95]), 2 * torch.randn(4, 2, generator=generator)
    changed = change_path(exact_velocity(old, tilted_mixture()), old, path)(x, t)
    torch.testing.assert_close(changed, exact_velocity(path, tilted_mixture())(x, t), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("old", "new"), [(VP(), OT()), (OT(), VP()), (VP(), Cosine())], ids=str)
def test_change_of_path_at_the_ends(old, new, generator):
    """Beyond the reach of the old path its nearest end answers: finite, and near the truth."""
    x, t = torch.randn(4, 2, generator=generator), torch.tensor([0.0, 0.0, new.end, new.end])
    changed = change_path(exact_velocity(old, tilted_mixture()), old, new)(x, t)
    torch.testing.assert_close(changed, exact_velocity(new, tilted_mixture())(x, t), rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: time_of_step(torch.tensor([1000.0]), linear_betas()), "k: expected 0 to 999.*networks from 0"),
        (lambda: alpha_bar(torch.tensor([0.1, 1.2])), "betas: expected two or more numbers above 0"),
        (
            lambda: from_edm(edm_denoiser)(torch.zeros(1, 2), torch.zeros(1)),
            "t: expected alpha_t > 0.*Start at time_of_sigma",
        ),
        (
            lambda: from_ddpm(ddpm_noise(linear_betas()), linear_betas())(torch.zeros(1, 2), torch.zeros(1)),
            "t where noise determines velocity",
        ),
    ],
)
def test_bad_input(call, message, unchecked):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.usefixtures("unchecked")
def test_velocity_is_no_word_for_v_prediction():
    with pytest.raises(InputError, match='predict: expected "noise" or "v"'):
        from_ddpm(lambda x, k, c: x, torch.full((10,), 0.1), predict="velocity")
