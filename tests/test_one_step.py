"""Average velocities: the exact one satisfies every identity, the losses know it, and jumps follow it."""

import copy
import math
from functools import partial

import pytest
import torch
from laws import reaches_every_parameter
from torch import nn

from flowlib.densities import Gaussian, eight_gaussians
from flowlib.errors import InputError
from flowlib.models import MLP, UNet
from flowlib.objectives import LogitNormal, Uniform, consistency, flow_matching, mean_flow, shortcut
from flowlib.objectives.one_step import _slope
from flowlib.paths import OT, exact_velocity
from flowlib.rectify import flow_pairs
from flowlib.sampling import jump, jump_and_renoise

pytestmark = pytest.mark.usefixtures("float64")
LOSSES = (mean_flow, shortcut, consistency)
C = 0.4  # standard deviation of the Gaussian data, mean 0


def radius(t):
    """R_t, the standard deviation of x_t; the flow keeps x_t / R_t."""
    return ((C * t) ** 2 + (1 - t) ** 2).sqrt()


def narrow(x, t, c=None):
    return exact_velocity(OT(), Gaussian(torch.zeros(x.shape[1]), C**2))(x, t)


def narrow_average(x, t, c=None, *, r):
    """u(x, t, r) = x (R_r / R_t - 1) / (r - t), and v at r = t."""
    length = torch.where(r > t, r - t, 1)
    return torch.where((r > t)[:, None], x * ((radius(r) / radius(t) - 1) / length)[:, None], narrow(x, t))


def ring(x, t, c=None):
    return exact_velocity(OT(), eight_gaussians())(x, t)


def ring_average(x, t, c=None, *, r, steps=24):
    """The average velocity of a mixture's flow, from its path by RK4 over s in [0, 1], at time t + s (r - t)."""
    length, h, z = r - t, 1 / steps, x

    def slope(z, s):
        return length[:, None] * ring(z, t + s * length)

    for k in range(steps):
        a = slope(z, k * h)
        b = slope(z + h / 2 * a, (k + 0.5) * h)
        c = slope(z + h / 2 * b, (k + 0.5) * h)
        z = z + h / 6 * (a + 2 * b + 2 * c + slope(z + h * c, (k + 1) * h))
    return torch.where((r > t)[:, None], (z - x) / torch.where(r > t, length, 1)[:, None], ring(x, t))


CASES = [(narrow, narrow_average, 1e-10), (ring, ring_average, 3e-4)]
by_case = pytest.mark.parametrize(("v", "u", "close"), CASES, ids=["Gaussian", "mixture"])


def somewhere(generator, n=20):
    """Points and two times, the later one second, away from each other and from the ends."""
    t, r = torch.rand(2, n, generator=generator).sort(0).values * 0.8
    return torch.randn(n, 2, generator=generator), t, r + 0.1


# ---------------------------------------------------------------- the identities, on flows that are known


@by_case
def test_mean_flow_identity(v, u, close, generator):
    """u = v + (r - t) du/dt along (v, 1, 0); the other sign, that of papers whose time is 1 at noise, is far off."""
    x, t, r = somewhere(generator)
    du = _slope(u, x, t, r, None, v(x, t))
    torch.testing.assert_close(u(x, t, r=r), v(x, t) + (r - t)[:, None] * du, rtol=0, atol=close)
    wrong = v(x, t) - (r - t)[:, None] * du
    assert float((u(x, t, r=r) - wrong).norm(dim=1).mean()) > 0.3


@by_case
def test_two_halves_make_a_jump(v, u, close, generator):
    x, t, r = somewhere(generator)
    middle = (t + r) / 2
    first = u(x, t, r=middle)
    second = u(x + (middle - t)[:, None] * first, middle, r=r)
    torch.testing.assert_close(u(x, t, r=r), (first + second) / 2, rtol=0, atol=close)


@by_case
def test_the_end_does_not_change_along_the_path(v, u, close, generator):
    """f(x, t) = x + (1 - t) u(x, t, 1): a constant along each path, x itself at t = 1."""
    x, t, r = somewhere(generator)
    one = torch.ones_like(t)
    there = x + (r - t)[:, None] * u(x, t, r=r)
    ends = [y + (1 - s)[:, None] * u(y, s, r=one) for y, s in ((x, t), (there, r), (x, one))]
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=close)
    assert torch.equal(ends[2], x)


# ---------------------------------------------------------------- the losses, at the exact average velocity


def pairs_that_meet(v, x, t):
    """Ends of the line that passes x at time t with the velocity of the flow: then dx_t has nothing to average."""
    return x - t[:, None] * v(x, t), x + (1 - t)[:, None] * v(x, t)


@by_case
def test_mean_flow_is_zero_at_the_exact_u(v, u, close, generator):
    x, same = torch.randn(20, 2, generator=generator), torch.Generator().manual_seed(4)
    a, b = (Uniform().sample(20, same) for _ in range(2))  # the times that the loss will draw
    x_0, x_1 = pairs_that_meet(v, x, torch.minimum(a, b))
    loss = partial(mean_flow, x_0=x_0, x_1=x_1, plain=0.0)
    assert float(loss(u, generator=torch.Generator().manual_seed(4))) < close**2
    for wrong in (lambda x, t, c, r: v(x, t), lambda x, t, c, r: u(x, t, r=torch.ones_like(t))):
        assert float(loss(wrong, generator=torch.Generator().manual_seed(4))) > 0.01


def velocity(x, t, c=None, *, r):
    """The wrong answer that is right at r = t."""
    return narrow(x, t)


def test_shortcut_is_zero_at_the_exact_u(generator):
    """But for Euler's error in the shortest halves, a row in twelve, of d = 1/4096."""
    x_0, x_1 = torch.randn(2, 400, 2, generator=generator)
    loss = partial(shortcut, x_0=x_0, x_1=x_1, steps=4096, plain=0.0, generator=generator)
    assert float(loss(narrow_average)) < 1e-7
    assert float(loss(velocity)) > 1e-3


def test_consistency_with_a_teacher_is_zero_at_the_exact_u(generator):
    """But for the error of one midpoint step, of order 3 in 1/N."""
    x_0, x_1 = torch.randn(2, 400, 2, generator=generator)
    loss = partial(consistency, x_0=x_0, x_1=x_1, teacher=narrow, generator=generator)
    assert float(loss(narrow_average, steps=64)) < 1e-3 * float(loss(narrow_average, steps=8)) < 1e-3
    assert float(loss(velocity, steps=64)) > 1e-3


def test_consistency_with_a_teacher_stays_on_its_path(generator):
    """Without one, x_t' lies on the line from x_0 to x_1, and the loss is that of the lines that cross."""
    x_0, x_1 = torch.randn(400, 2, generator=generator), C * torch.randn(400, 2, generator=generator)
    loss = partial(consistency, narrow_average, x_0, x_1, steps=64, generator=generator)
    assert float(loss(teacher=narrow)) < 1e-6 < 1e-3 < float(loss())


def test_every_loss_is_zero_on_pairs_whose_lines_do_not_cross(generator):
    """x_1 = c x_0: the flow is straight, and u is its velocity, whatever r."""
    x_0 = torch.randn(200, 2, generator=generator)

    def u(x, t, c=None, *, r):
        return x * ((C - 1) / (1 - t + t * C))[:, None]

    for loss in LOSSES:
        assert float(loss(u, x_0, C * x_0, generator=generator)) < 1e-20


@pytest.mark.parametrize("loss", [mean_flow, shortcut])
def test_plain_rows_are_flow_matching(loss, generator):
    net = MLP(2, width=8, average=True)
    x_0, x_1 = torch.randn(2, 30, 2, generator=generator)
    got, want = (
        f(net, x_0, x_1, generator=torch.Generator().manual_seed(3)) for f in (partial(loss, plain=1.0), flow_matching)
    )
    assert torch.equal(got, want)
    mixed = loss(net, x_0, x_1, plain=0.5, generator=torch.Generator().manual_seed(3))
    assert not torch.equal(mixed, want)


def test_shortest_halves_are_euler_steps(generator):
    """With steps = 2 the one jump is from 0 to 1, and its halves are Euler's, of length 1/2."""
    x_0, x_1 = torch.randn(2, 40, 2, generator=generator)

    def u(x, t, c=None, *, r):
        return (x + 1) * (1 + t + 3 * (r - t) ** 2)[:, None]

    first = x_0 + 1
    target = (first + (x_0 + first / 2 + 1) * 1.5) / 2
    want = (4 * first - target).square().mean()
    torch.testing.assert_close(shortcut(u, x_0, x_1, steps=2, plain=0.0, generator=generator), want)


def test_shortcut_jumps_between_points_of_their_grid(generator):
    asked = []

    def u(x, t, c=None, *, r):
        asked.append((t, r - t))
        return x

    shortcut(u, *torch.randn(2, 4000, 2, generator=generator), steps=16, plain=0.25, generator=generator)
    t, length = asked[-1]
    assert bool((length[:1000] == 0).all())
    lengths, counts = length[1000:].unique(return_counts=True)
    assert lengths.tolist() == [1 / 8, 1 / 4, 1 / 2, 1]
    assert float((counts / 3000 - 0.25).abs().max()) < 0.04
    assert bool((t[1000:] % length[1000:] == 0).all())
    assert float((t + length).max()) <= 1


def test_consistency_ends_at_the_data(generator):
    """At the last t the target is x_1 - x_0, with N = 1 that of every row; asked is r = 1 and nothing else."""
    x_0, x_1 = torch.randn(2, 20, 3, generator=generator)

    def u(x, t, c=None, *, r):
        assert bool((r == 1).all())
        return 2 * x

    torch.testing.assert_close(consistency(u, x_0, x_1, steps=1), (2 * x_0 - (x_1 - x_0)).square().mean())


# ---------------------------------------------------------------- networks


def picture_net():
    torch.manual_seed(0)
    net = UNet(1, 10, width=8, blocks=1, average=True)
    for p in net.parameters():  # away from the zeros of the start
        nn.init.normal_(p, std=0.1)
    return net


def pictures(generator, n=6):
    x_0, x_1 = torch.randn(2, n, 1, 4, 8, generator=generator)
    return x_0, x_1, torch.arange(n)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_parameter_gets_a_gradient(loss, generator):
    net = picture_net()
    reaches_every_parameter(loss(net, *pictures(generator), generator=generator), net)
    points = MLP(2, width=8, average=True)
    reaches_every_parameter(loss(points, *torch.randn(2, 8, 2, generator=generator), generator=generator), points)


@pytest.mark.parametrize(("loss", "calls"), [(mean_flow, 2), (shortcut, 3), (consistency, 2)])
def test_targets_are_held_fixed(loss, calls, generator):
    """The gradient is the same where a frozen copy of the network answers for all but the last evaluation."""
    net, batch = MLP(2, width=8, average=True), torch.randn(2, 30, 2, generator=generator)
    frozen, asked, grads = copy.deepcopy(net).requires_grad_(False), [], []

    def half_frozen(x, t, c=None, *, r):
        asked.append(r)
        return (net if len(asked) == calls else frozen)(x, t, r=r)

    for u in (half_frozen, net):
        net.zero_grad()
        loss(u, *batch, generator=torch.Generator().manual_seed(2)).backward()
        grads.append([p.grad.clone() for p in net.parameters()])
    assert len(asked) == calls
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


@pytest.mark.parametrize("loss", LOSSES)
def test_a_seed_fixes_the_loss_and_pictures_of_any_shape_pass(loss, generator):
    net, batch = picture_net(), pictures(generator)
    same = [float(loss(net, *batch, generator=torch.Generator().manual_seed(seed)).detach()) for seed in (1, 1, 2)]
    assert same[0] == same[1] != same[2]
    assert math.isfinite(same[0])
    state = torch.get_rng_state()
    loss(net, *batch, generator=generator)
    assert torch.equal(torch.get_rng_state(), state)


def test_slope_is_the_difference_along_the_line_with_r_fixed(generator):
    """Through attention, whose fused kernel has no such derivative."""
    net, (x, dx, c) = picture_net(), pictures(generator)
    t, r, h = torch.linspace(0.1, 0.5, 6), torch.linspace(0.6, 0.9, 6), 1e-6
    difference = (net(x + h * dx, t + h, c, r=r) - net(x - h * dx, t - h, c, r=r)) / (2 * h)
    torch.testing.assert_close(_slope(net, x, t, r, c, dx), difference, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [partial(MLP, 2, width=8), partial(UNet, 1, width=8, blocks=1)])
def test_a_second_time_is_an_option(make, generator):
    """Off: the old network, weight by weight. On: r matters, and left out it is t."""
    torch.manual_seed(1)
    old = make()
    torch.manual_seed(1)
    off = make(average=False)
    assert {k: v.tolist() for k, v in old.state_dict().items()} == {k: v.tolist() for k, v in off.state_dict().items()}
    assert not any("length" in name for name in old.state_dict())
    net = make(average=True)
    for p in net.parameters():
        nn.init.normal_(p, std=0.5)
    x = torch.randn(3, 2) if isinstance(net, MLP) else torch.randn(3, 1, 4, 8)
    t, r = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 0.9, 1.0])
    assert torch.equal(net(x, t), net(x, t, r=t))
    assert float((net(x, t, r=r) - net(x, t)).abs().max()) > 1e-3


def test_times_come_from_the_density_that_is_named(generator):
    seen = []

    def u(x, t, c=None, *, r):
        seen.append((t, r))
        return x

    mean_flow(u, *torch.randn(2, 4000, 1), plain=0.0, timesteps=LogitNormal(2.0, 0.1), generator=generator)
    t, r = seen[-1]
    assert bool((t <= r).all())
    assert float(torch.cat([t, r]).logit().mean()) == pytest.approx(2.0, abs=0.01)


# ---------------------------------------------------------------- sampling


@by_case
def test_jumps_end_where_the_flow_does(v, u, close, generator):
    """In one and in three: the exact u knows no error of a step."""
    x_0 = torch.randn(20, 2, generator=generator)
    end = flow_pairs(v, x_0, tolerance=1e-3).x_1
    for steps in (1, 3):
        torch.testing.assert_close(jump(u, x_0, steps=steps), end, rtol=0, atol=3e-3)


def test_renoising_keeps_the_law_and_forgets_the_start(generator):
    x_0 = torch.randn(20_000, 1, generator=generator)
    once, again = (jump_and_renoise(narrow_average, x_0, steps=n, generator=generator) for n in (1, 4))
    torch.testing.assert_close(once, C * x_0)
    assert float(again.std()) == pytest.approx(C, rel=0.03)
    follow = float(torch.corrcoef(torch.cat([x_0, again], 1).T)[0, 1])
    assert abs(follow) < 0.95


def test_conditions_reach_the_network(generator):
    def u(x, t, c, r):
        return c[:, None] * torch.ones_like(x)

    x_0, c = torch.zeros(3, 2), torch.tensor([1.0, 2.0, 3.0])
    for walk in (jump, jump_and_renoise):
        assert torch.equal(walk(u, x_0, c), c[:, None].expand(3, 2))
    for loss in LOSSES:
        assert float(loss(u, x_0, c[:, None].expand(3, 2), c, generator=generator)) < 1e-20


def test_conditions_meet_their_rows(generator):
    """A derivative by time that is c, and a teacher that says c: a row with another's condition would show."""
    x, c, seen = torch.zeros(40, 2), torch.randn(40, generator=generator), []
    along = c[:, None].expand(40, 2)

    def u(x, t, c, r):
        seen.append((t, r))
        return (c * t)[:, None].expand_as(x)

    loss = mean_flow(u, x, along, c, generator=generator)
    t, r = seen[-1]
    torch.testing.assert_close(loss, (c * t - c - (r - t) * c).square().mean())

    def same(x, t, c, r=None):
        return c[:, None].expand_as(x)

    assert float(consistency(same, x, x, c, teacher=same, generator=generator)) < 1e-20


def test_an_average_velocity_is_smooth_in_time(generator):
    """A U-Net's du/dt is of the size of u where it sees 5 t, and hundreds of times that where it sees 1000 t."""
    torch.manual_seed(0)
    net = picture_net().double()
    for p in net.parameters():
        nn.init.normal_(p, std=0.2)
    (x, _, c), t, h = pictures(generator), torch.linspace(0.1, 0.8, 6), 1e-5
    one = torch.ones_like(t)
    slope = (net(x, t + h, c, r=one) - net(x, t - h, c, r=one)) / (2 * h)
    assert float(slope.norm()) < 20 * float(net(x, t, c, r=one).norm())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: mean_flow(narrow_average, x, x, plain=1.5), "plain: expected a share of the rows, 0 to 1, got 1.5"),
        (lambda x: shortcut(narrow_average, x, x, plain=-1), "plain: expected a share"),
        (lambda x: shortcut(narrow_average, x, x, steps=6), "steps: expected a power of two, at least 2, got 6"),
        (lambda x: shortcut(narrow_average, x, x, steps=1), "steps: expected a power of two"),
        (lambda x: consistency(narrow_average, x, x, steps=0), "steps: expected at least 1, got 0"),
        (lambda x: jump(narrow_average, x, steps=0), "steps: expected at least 1, got 0"),
        (lambda x: jump_and_renoise(narrow_average, x, steps=0), "steps: expected at least 1, got 0"),
        (lambda x: mean_flow(narrow_average, x[:, :1], x), r"x_0: expected the shape of x_1, \(3, 2\)"),
        (lambda x: MLP(2)(x, x[:, 0], r=x[:, 0]), "r: expected none, this network has no second time"),
        (lambda x: MLP(2, average=True)(x, x[:, 0], r=x), r"r: expected shape \(3,\), as t, got shape \(3, 2\)"),
        (lambda x: UNet(1)(torch.zeros(3, 1, 8, 8), x[:, 0], r=x[:, 0]), "r: expected none"),
    ],
)
def test_bad_input(call, message, unchecked):
    with pytest.raises(InputError, match=message):
        call(torch.zeros(3, 2))
