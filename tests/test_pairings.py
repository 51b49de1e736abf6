"""Pairings: permutations of least cost, entropic plans, labels that stay, seeds that decide."""

import math

import numpy as np
import ot
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from flowlib.datasets import Labelled, between, from_noise
from flowlib.densities import Gaussian, eight_gaussians
from flowlib.errors import InputError
from flowlib.paths import entropic_plan, independent, optimal_transport, pairings, sinkhorn

pytestmark = pytest.mark.usefixtures("float64")


def squared_distances(x_0, x_1):
    return torch.cdist(x_0.flatten(1), x_1.flatten(1)).square()


def cost(x_0, x_1, index=None):
    x_0 = x_0 if index is None else x_0[index]
    return float((x_0 - x_1).square().sum())


def two_clouds(n, event, generator):
    x_0, x_1 = torch.randn(2, n, *event, generator=generator)
    return x_0, 3 * torch.sign(x_1) + 0.5 * x_1 + 1


@pytest.mark.parametrize("event", [(1,), (2,), (5,), (3, 4, 5), (70,)])
@pytest.mark.parametrize("n", [1, 2, 7, 64, 97, 130, 260])
def test_optimal_transport_is_the_cheapest_permutation(n, event, generator):
    x_0, x_1 = two_clouds(n, event, generator)
    index = optimal_transport(x_0, x_1)
    assert sorted(index.tolist()) == list(range(n))
    least = linear_sum_assignment(squared_distances(x_0, x_1).numpy())
    torch.testing.assert_close(
        cost(x_0, x_1, index), float(squared_distances(x_0, x_1)[least].sum()), rtol=1e-12, atol=0
    )
    assert cost(x_0, x_1, index) <= cost(x_0, x_1)


EVERY_STAGE = tuple((0, reg, sweeps) for _, reg, sweeps in pairings.STAGES)


@pytest.mark.parametrize("stages", [(), EVERY_STAGE])
def test_with_and_without_potentials_the_plan_is_that_of_pot(stages, generator, monkeypatch):
    """Augmenting paths from Sinkhorn's potentials, and alone, against the network simplex."""
    monkeypatch.setattr(pairings, "STAGES", stages)
    for scale in (1.0, 30.0):
        x_0, x_1 = two_clouds(200, (2,), generator)
        x_1 = scale * x_1
        plan = ot.emd([], [], squared_distances(x_0, x_1).numpy())
        assert optimal_transport(x_0, x_1).tolist() == plan.argmax(0).tolist()


@pytest.mark.parametrize("kind", ["the same set", "every point twice", "grid", "line", "outliers"])
@pytest.mark.parametrize("stages", [pairings.STAGES, EVERY_STAGE])
def test_potentials_are_a_start_and_no_more(kind, stages, generator, monkeypatch):
    """Where many permutations tie, or Sinkhorn's potentials are poor, the cost is the least all the same."""
    monkeypatch.setattr(pairings, "STAGES", stages)
    x_0, x_1 = two_clouds(240, (2,), generator)
    x_0, x_1 = {
        "the same set": lambda: (x_1.flip(0), x_1),
        "every point twice": lambda: (x_0[:120].repeat(2, 1), x_1[:120].repeat_interleave(2, 0)),
        "grid": lambda: (x_0.round(), x_1.round()),
        "line": lambda: (x_0[:, :1] * torch.tensor([1.0, 2.0]), x_1[:, :1] * torch.tensor([1.0, 2.0])),
        "outliers": lambda: (torch.cat([x_0[1:], x_0[:1] + 1e4]), torch.cat([x_1[:1] - 1e5, x_1[1:]])),
    }[kind]()
    index = optimal_transport(x_0, x_1)
    assert sorted(index.tolist()) == list(range(240))
    least = squared_distances(x_0, x_1)[linear_sum_assignment(squared_distances(x_0, x_1).numpy())].sum()
    assert cost(x_0, x_1, index) == pytest.approx(float(least), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("n", [30, 150])
def test_moving_and_scaling_change_nothing(n, generator):
    x_0, x_1 = two_clouds(n, (2,), generator)
    index = optimal_transport(x_0, x_1)
    assert torch.equal(index, optimal_transport(50 * x_0 - 7, 0.01 * x_1 + 3))
    assert torch.equal(index, optimal_transport(x_0.float(), x_1.float()))


@pytest.mark.parametrize("d", [2, pairings.LOW, pairings.LOW + 1, 64, 200])
@pytest.mark.parametrize("n", [50, 200])
def test_single_precision_costs_a_millionth(n, d, generator):
    """Pictures of bytes at both ends: far from zero, and the product of two of them has seven digits."""
    x_0, x_1 = (255 * torch.rand(n, d, generator=generator) ** power for power in (1.0, 3.0))
    least = squared_distances(x_0, x_1)
    least = float(least[linear_sum_assignment(least.numpy())].sum())
    assert cost(x_0, x_1, optimal_transport(x_0.float(), x_1.float())) == pytest.approx(least, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("d", [2, 70])
def test_small_types_are_paired_as_the_numbers_they_hold(d, dtype, generator):
    x_0, x_1 = torch.randint(0, 200, (2, 70, d), generator=generator).to(dtype)
    assert torch.equal(optimal_transport(x_0, x_1), optimal_transport(x_0.float(), x_1.float()))


@pytest.mark.parametrize("n", [40, 200, 300])
def test_outliers_do_not_break_the_solver(n, generator):
    x_0, x_1 = two_clouds(n, (2,), generator)
    x_0[0], x_1[-1] = 1e6, -1e5
    least = linear_sum_assignment(squared_distances(x_0, x_1).numpy())
    assert optimal_transport(x_0, x_1).argsort().tolist() == least[1].tolist()


@pytest.mark.parametrize("n", [40, 200, 300])
def test_ties_still_give_a_permutation(n):
    grid = torch.arange(n).remainder(4.0)[:, None].expand(n, 2)
    for x_0, x_1 in ((grid, grid.flip(0)), (torch.zeros(n, 2), grid), (torch.zeros(n, 2), torch.zeros(n, 2))):
        index = optimal_transport(x_0, x_1)
        assert sorted(index.tolist()) == list(range(n))
        assert cost(x_0, x_1, index) <= cost(x_0, x_1)
    assert cost(grid, grid.flip(0), optimal_transport(grid, grid.flip(0))) == 0


def test_on_a_line_transport_sorts(generator):
    x_0, x_1 = two_clouds(150, (1,), generator)
    index = optimal_transport(x_0, x_1)
    assert torch.equal(x_0[index][x_1[:, 0].argsort()], x_0.sort(0).values)


def test_a_shift_is_undone(generator):
    """Transport from a set to its translate is the translation."""
    x_0 = torch.randn(100, 3, generator=generator)
    order = torch.randperm(100, generator=generator)
    assert torch.equal(optimal_transport(x_0, x_0[order] + 20), order)


def test_blocks_are_paired_by_themselves(generator):
    x_0, x_1 = two_clouds(150, (2,), generator)
    index = optimal_transport(x_0, x_1, block=64)
    for start, end in ((0, 64), (64, 128), (128, 150)):
        assert torch.equal(index[start:end], start + optimal_transport(x_0[start:end], x_1[start:end]))
    whole = cost(x_0, x_1, optimal_transport(x_0, x_1))
    assert whole < cost(x_0, x_1, index) < cost(x_0, x_1)


def test_independent_leaves_the_batch_alone(generator):
    x_0, x_1 = two_clouds(9, (2,), generator)
    assert independent(x_0, x_1).tolist() == list(range(9))


@pytest.mark.parametrize("reg", [0.5, 2.0, 50.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_entropic_plan_is_that_of_pot(reg, dtype, generator):
    x_0, x_1 = two_clouds(60, (2,), generator)
    tight, loose = (1e-10, 1e-8) if dtype == torch.float64 else (1e-5, 1e-4)
    plan = entropic_plan(x_0.to(dtype), x_1.to(dtype), reg=reg, tolerance=tight)
    judge = ot.sinkhorn([], [], squared_distances(x_0, x_1).numpy(), reg, numItermax=100_000, stopThr=1e-12)
    assert plan.dtype == dtype
    np.testing.assert_allclose(60 * plan.double().numpy(), 60 * judge, atol=10 * loose)
    torch.testing.assert_close(plan.sum(0), torch.full((60,), 1 / 60, dtype=dtype), rtol=loose, atol=0)
    torch.testing.assert_close(plan.sum(1), torch.full((60,), 1 / 60, dtype=dtype), rtol=10 * loose, atol=0)


def test_entropic_plan_survives_costs_that_underflow(generator):
    """Here exp(-cost / reg) is zero everywhere; the potentials are not."""
    x_0, x_1 = two_clouds(40, (2,), generator)
    plan = entropic_plan(x_0, x_1 + 100, reg=1.0)
    assert float(torch.exp(-squared_distances(x_0, x_1 + 100)).max()) == 0
    torch.testing.assert_close(plan, entropic_plan(x_0, x_1, reg=1.0), rtol=0, atol=1e-4)


@pytest.mark.parametrize("sigma", [0.25, 0.5, 1.0])
def test_float32_finds_the_plan_of_far_clouds(sigma, generator):
    """Costs of hundreds times reg: what float32 cannot hold must not turn up as mass."""
    x_0, x_1 = torch.randn(300, 2, generator=generator), eight_gaussians(5, 1).sample(300, generator).double()
    double, single = (entropic_plan(x_0.to(d), x_1.to(d), reg=2 * sigma**2) for d in (torch.float64, torch.float32))
    costs = [float((plan.double() * squared_distances(x_0, x_1)).sum()) for plan in (double, single)]
    least = float((x_0[optimal_transport(x_0, x_1)] - x_1).square().sum(1).mean())
    judge = ot.sinkhorn([], [], squared_distances(x_0, x_1).numpy(), 2 * sigma**2, method="sinkhorn_log", stopThr=1e-4)
    assert costs[0] == pytest.approx(float((judge * squared_distances(x_0, x_1).numpy()).sum()), rel=5e-3)
    assert costs[1] == pytest.approx(costs[0], rel=1e-2)
    assert least < costs[0] < least + 2 * 2 * sigma**2


def test_gaussian_bridge_has_the_known_covariance(generator):
    """Entropic plans of Gaussians are Gaussian, of covariance ``(sqrt(4 a^2 b^2 + sigma^4) - sigma^2) / 2``."""
    x_0, x_1 = torch.randn(2, 1500, 1, generator=generator)
    x_0, x_1 = ((u - u.mean()) / u.std() for u in (x_0, x_1))
    for sigma in (0.5, 1.0, 2.0):
        plan = entropic_plan(1.0 * x_0, 2.0 * x_1, reg=2 * sigma**2)
        covariance = float(x_0[:, 0] @ plan @ (2 * x_1[:, 0]))
        assert abs(covariance - 0.5 * (math.sqrt(16 + sigma**4) - sigma**2)) < 0.02, sigma


def test_sinkhorn_draws_from_the_plan(generator):
    x_0, x_1 = two_clouds(6, (2,), generator)
    plan = entropic_plan(x_0, x_1, reg=8.0)
    n = 4000
    draws = torch.stack([sinkhorn(x_0, x_1, generator, sigma=2.0) for _ in range(n)])
    for j in range(6):
        p = plan[:, j] / plan[:, j].sum()
        frequency = torch.bincount(draws[:, j], minlength=6) / n
        assert bool(((frequency - p).abs() <= 4.5 * (p * (1 - p) / n).sqrt() + 1e-9).all()), j
    assert float(draws[:, 0].double().std()) > 0


def test_sinkhorn_lies_between_transport_and_chance(generator):
    x_0, x_1 = torch.randn(2, 200, 2, generator=generator)
    least, most = cost(x_0, x_1, optimal_transport(x_0, x_1)), cost(x_0, x_1)
    costs = [cost(x_0, x_1, sinkhorn(x_0, x_1, generator, sigma=s)) for s in (0.1, 0.5, 1.5, 20.0)]
    assert least < costs[0] < costs[1] < costs[2] < costs[3]
    assert costs[0] < 1.5 * least
    assert abs(costs[3] / most - 1) < 0.2


@pytest.mark.parametrize("pairing", [independent, optimal_transport, sinkhorn])
def test_a_seed_decides_and_the_global_one_is_not_touched(pairing):
    x_0, x_1 = two_clouds(50, (2,), torch.Generator().manual_seed(3))
    state = torch.get_rng_state()
    first, again = (pairing(x_0, x_1, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(state, torch.get_rng_state())
    assert first.dtype == torch.int64
    assert len(first) == 50
    if pairing is sinkhorn:
        assert not torch.equal(first, pairing(x_0, x_1, torch.Generator().manual_seed(2)))


@pytest.mark.parametrize("pairing", [None, independent, optimal_transport, sinkhorn])
def test_labels_stay_with_the_data(pairing):
    x = torch.arange(90.0)[:, None].repeat(1, 2) + torch.tensor([0.0, 0.5])
    data = Labelled(x, torch.arange(90) % 7)
    stream = from_noise(data, 30, torch.Generator().manual_seed(0), pairing=pairing)
    for _ in range(7):
        _, x_1, c = next(stream)
        assert torch.equal(c, x_1[:, 0].long() % 7)


def test_streams_pair_what_they_would_have_drawn():
    data = Labelled(3 * torch.randn(40, 2, generator=torch.Generator().manual_seed(1)), torch.zeros(40).long())
    seeded = lambda: torch.Generator().manual_seed(5)  # noqa: E731
    plain, paired = (next(from_noise(data, 40, seeded(), pairing=p)) for p in (None, optimal_transport))
    assert torch.equal(plain[1], paired[1])
    assert torch.equal(plain[0][optimal_transport(plain[0], plain[1])], paired[0])
    ends = Gaussian(torch.zeros(2)), eight_gaussians()
    plain, paired = (next(between(*ends, 40, seeded(), pairing=p)) for p in (None, optimal_transport))
    assert torch.equal(plain[0][optimal_transport(*plain)], paired[0])
    assert torch.equal(plain[1], paired[1])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("pairing", [optimal_transport, sinkhorn])
def test_mistakes_are_named(pairing):
    x = torch.zeros(4, 2)
    with pytest.raises(InputError, match=r"x_0.*shape of x_1"):
        pairing(x[:3], x)
    with pytest.raises(InputError, match=r"x_1.*finite"):
        pairing(x, x / 0)
    for n, d in ((1, 2), (4, 2), (100, 2), (4, 70), (100, 70)):
        for bad in (math.nan, math.inf, -math.inf):
            y = torch.randn(n, d)
            y[-1, -1] = bad
            with pytest.raises(InputError, match=r"x_1.*finite"):
                pairing(torch.randn(n, d), y)
            with pytest.raises(InputError, match=r"x_0.*finite"):
                pairing(y, torch.randn(n, d))
    with pytest.raises(InputError, match=r"block.*at least 1"):
        optimal_transport(x, x, block=0)
    with pytest.raises(InputError, match="sigma: expected a positive number, got -1"):
        sinkhorn(x, x, sigma=-1.0)
    with pytest.raises(InputError, match=r"reg.*positive.*optimal_transport"):
        sinkhorn(x, x, sigma=0.0)


def test_a_noise_too_small_for_sinkhorn_says_so(generator):
    x_0, x_1 = two_clouds(60, (2,), generator)
    with pytest.raises(InputError, match="larger sigma"):
        sinkhorn(x_0, x_1, generator, sigma=1e-3)
