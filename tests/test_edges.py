"""Ends, widths and constants at which a formula that is right elsewhere could go wrong."""

import math

import pytest
import torch
from torch import nn

from flowlib.bijections import RationalQuadraticSpline
from flowlib.densities import GaussianMixture
from flowlib.derivatives import divergence, hutchinson
from flowlib.errors import InputError
from flowlib.flows import CNF
from flowlib.layers import MADE
from flowlib.objectives import CosMap, LogitNormal, Stratified, flow_matching
from flowlib.paths import OT, VP, Tube, change_path, entropic_plan
from flowlib.paths.conventions import alpha_bar, sd3_times
from flowlib.sampling import guide, sample
from flowlib.solvers import DOPRI5, HEUN, RK4, solve, solve_end


def bend(x, t, c=None):
    return torch.sin(3 * t)[:, None] * x.flip(1) - x


@pytest.mark.parametrize("method", [HEUN, RK4, DOPRI5])
@pytest.mark.parametrize("times", [torch.linspace(0, 1, 6), torch.tensor([1.0, 0.3, 0.2])])
def test_the_end_of_a_solve_is_its_last_state(method, times, generator):
    x_0 = torch.randn(7, 2, generator=generator)
    whole = solve(bend, x_0, times, method)
    end, nfe = solve_end(bend, x_0, times, method)
    assert torch.equal(end, whole.x)
    assert nfe == whole.nfe


def test_a_sample_holds_no_trajectory(generator):
    x = sample(bend, torch.randn(7, 2, generator=generator), steps=50)
    flow = CNF(bend, (2,), method=HEUN, steps=50)
    for kept in (x, flow.sample(7, generator=generator)):
        assert kept.untyped_storage().nbytes() == kept.numel() * kept.element_size()


@pytest.mark.parametrize("width", [4, 16, 63])
def test_a_narrow_made_still_reads_what_comes_late(width, generator):
    """With fewer units than coordinates the last output depends on inputs of the whole range."""
    torch.manual_seed(0)
    net = MADE(64, 1, width=width)
    nn.init.normal_(net.net[-1].weight, generator=generator)
    x = torch.randn(40, 64, generator=generator)
    jacobian = torch.autograd.functional.jacobian(lambda x: net(x)[:, -1].sum(), x)
    assert torch.nonzero(jacobian.abs().sum(0)).flatten().tolist() == list(range(63))


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_the_tails_of_a_spline_are_the_identity(scale, generator):
    spline = RationalQuadraticSpline(8, 5.0)
    theta = scale * torch.randn(spline.num_params, 5000, generator=generator)
    for x in (torch.full((5000,), 6.0), torch.full((5000,), -6.0)):
        for way in (spline.forward, spline.inverse):
            z, log_slope = way(x, theta)
            assert torch.equal(z, x)
            assert torch.equal(log_slope, torch.zeros(5000))
    inside = torch.tensor([5.0, -5.0])[:, None].expand(2, 5000)  # the last points of the spline itself
    for end in inside:
        z, log_slope = spline.forward(end, theta)
        torch.testing.assert_close(z, end, rtol=0, atol=1e-5)
        assert log_slope.abs().max() < 1e-5


def test_semidefinite_covariances_are_taken(generator):
    for _ in range(50):
        a = torch.randn(3, 1, generator=generator)
        GaussianMixture(torch.zeros(1, 3), (a @ a.T)[None])
    with pytest.raises(InputError, match=r"covariance.*no negative variance"):
        GaussianMixture(torch.zeros(1, 2), torch.diag(torch.tensor([1.0, -0.01]))[None])
    with pytest.raises(InputError, match=r"covariance.*finite"):
        GaussianMixture(torch.zeros(1, 2), math.nan)


def test_points_have_no_density():
    points = GaussianMixture(torch.zeros(3, 2), 0.0)
    for ask in (lambda: points.log_prob(torch.zeros(1, 2)), points.entropy):
        with pytest.raises(InputError, match=r"covariance.*no density"):
            ask()


@pytest.mark.parametrize("apart", [0.0, 1000.0])
def test_an_entropic_plan_does_not_care_where_the_sets_are(apart, generator):
    x_0, x_1 = torch.randn(2, 64, 32, generator=generator)
    here = entropic_plan(x_0.double(), x_1.double(), reg=8.0)
    there = entropic_plan(x_0 + 1000, x_1 + 1000 + apart, reg=8.0)
    torch.testing.assert_close(there.double(), here, rtol=0, atol=1e-3 * float(here.max()))


def test_a_constant_field_has_no_divergence(generator):
    x, shift = torch.randn(5, 2, generator=generator), torch.ones(2, requires_grad=True)
    for f in (torch.ones_like, lambda x: shift.expand_as(x), lambda x: 2 * torch.ones_like(x) + 0 * x):
        assert torch.equal(divergence(f, x)[1], torch.zeros(5))
        assert torch.equal(hutchinson(f, x, torch.ones_like(x))[1], torch.zeros(5))
    density = CNF(lambda x, t, c: torch.ones_like(x), (2,)).log_prob(x)
    torch.testing.assert_close(density, -0.5 * (x - 1).square().sum(1) - math.log(2 * math.pi), rtol=1e-5, atol=1e-5)
    CNF(lambda x, t, c: shift.expand_as(x), (2,)).log_prob(x).sum().backward()
    torch.testing.assert_close(shift.grad, (x - 1).sum(0), rtol=1e-4, atol=1e-4)


def test_times_stay_within_zero_and_one(monkeypatch):
    assert CosMap().quantile(torch.ones(1)) <= 1
    monkeypatch.setattr(torch, "rand", lambda *size, **kwargs: torch.full(size, 1 - 2**-24))
    assert Stratified(CosMap()).sample(4096).max() <= 1
    assert Stratified().sample(4096).max() < 1
    for law in (LogitNormal(0.0, 1.0), LogitNormal(2.0, 2.5)):
        assert law.density(torch.tensor([0.0, 1.0])).tolist() == [0, 0]


def test_labels_of_every_integer_type_are_labels(generator):
    net, x = MADE(2, 1, condition=3), torch.randn(4, 2, generator=generator)
    nn.init.normal_(net.net[-1].weight, generator=generator)
    c = torch.tensor([0, 1, 2, 1])
    assert torch.equal(net(x, c.int()), net(x, c))


def test_what_has_no_answer_says_so():
    x, t = torch.ones(2, 2), torch.tensor([0.5, 1.0])
    with pytest.raises(InputError, match="t: "):
        change_path(bend, OT(), VP())(x, t)
    with pytest.raises(InputError, match=r"predict.*noise of its own"):
        flow_matching(bend, x, x, path=Tube(0.5), predict="score")
    with pytest.raises(InputError, match=r"betas.*above 0"):
        alpha_bar(torch.tensor([0.0, 0.1, 0.2]))
    with pytest.raises(InputError, match=r"steps.*at least 1"):
        sd3_times(0)


def test_autoguidance_needs_no_condition_and_null_may_be_a_number():
    x, t, c = torch.ones(2, 2), torch.tensor([0.2, 0.8]), torch.tensor([0, 1])
    strong, weak = (lambda x, t, c, k=k: k * x for k in (2, 1))
    torch.testing.assert_close(guide(strong, 3.0, weak=weak)(x, t, None), 4 * x)

    def labelled(x, t, c):
        return c[:, None] * x

    for null in (10, torch.tensor(10), torch.tensor([10])):
        torch.testing.assert_close(guide(labelled, 2.0, null=null)(x, t, c), (2 * c[:, None] - 10) * x)


@pytest.mark.parametrize(
    ("cure", "end"),
    [
        ("a larger batch", "A larger batch."),
        ("t.expand(len(x)) makes one", "t.expand(len(x)) makes one."),
        ("pip install 'flowlib[fid]'", "pip install 'flowlib[fid]'."),
        ("x / 127.5 - 1 for bytes", "x / 127.5 - 1 for bytes."),
    ],
)
def test_a_cure_that_is_code_can_be_pasted(cure, end):
    assert str(InputError("x", expected="y", got="z", cure=cure)).endswith(f"got z. {end}")
