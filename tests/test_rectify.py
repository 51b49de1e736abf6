"""Reflow and distillation: against the exact field of Gaussians, where every map is known."""

import itertools

import pytest
import torch

from flowlib.densities import Gaussian, GaussianMixture
from flowlib.errors import InputError
from flowlib.models import MLP
from flowlib.objectives import flow_matching
from flowlib.objectives.distillation import distillation, perceptual
from flowlib.paths import OT, exact_velocity
from flowlib.rectify import Pairs, converge, distill, flow_pairs, reflow, straightness, transport_cost
from flowlib.sampling import sample
from flowlib.solvers import DOPRI5, EULER, MIDPOINT

S, V, MEAN, STD = 0.1717, 0.6283, 2.0, 0.4  # of N(0, 1) -> N(2, 0.4^2), formulas of Liu et al. 2023 by quadrature


def known():
    target = Gaussian(torch.tensor([MEAN]), STD**2)
    exact = exact_velocity(OT(), target)
    return (lambda x, t, c=None: exact(x, t)), target


def affine_fit(loss, pairs):
    """Exact minimiser of flow matching on Gaussian pairs: at each t the regression of x_1 - x_0 on x_t is affine."""
    x_0, x_1 = pairs.x_0, pairs.x_1

    def v(x, t, c=None):
        s = float(t[0])
        x_t, d = s * x_1 + (1 - s) * x_0, x_1 - x_0
        centred = x_t - x_t.mean(0)
        slope = (centred * (d - d.mean(0))).mean(0) / centred.square().mean(0)
        return d.mean(0) + slope * (x - x_t.mean(0))

    return v


# ---------------------------------------------------------------- what is known


@pytest.mark.parametrize("means", [[[2.0, 0.0]], [[2.0, 1.0], [-1.0, 2.0]]])
def test_cost_of_random_pairs_is_cost_of_flow_pairs_plus_bend_plus_crossing(float64, generator, means):
    target = GaussianMixture(torch.tensor(means), 0.16)
    exact = exact_velocity(OT(), target)
    v = lambda x, t, c=None: exact(x, t)  # noqa: E731
    x_0, x_1 = torch.randn(40_000, 2, generator=generator), target.sample(40_000, generator)
    with_crossing = flow_matching(v, x_0, x_1, generator=generator) * 2  # a mean over both coordinates
    pairs = flow_pairs(v, x_0[:4000], tolerance=1e-4)
    right = transport_cost(*pairs[:2]).value + straightness(v, x_0[:4000]).value + float(with_crossing)
    left = transport_cost(x_0, x_1)
    assert right == pytest.approx(left.value, rel=0.02)


def test_straightness_and_crossing_of_the_known_pair(float64, generator):
    v, target = known()
    x_0, x_1 = torch.randn(20_000, 1, generator=generator), target.sample(20_000, generator)
    bend = straightness(v, x_0, steps=200)
    assert abs(bend.value - S) < 4 * bend.error + 1e-4
    assert float(flow_matching(v, x_0, x_1, generator=generator)) == pytest.approx(V, abs=0.03)


def test_the_flow_pairs_gaussians_by_the_optimal_map(float64, generator):
    mean, root = torch.tensor([1.0, -2.0]), torch.tensor([[1.2, 0.4], [0.4, 0.5]])  # a symmetric square root
    exact = exact_velocity(OT(), Gaussian(mean, root @ root))
    x_0 = torch.randn(200, 2, generator=generator)
    pairs = flow_pairs(lambda x, t, c: exact(x, t), x_0, tolerance=1e-4)
    torch.testing.assert_close(pairs.x_1, mean + x_0 @ root, rtol=0, atol=1e-3)


def test_reflow_of_gaussians_is_straight_and_keeps_the_optimal_map(float64, generator):
    v, _ = known()
    x_0 = torch.randn(2000, 1, generator=generator)
    costs = []
    for pairs, straight in reflow(v, x_0, affine_fit, rounds=2, tolerance=1e-5):
        costs.append(transport_cost(*pairs[:2]).value)
        assert straightness(straight, x_0).value < 1e-8
        for steps in (1, 7):
            torch.testing.assert_close(
                sample(straight, x_0, steps=steps, method=EULER), MEAN + STD * x_0, atol=1e-4, rtol=0
            )
    assert costs[0] == pytest.approx(costs[1], rel=1e-4)


def test_a_learned_reflow_and_a_learned_student_find_the_linear_map(generator):
    """In one step within 0.12 and 0.02 rms of 2 + 0.4 x_0; the first flow lands on 2 from everywhere, 0.4 off."""
    v, _ = known()
    x_0 = torch.randn(4000, 1, generator=generator)

    def fit(loss, pairs):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = MLP(1, width=32, depth=2)
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
        for batch in itertools.islice(pairs.batches(256, generator), 300):
            optimizer.zero_grad()
            loss(net, *batch).backward()
            optimizer.step()
            falling.step()
        return net

    def error(field):
        end = sample(field, x_0, steps=1, method=EULER)
        return float((end - MEAN - STD * x_0).square().mean().sqrt())

    (round_2,) = reflow(v, x_0, fit)
    assert error(v) == pytest.approx(STD, abs=0.02)
    assert error(round_2.v) < 0.12
    assert straightness(round_2.v, x_0).value < 0.03 * S
    assert error(distill(v, x_0, fit).v) < 0.02


def test_convex_costs_do_not_rise_through_a_flow(generator):
    target = GaussianMixture(torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 3.0]]), 0.05)
    exact = exact_velocity(OT(), target)
    x_0, x_1 = torch.randn(4000, 2, generator=generator), target.sample(4000, generator)
    pairs = flow_pairs(lambda x, t, c: exact(x, t), x_0)
    for power in (1, 1.5, 2, 4):
        before, after = transport_cost(x_0, x_1, power=power), transport_cost(*pairs[:2], power=power)
        assert after.value < before.value + 3 * (after.error + before.error)
    assert transport_cost(*pairs[:2]).value < 0.9 * transport_cost(x_0, x_1).value


def test_transport_cost_by_hand():
    x_0, x_1 = torch.zeros(2, 2), torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    assert [transport_cost(x_0, x_1, power=p).value for p in (1, 2, 4)] == [3.0, 13.0, 313.0]


# ---------------------------------------------------------------- pairs


def test_pairs_are_solved_until_they_settle(float64, generator):
    v, _ = known()
    x_0 = torch.randn(100, 1, generator=generator)
    found = [converge(v, x_0, tolerance=tolerance) for tolerance in (1e-2, 1e-4, 1e-6)]
    assert found[0][0] < found[1][0] < found[2][0]
    for (_, end), tolerance in zip(found, (1e-2, 1e-4, 1e-6), strict=True):
        assert float((end - MEAN - STD * x_0).square().mean().sqrt()) < tolerance
    few = sample(v, x_0, steps=4, method=EULER)  # what a hasty generation would have stored
    assert float((few - MEAN - STD * x_0).square().mean().sqrt()) > 0.02


def test_a_given_number_of_steps_is_used(float64, generator):
    v, _ = known()
    x_0 = torch.randn(10, 1, generator=generator)
    torch.testing.assert_close(flow_pairs(v, x_0, steps=3).x_1, sample(v, x_0, steps=3, method=MIDPOINT))


def test_each_start_goes_under_its_own_condition():
    x_0, c = torch.zeros(7, 1), torch.arange(7)
    pairs = flow_pairs(lambda x, t, c: c[:, None].expand_as(x).to(x), x_0, c, batch_size=3)
    torch.testing.assert_close(pairs.x_1[:, 0], c.float())
    assert pairs.c is c


@pytest.mark.parametrize("with_c", [False, True])
def test_batches_keep_pairs_together_and_see_each_once_a_pass(generator, with_c):
    x_0 = torch.randn(10, 2, generator=generator)
    stream = Pairs(x_0, x_0 + 5, torch.arange(10) if with_c else None).batches(5, generator)
    first, second = next(stream), next(stream)
    assert len(first) == 2 + with_c
    for batch in (first, second):
        torch.testing.assert_close(batch[1] - batch[0], torch.full((5, 2), 5.0))
        if with_c:
            torch.testing.assert_close(batch[0], x_0[batch[2]])
    seen = torch.cat([first[0], second[0]])
    torch.testing.assert_close(seen.sort(0).values, x_0.sort(0).values)


def test_redrawn_noise_trains_another_flow(float64, generator):
    """A loader that shuffles x_0 against x_1 teaches the crowd, not the pairs: its loss cannot fall below V."""
    v, _ = known()
    x_0 = torch.randn(4000, 1, generator=generator)
    pairs = flow_pairs(v, x_0, tolerance=1e-4)
    straight = affine_fit(flow_matching, pairs)
    at_0 = lambda x_0, x_1: float(distillation(straight, x_0, x_1))  # noqa: E731
    assert at_0(pairs.x_0, pairs.x_1) < 1e-6
    assert at_0(pairs.x_0[torch.randperm(4000, generator=generator)], pairs.x_1) > 0.3 * STD**2


def test_rounds_start_from_the_flow_before(float64):
    """Each round pairs with the field that the last one returned, and hands on the loss that its name says."""
    losses = []

    def fit(loss, pairs):
        losses.append(loss)
        return lambda x, t, c: torch.full_like(x, 1 + 2 * float((pairs.x_1 - pairs.x_0).mean()))

    rounds = list(reflow(lambda x, t, c: torch.ones_like(x), torch.zeros(4, 1), fit, rounds=3))
    assert [float(r.pairs.x_1[0]) for r in rounds] == [1, 3, 7]
    assert losses == [flow_matching] * 3
    student = distill(lambda x, t, c: torch.ones_like(x), torch.zeros(4, 1), fit, steps=4, reverse=True)
    assert float(student.pairs.x_1[0]) == 1
    assert losses[-1].func is distillation
    assert losses[-1].keywords == {"steps": 4, "distance": None, "reverse": True}


# ---------------------------------------------------------------- the loss of a student


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_student_is_asked_on_its_own_grid(float64, generator, steps, reverse):
    seen = []

    def v(x, t, c):
        seen.append(t)
        return torch.zeros_like(x)

    x_0, x_1 = torch.randn(2, 2000, 3, generator=generator)
    loss = distillation(v, x_0, x_1, steps=steps, reverse=reverse, generator=generator)
    torch.testing.assert_close(loss, (x_1 - x_0).square().mean())
    times, counts = seen[0].unique(return_counts=True)
    grid = torch.arange(steps) / steps
    torch.testing.assert_close(times, (1 - grid).flip(0) if reverse else grid)
    assert bool(((counts / 2000 - 1 / steps).abs() < 0.06).all())


@pytest.mark.parametrize("reverse", [False, True])
def test_a_student_of_one_step_can_be_perfect_and_solves_in_one_step(float64, generator, reverse):
    x_0 = torch.randn(50, 2, generator=generator)
    x_1 = torch.stack([x_0[:, 1] ** 3, x_0[:, 0]], 1)  # invertible, and its lines cross
    jump = lambda x, t, c=None: x_1 - x_0  # noqa: E731
    assert float(distillation(jump, x_0, x_1, reverse=reverse)) == 0
    there = x_1 - jump(x_1, None) if reverse else x_0 + jump(x_0, None)
    torch.testing.assert_close(there, x_0 if reverse else x_1)


def test_a_student_of_two_steps_cannot_where_lines_cross(float64):
    x_0, x_1 = torch.tensor([[-1.0], [1.0]]), torch.tensor([[1.0], [-1.0]])
    best = lambda x, t, c=None: torch.where(t[:, None] == 0, -2 * x, torch.zeros_like(x))  # noqa: E731
    losses = torch.stack([distillation(best, x_0, x_1, steps=2) for _ in range(400)])
    assert float(losses.mean()) == pytest.approx(2.0, abs=0.3)  # half of the times, a velocity of +-2 unexplained


@pytest.mark.parametrize("reverse", [False, True])
def test_a_distance_judges_the_end_that_the_student_heads_for(float64, generator, reverse):
    x_0, x_1 = torch.randn(2, 6, 1, 2, 2, generator=generator)
    same = [torch.Generator().manual_seed(3) for _ in range(2)]
    v = lambda x, t, c=None: 0.5 * x + t.reshape(-1, 1, 1, 1)  # noqa: E731
    loss = distillation(v, x_0, x_1, steps=3, reverse=reverse, generator=same[0],
                        distance=lambda a, b: (a - b).abs().mean())  # fmt: skip
    t = torch.randint(3, (6,), generator=same[1]).double() / 3
    t = (1 - t if reverse else t).reshape(-1, 1, 1, 1)
    x_t = t * x_1 + (1 - t) * x_0
    end, goal = (x_t - t * v(x_t, t), x_0) if reverse else (x_t + (1 - t) * v(x_t, t), x_1)
    torch.testing.assert_close(loss, (end - goal).abs().mean())


def test_the_perceptual_distance_adds_features(float64, generator):
    x, y = torch.randn(2, 5, 1, 4, 4, generator=generator)
    features = lambda x: x.flatten(1)[:, :3] ** 2  # noqa: E731
    want = (x - y).square().mean() + 0.5 * (features(x) - features(y)).square().mean()
    torch.testing.assert_close(perceptual(features, 0.5)(x, y), want)


# ---------------------------------------------------------------- mistakes


def jumping(x, t, c):
    return torch.sin(3000 * t)[:, None] * 300 * torch.ones_like(x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: transport_cost(torch.zeros(2, 1), torch.zeros(2, 1), power=0.5), "power: expected at least 1"),
        (lambda: transport_cost(torch.zeros(2, 1), torch.zeros(3, 1)), r"x_0: expected the shape of x_1, \(3, 1\)"),
        (lambda: flow_pairs(jumping, torch.zeros(2, 1)), "v: expected a field whose flow settles to 0.001 in 1024"),
        (lambda: flow_pairs(jumping, torch.zeros(2, 1), tolerance=0), "tolerance: expected a positive number"),
        (lambda: flow_pairs(jumping, torch.zeros(2, 1), method=DOPRI5), "method: expected a method of fixed steps"),
        (lambda: flow_pairs(jumping, torch.zeros(2, 1), torch.zeros(3)), "c: expected one condition a start, 2, got 3"),
        (lambda: flow_pairs(jumping, torch.full((2, 1), torch.nan)), "x_0: expected finite numbers"),
        (lambda: next(reflow(jumping, torch.zeros(2, 1), affine_fit, rounds=0)), "rounds: expected at least 1, got 0"),
        (lambda: distillation(jumping, torch.zeros(2, 1), torch.zeros(2, 1), steps=0), "steps: expected at least 1"),
        (
            lambda: next(Pairs(torch.zeros(4, 1), torch.zeros(4, 1)).batches(5, torch.Generator())),
            "batch_size: expected 1 to 4",
        ),
    ],
)
def test_mistakes_are_told(unchecked, call, message):
    with pytest.raises(InputError, match=message):
        call()
