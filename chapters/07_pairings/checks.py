"""Checks of the exercises of chapter 07: what was expected, what came, a hint."""

import math
from itertools import pairwise

import torch

from flowlib.coursework.checks import check, expect_close, expect_true
from flowlib.densities import eight_gaussians
from flowlib.paths import entropic_plan, optimal_transport


def points(n, *event, seed=0, dtype=torch.float32):
    x_0, x_1 = torch.randn(2, n, *event, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return x_0, 2 * x_1 + 1


def cost(x_0, x_1, index):
    return float((x_0[index] - x_1).square().sum())


@check
def check_7_1(index, given, least):
    expect_true(sorted(index) == [0, 1, 2], f"{tuple(index)} is not a permutation of 0, 1, 2")
    hint = "x_0[index[j]] meets x_1[j]; on a line sorted meets sorted"
    expect_true(tuple(index) == (2, 1, 0), f"the index is not {tuple(index)}", hint)
    expect_true(abs(given - 42) < 1e-6, f"the given pairs do not cost {given}", "0 meets 4, 1 meets 2, 5 meets 0")
    expect_true(abs(least - 2) < 1e-6, f"the optimal pairs do not cost {least}", "a sum of squares, not of lengths")


@check
def check_7_2(pair_by_trying):
    for seed, event in ((0, (2,)), (1, (1, 2, 3)), (2, (1,))):
        x_0, x_1 = points(6, *event, seed=seed)
        index = pair_by_trying(x_0, x_1)
        expect_true(sorted(map(int, index)) == list(range(6)), f"{list(map(int, index))} is not a permutation")
        right = optimal_transport(x_0, x_1)
        inverse = [int(i) for i in index] == right.argsort().tolist() != right.tolist()
        hint = (
            "that is the index of x_1; the one of x_0 is its inverse" if inverse else "sum squares over the whole event"
        )
        want = cost(x_0, x_1, right)
        got = cost(x_0, x_1, torch.as_tensor(index))
        expect_true(got < want + 1e-4, f"the pairs cost {got:.3f}, the best {want:.3f}", hint)


@check
def check_7_3(bridge):
    x_0, x_1 = points(5, 2)
    eps = torch.randn(5, 2, generator=torch.Generator().manual_seed(1))
    t = torch.tensor([0.1, 0.3, 0.5, 0.8, 0.95])
    x_t, dx_t = bridge(x_0, x_1, t, 0.7, eps)
    want = [s * b + (1 - s) * a + 0.7 * math.sqrt(s * (1 - s)) * e for a, b, e, s in zip(x_0, x_1, eps, t, strict=True)]
    expect_close(x_t, torch.stack(want), name="x_t", hint="the standard deviation is sigma sqrt(t (1 - t))")
    h = 1e-4
    ahead, back = (bridge(x_0.double(), x_1.double(), t.double() + s, 0.7, eps.double())[0] for s in (h, -h))
    want = ((ahead - back) / (2 * h)).float()
    expect_close(dx_t, want, name="dx_t", hint="differentiate x_t by t at fixed eps", rtol=1e-3, atol=1e-3)


@check
def check_7_4(independent_cost, w2_squared, npe):
    hint = "mean squared difference of the means, plus both variances"
    expect_true(abs(independent_cost - 14) < 1e-6, f"independent pairs do not cost {independent_cost}", hint)
    hint = "the cost is 14 - 2 rho, and |rho| is at most the product of the standard deviations"
    expect_true(abs(w2_squared - 10) < 1e-6, f"W2 squared is not {w2_squared}", hint)
    expect_true(abs(npe) < 1e-6, f"the NPE is not {npe}", "both ends of (7.3) are equal")


@check
def check_7_5(plan):
    for reg, far in ((2.0, 0.0), (0.5, 0.0), (2.0, 60.0)):
        x_0, x_1 = points(20, 2, dtype=torch.float64)
        hint = "uniform marginals: B rows that sum to 1/B" if far == 0 else "iterate on f and g with logsumexp"
        p = plan(x_0, x_1 + far, reg)
        expect_true(p.shape == (20, 20), f"expected shape (20, 20), got {tuple(p.shape)}")
        expect_true(bool(p.isfinite().all()), "the plan holds NaN or infinity", "iterate on f and g with logsumexp")
        uniform = torch.full((20,), 1 / 20, dtype=torch.float64)
        expect_close(p.sum(1), uniform, name="row sums", hint=hint, rtol=1e-3)
        expect_close(p.sum(0), uniform, name="column sums", hint=hint, rtol=1e-3)
        want = entropic_plan(x_0, x_1 + far, reg=reg, tolerance=1e-9)
        expect_close(
            p, want, name=f"plan for reg = {reg}", hint="exp((f + g - cost) / reg), squared distances", atol=1e-5
        )


@check
def check_7_6(pair_within):
    x_0, x_1 = points(60, 2)
    c = torch.randint(3, (60,), generator=torch.Generator().manual_seed(2))
    index = torch.as_tensor(pair_within(x_0, x_1, c))
    expect_true(sorted(index.tolist()) == list(range(60)), "the index is not a permutation of the batch")
    same = bool((c[index] == c).all())
    expect_true(same, "noise has moved from one class to another", "each class keeps the rows where it stands")
    want = sum(cost(x_0[c == k], x_1[c == k], optimal_transport(x_0[c == k], x_1[c == k])) for k in range(3))
    got = cost(x_0, x_1, index)
    expect_true(abs(got - want) < 1e-3, f"the pairs cost {got:.3f}, the best within classes {want:.3f}")


@check
def check_7_7(costs_by_block):
    generator = torch.Generator().manual_seed(0)
    x_0, x_1 = torch.randn(256, 2, generator=generator), eight_gaussians(5, 1).sample(256, generator)
    sizes = [1, 4, 16, 64, 256]
    costs = costs_by_block(x_0, x_1, sizes)
    expect_true(len(costs) == 5, f"expected one cost for each of {sizes}, got {len(costs)}")
    first = float((x_0 - x_1).square().sum(1).mean())
    hint = "block 1: nothing is permuted; sum over coordinates, mean over samples"
    expect_true(abs(costs[0] - first) < 1e-3, f"blocks of 1 cost {first:.3f}, got {costs[0]:.3f}", hint)
    falling = all(a >= b for a, b in pairwise(costs))
    expect_true(falling, f"the costs do not fall: {[round(u, 2) for u in costs]}", "(7.6) holds for every draw")
    whole = cost(x_0, x_1, optimal_transport(x_0, x_1)) / 256
    expect_true(abs(costs[-1] - whole) < 1e-3, f"the whole batch costs {whole:.3f}, got {costs[-1]:.3f}")
    middle = cost(x_0, x_1, optimal_transport(x_0, x_1, block=16)) / 256
    expect_true(
        abs(costs[2] - middle) < 1e-3, f"blocks of 16 cost {middle:.3f}, got {costs[2]:.3f}", "consecutive blocks"
    )
