"""Pairings: which source sample meets which sample of the data, inside one batch.

A pairing maps a batch to an ``index``; then ``x_0[index]`` meets ``x_1``. The data stays in its place, and with it its
labels. Chapter 07 compares them; pairs made by a flow itself (reflow, chapter 05) are data, not a pairing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from flowlib.errors import InputError
from flowlib.shapes import Batch
from flowlib.tensors import check_finite, check_same_shape

Index: TypeAlias = Int[Tensor, " B"]
Pairing: TypeAlias = Callable[[Tensor, Tensor, torch.Generator | None], Tensor]  # (x_0, x_1, generator) -> index

SWEEPS = 2000  # of Sinkhorn's iteration, before it gives up
LOW = 8  # dimensions up to which distances cost little beside the assignment; beyond, one product has to do
FEW = 64  # samples up to which potentials take more time than they save
STAGES = ((0, 0.04, 10), (300, 0.01, 16), (1000, 0.001, 32))  # for more samples than: reg, sweeps


def independent(x_0: Batch, x_1: Batch, generator: torch.Generator | None = None) -> Index:
    """Leave the batch as it was drawn, ``index = 0 .. B-1``: where x_0 and x_1 are independent, so are the pairs."""
    check_same_shape("x_0", x_0, "x_1", x_1)
    return torch.arange(len(x_1), device=x_1.device)


def optimal_transport(
    x_0: Batch, x_1: Batch, generator: torch.Generator | None = None, *, block: int | None = None
) -> Index:
    """Pair by exact optimal transport inside the batch::

        index = argmin over permutations p of sum_j |x_0[p(j)] - x_1[j]|^2

    The minimiser is used as it is: every sample appears once. No randomness is involved.

    Args:
        x_0: source samples, (B, *event).
        x_1: data, (B, *event).
        generator: not used.
        block: pair inside consecutive blocks of this many samples, at a cost linear in B; the whole batch if left out.

    Raises:
        InputError: shapes that differ, NaN, a block below 1.

    Source: Pooladian et al. 2023 and Tong et al. 2024 (OT-CFM), section 3.2.
    """
    check_same_shape("x_0", x_0, "x_1", x_1)
    if block is not None and block < 1:
        raise InputError("block", expected="at least 1 sample", got=block)
    dtype = torch.promote_types(x_1.dtype, torch.float32)
    a, b = (u.detach().flatten(1).to("cpu", dtype) for u in (x_0, x_1))
    size = len(b) if block is None else block
    if size >= len(b):
        return torch.from_numpy(_assign(a, b)).to(x_1.device)
    parts = zip(a.split(size), b.split(size), strict=True)
    return torch.from_numpy(np.concatenate([i * size + _assign(*part) for i, part in enumerate(parts)])).to(x_1.device)


def sinkhorn(x_0: Batch, x_1: Batch, generator: torch.Generator | None = None, *, sigma: float = 1.0) -> Index:
    """Pair by a draw from the entropic plan, ``index[j] ~ P[:, j] / sum_i P[i, j]``, where P is the minimiser of::

        sum_ij P_ij |x_0[i] - x_1[j]|^2 + reg sum_ij P_ij log P_ij,    reg = 2 sigma^2

    over plans with uniform marginals. These are the end points of a Schroedinger bridge of noise ``sigma``: join them
    by ``Bridge(sigma)``. Small sigma comes near optimal transport, large sigma near independent pairs. Each sample of
    the data meets one source sample; a source sample may appear twice or not at all.

    Args:
        x_0: source samples, (B, *event).
        x_1: data, (B, *event).
        generator: randomness of the draw.
        sigma: noise of the bridge.

    Raises:
        InputError: shapes that differ, NaN, a sigma that is not positive or too small to iterate with.

    Source: Cuturi 2013, algorithm 1; Tong et al. 2024, SB-CFM, section 3.2.4.
    """
    if sigma < 0:
        raise InputError("sigma", expected="a positive number", got=sigma)
    plan = entropic_plan(x_0, x_1, reg=2 * sigma**2)
    device = generator.device if generator is not None else plan.device
    u = torch.rand(len(plan), dtype=plan.dtype, device=device, generator=generator).to(plan.device)
    cdf = plan.T.cumsum(1)  # row j: of the partners of x_1[j]
    return torch.searchsorted(cdf, (u * cdf[:, -1])[:, None], right=True)[:, 0].clamp(max=len(plan) - 1)


def entropic_plan(x_0: Batch, x_1: Batch, *, reg: float, tolerance: float = 1e-3) -> Tensor:
    """Entropic transport plan ``P_ij = exp((f_i + g_j - |x_0[i] - x_1[j]|^2) / reg)`` with uniform marginals, (B, B).

    Sinkhorn's iteration in turn makes the columns and the rows sum to 1 / B. The potentials f and g start in the
    logarithm, where nothing underflows, and the rest are products of one matrix with vectors.

    Args:
        x_0: source samples, (B, *event).
        x_1: data, (B, *event).
        reg: weight of the entropy, in the unit of the squared distance.
        tolerance: largest total error of the row sums; the columns are exact.

    Raises:
        InputError: shapes that differ, NaN, a reg that is not positive or too small to iterate with.
    """
    _check(x_0, x_1)
    if not reg > 0:
        raise InputError(
            "reg", expected="a positive number, 2 sigma^2", got=reg, cure="pair by optimal_transport for none"
        )
    n = len(x_1)
    a, b = (u.detach().flatten(1) for u in (x_0, x_1))
    # Moving either set does not change the plan; about their means, distances by a product are not roundings.
    cost = torch.cdist(a - a.mean(0), b - b.mean(0)).square_().div_(reg)
    f, least = cost.amin(1), -80.0 if cost.dtype == torch.float32 else -700.0  # denormal numbers are very slow
    sweeps = 0
    while sweeps < SWEEPS:
        g = -torch.logsumexp(f[:, None] - cost, 0)
        f = -torch.logsumexp(g - cost, 1)
        kernel = (f[:, None] + g).sub_(cost).clamp_(min=least).exp_()
        row, low, high = torch.ones_like(f), 1.0, 1.0
        while sweeps < SWEEPS and low > 1e-8 and high < 1e8:  # beyond, what was clamped would count
            column = 1 / (row @ kernel)
            sums = kernel @ column
            sweeps += 1
            if float((row * sums - 1).abs().mean()) < tolerance:
                return row[:, None] * kernel * column / n
            row = 1 / sums
            low, high = (u.item() for u in row.aminmax())
        f = f + row.log()
    raise InputError(
        "reg",
        expected=f"rows that sum to 1/B after {SWEEPS} sweeps",
        got=reg,
        cure="a larger sigma, or optimal_transport",
    )


@np.errstate(all="ignore")  # numbers that are not finite are found at the end, and every finite potential is allowed
def _assign(x_0: Tensor, x_1: Tensor) -> np.ndarray:
    """Optimal permutation p, ``x_0[p]`` meets ``x_1``, of (n, d) samples, exact, by shortest augmenting paths (scipy).

    The permutation does not change when a batch is moved or scaled, or when a number is taken from a row or a column of
    the costs. Each of these brings the costs nearer to the solved form, in which the best partner costs zero and
    augmenting paths are short: at worst the least cost of each column is taken off; of many samples, the potentials
    of a few sweeps of Sinkhorn's iteration, too. The network simplex (POT) takes two to four times as long
    at 4,096 and at 10,000 points.
    """
    from scipy.optimize import linear_sum_assignment

    n, d = x_0.shape
    if n < 2:
        _check(x_0, x_1)
        return np.arange(n)
    cost = _distances(x_0.numpy(), x_1.numpy()) if d <= LOW else _product_costs(x_0, x_1)
    cost -= cost.min(0)  # in place: a new matrix costs more time than what is written into it
    if n > FEW:
        cost -= _row_potential(cost)[:, None]
        cost -= cost.min(0)
    try:
        rows, columns = linear_sum_assignment(cost)
    except ValueError:  # what is NaN or infinite in a sample is so in its costs, and scipy refuses those
        _check(x_0, x_1)
        raise
    index = np.empty_like(rows)
    index[columns] = rows  # what columns.argsort() is, sooner
    return index


def _distances(x_0: np.ndarray, x_1: np.ndarray) -> np.ndarray:
    """Squared distances of standardised samples, (n, n)."""
    from scipy.spatial.distance import cdist

    return cdist(_standardised(x_0), _standardised(x_1), "sqeuclidean")


def _product_costs(x_0: Tensor, x_1: Tensor) -> np.ndarray:
    """Costs ``max_k x_0[i] . x_1[k] - x_0[i] . x_1[j]`` in units of their mean, (n, n).

    One product is all that many dimensions can afford.
    """
    product = (x_0 @ x_1.T).numpy()
    cost = product.max(1)[:, None] - product
    cost /= cost.mean() or 1
    return cost


def _row_potential(cost: np.ndarray) -> np.ndarray:
    """Approximate potential f, (n,): the optimal pairs nearly minimise ``cost[i, j] - f[i]`` down their columns.

    Sinkhorn's iteration in float32 with less and less entropy, each stage from the potentials of the one before. Each
    sweep goes 1.7 times as far as it should (over-relaxation), which needs about half as many.
    """
    coarse = cost.astype(np.float32)
    f, g = coarse.min(1), np.zeros_like(coarse[0])
    for reg, sweeps in [stage[1:] for stage in STAGES if len(cost) > stage[0]]:
        kernel = f[:, None] + g
        kernel -= coarse
        kernel /= reg
        np.exp(np.maximum(kernel, -80, out=kernel), out=kernel)  # denormal numbers are very slow
        row = 1 / kernel.sum(1)
        column = 1 / (row @ kernel)
        for _ in range(sweeps - 1):
            row = row**-0.7 * (kernel @ column) ** -1.7
            column = column**-0.7 * (row @ kernel) ** -1.7
        f, g = f + reg * np.log(row), g + reg * np.log(column)
    return np.where(np.isfinite(f), f, 0).astype(np.float64)


def _standardised(x: np.ndarray) -> np.ndarray:
    """Samples about their mean and in units of their root mean square distance from it, (n, d), float64."""
    y = x.astype(np.float64)
    y -= y.sum(0) / len(y)
    y /= math.sqrt(np.vdot(y, y) / len(y)) or 1
    return y


def _check(x_0: Tensor, x_1: Tensor) -> None:
    """Raise ``InputError`` unless shapes agree and numbers are finite."""
    check_same_shape("x_0", x_0, "x_1", x_1)
    check_finite("x_0", x_0)
    check_finite("x_1", x_1)
