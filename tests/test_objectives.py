"""The flow-matching loss: its floor, its minimiser, its gradient."""

import pytest
import torch
from torch import nn

from flowlib.densities import Gaussian, eight_gaussians
from flowlib.errors import InputError
from flowlib.objectives import Uniform, flow_matching, loss_at, same_loss
from flowlib.paths import OT, VE, VP, Cosine, exact_velocity

pytestmark = pytest.mark.usefixtures("float64")


def test_loss_of_the_exact_field_is_the_known_floor(generator):
    """For N(0, 1) to N(2, 0.4^2) the conditional variance of x_1 - x_0, averaged over t, is V = 0.6283."""
    p, n = Gaussian(torch.tensor([2.0]), 0.16), 200_000
    x_0, x_1 = torch.randn(n, 1, generator=generator), p.sample(n, generator)
    loss = flow_matching(exact_velocity(OT(), p), x_0, x_1, generator=generator)
    assert float(loss) == pytest.approx(0.6283, abs=0.006)


@pytest.mark.parametrize("path", [OT(), VP(), VE(0.1, 10.0), Cosine()], ids=str)
def test_exact_field_is_a_minimum(path, generator):
    """A small push in any direction raises the loss: the excess is the mean square of the push."""
    p, n = eight_gaussians(), 40_000
    x_0, x_1 = torch.randn(n, 2, generator=generator), p.sample(n, generator)
    v = exact_velocity(path, p)

    def loss(push):
        same_t = torch.Generator().manual_seed(1)
        return float(
            flow_matching(lambda x, t, c: v(x, t) + push * torch.sin(x), x_0, x_1, path=path, generator=same_t)
        )

    up, down, middle = loss(0.3), loss(-0.3), loss(0.0)
    assert middle < min(up, down)
    x_t = path.sample(x_0, x_1, Uniform().sample(n, torch.Generator().manual_seed(1)).to(x_1)).x_t
    excess = 0.09 * float(x_t.sin().square().mean())
    assert (up + down) / 2 - middle == pytest.approx(excess, rel=1e-6)


def test_conditional_and_marginal_gradients_agree(generator):
    """Lipman et al. 2023, theorem 2: regressing on dx_t or on E[dx_t | x_t] pulls the parameters the same way."""
    p, n = eight_gaussians(), 200_000
    x_0, x_1 = torch.randn(n, 2, generator=generator), p.sample(n, generator)
    exact, field = exact_velocity(OT(), p), nn.Linear(3, 2)

    def v(x, t, c=None):
        return field(torch.cat([x, t[:, None]], 1))

    flow_matching(v, x_0, x_1, generator=torch.Generator().manual_seed(2)).backward()
    conditional = torch.cat([q.grad.flatten() for q in field.parameters()])
    field.zero_grad()
    t = Uniform().sample(n, torch.Generator().manual_seed(2))
    x_t = OT().sample(x_0, x_1, t).x_t
    (v(x_t, t) - exact(x_t, t)).square().mean().backward()
    marginal = torch.cat([q.grad.flatten() for q in field.parameters()])
    torch.testing.assert_close(conditional, marginal, rtol=0, atol=0.05)


@pytest.mark.parametrize("path", [OT(), VP(), VE(0.1, 10.0), Cosine()], ids=str)
@pytest.mark.parametrize("predict", ["velocity", "data", "noise", "score"])
def test_each_prediction_has_its_conditional_mean_as_a_stationary_point(path, predict, generator):
    """The exact quantity beats itself stretched or shrunk: its error is orthogonal to every function of x_t."""
    p, n = eight_gaussians(), 50_000
    x_0, x_1 = torch.randn(n, 2, generator=generator), p.sample(n, generator)
    v = exact_velocity(path, p)

    def exact(x, t, c=None):
        return path.convert(v(x, t), x, t, have="velocity", want=predict)

    def loss(scale):
        same_t, weight = torch.Generator().manual_seed(1), same_loss("noise", predict=predict, path=path)
        numbers = {"path": path, "predict": predict, "weight": weight, "generator": same_t}
        return float(flow_matching(lambda x, t, c: scale * exact(x, t), x_0, x_1, **numbers))

    less, best, more = loss(0.9), loss(1.0), loss(1.1)
    assert best < min(less, more)
    assert (more - less) / 4 == pytest.approx(0, abs=0.15 * ((more + less) / 2 - best))


def test_targets_are_the_named_quantities(generator):
    """With x_0 and x_1 known, the network that returns the named quantity has no loss at all."""
    x_0, x_1 = torch.randn(2, 16, 3, generator=generator)
    path = Cosine()
    for predict in ("velocity", "data", "noise", "score"):

        def net(x, t, c, predict=predict):
            known = path.sample(x_0, x_1, t).dx_t
            return path.convert(known, x, t, have="velocity", want=predict)

        loss = flow_matching(net, x_0, x_1, path=path, predict=predict, generator=torch.Generator().manual_seed(0))
        assert float(loss) < 1e-20


def test_loss_at_a_grid_of_times_averages_to_the_loss(generator):
    x_0, x_1 = torch.randn(2, 20_000, 1, generator=generator)
    v = exact_velocity(OT(), Gaussian(torch.zeros(1), 1.0))
    times = (torch.arange(50) + 0.5) / 50
    losses = loss_at(v, x_0, x_1, times)
    floor = 1 / (times**2 + (1 - times) ** 2)  # c^2 / (t^2 c^2 + (1 - t)^2) at c = 1
    torch.testing.assert_close(losses, floor, rtol=0.05, atol=0)
    assert float(losses.mean()) == pytest.approx(float(flow_matching(v, x_0, x_1, generator=generator)), rel=0.03)
    doubled = loss_at(lambda x, t, c: c * v(x, t), x_0, x_1, times[:1], torch.tensor(2.0))
    assert float(doubled) > float(losses[0])


def test_weight_multiplies_each_sample(generator):
    """A weight that keeps one half of the times is the loss of that half alone, not a constant factor."""
    x_0, x_1, t = (
        torch.zeros(1000, 2),
        torch.ones(1000, 2),
        torch.rand(1000, generator=torch.Generator().manual_seed(5)),
    )
    loss = flow_matching(
        lambda x, t, c: torch.ones_like(x) + t[:, None],
        x_0,
        x_1,
        weight=lambda t: (t > 0.5).to(t),
        generator=torch.Generator().manual_seed(5),
    )
    torch.testing.assert_close(loss, ((t > 0.5) * t**2).mean())


def test_times_stop_where_the_velocity_does(generator):
    """VP has no velocity at t = 1, which a sampler may return once in 2^24 draws."""

    class Last(Uniform):
        def sample(self, n, generator=None):
            return torch.ones(n)

    x = torch.ones(4, 2)
    assert bool(flow_matching(lambda x, t, c: x, x, x, path=VP(), timesteps=Last()).isfinite())


def test_condition_reaches_the_field(generator):
    seen = []

    def v(x, t, c):
        seen.append(c)
        return x

    c = torch.tensor([3, 1])
    flow_matching(v, torch.zeros(2, 2), torch.ones(2, 2), c, generator=generator)
    assert seen[0] is c


def test_uniform_times(generator):
    t = Uniform().sample(10_000, generator)
    assert float(t.min()) >= 0
    assert float(t.max()) < 1
    assert float(t.mean()) == pytest.approx(0.5, abs=4 * 0.289 / 100)
    grid = torch.linspace(-0.5, 1.5, 5)
    assert Uniform().density(grid).tolist() == [0, 1, 1, 1, 0]
    assert Uniform().cdf(grid).tolist() == [0, 0, 0.5, 1, 1]


def test_bad_input(unchecked):
    with pytest.raises(InputError, match=r"x_0: expected the shape of x_1, \(4, 2\), got \(4, 3\)"):
        flow_matching(lambda x, t, c: x, torch.zeros(4, 3), torch.zeros(4, 2))
    with pytest.raises(InputError, match="predict: expected velocity, data, noise or score, got 'epsilon'"):
        flow_matching(lambda x, t, c: x, torch.zeros(4, 2), torch.zeros(4, 2), predict="epsilon")  # type: ignore[arg-type]
