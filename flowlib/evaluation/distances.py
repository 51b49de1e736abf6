"""Distances between two sets of samples, each with a standard error.

The error comes from disjoint blocks: the sets are cut into ``blocks`` pairs of equal size, each gives one value, and
their spread gives the error of the mean. The block size n is part of the result, because most distances depend on it:
two fresh samples of the same law are not at distance zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from flowlib.densities import Density
from flowlib.errors import InputError
from flowlib.estimates import Estimate
from flowlib.paths import optimal_transport
from flowlib.rectify import velocities
from flowlib.shapes import Batch, Field
from flowlib.tensors import check_finite, check_same_shape, randn, sum_event


def wasserstein(x: Batch, y: Batch, *, blocks: int = 1) -> Estimate:
    """2-Wasserstein distance ``W2 = min over permutations (1/n sum_i |x_i - y_p(i)|^2)^(1/2)``, exact.

    Solved as an assignment, O(n^3): in the plane about 0.05 s for n = 1000 and 10 s for n = 10 000 on one core.

    Args:
        x: samples, (N, *event).
        y: as many samples, (N, *event).
        blocks: number of disjoint blocks, of n = N // blocks samples each.

    Source: Villani 2009, definition 6.1. Compare with ``sampling_floor`` at the same n.
    """

    def one(a: Tensor, b: Tensor) -> float:
        a, b = a.double(), b.double()
        return math.sqrt((a[optimal_transport(a, b)] - b).square().sum(1).mean())

    return _over_blocks(one, x, y, blocks)


def sampling_floor(density: Density, n: int, *, blocks: int = 1, generator: torch.Generator | None = None) -> Estimate:
    """W2 between two fresh samples of one density, n each: what a perfect model would score."""
    x, y = (density.sample(n * blocks, generator) for _ in range(2))
    return wasserstein(x, y, blocks=blocks)


def sliced_wasserstein(
    x: Batch, y: Batch, *, directions: int = 128, blocks: int = 1, generator: torch.Generator | None = None
) -> Estimate:
    """Sliced distance ``(E_u W2^2(u.x, u.y))^(1/2)`` over random unit vectors u, O(n log n).

    Source: Bonneel et al. 2015, definition 3.
    """
    u = randn((x[0].numel(), directions), like=x, generator=generator)
    u = u / u.norm(dim=0)

    def one(a: Tensor, b: Tensor) -> float:
        sorted_a, sorted_b = (a @ u).sort(0).values, (b @ u).sort(0).values
        return float((sorted_a - sorted_b).square().mean().sqrt())

    return _over_blocks(one, x, y, blocks)


def mmd(x: Batch, y: Batch, *, bandwidth: float | None = None, blocks: int = 1) -> Estimate:
    """Squared maximum mean discrepancy, unbiased, with kernel ``k(a, b) = exp(-|a - b|^2 / (2 h^2))``.

    ``MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y)`` over distinct pairs; its expectation is zero when the laws
    agree, so it can come out negative.

    Args:
        x: samples, (N, *event).
        y: as many samples, (N, *event).
        bandwidth: h; the median distance within y when left out.
        blocks: number of disjoint blocks.

    Source: Gretton et al. 2012, equation 3.
    """
    h = float(torch.pdist(y[:1000].flatten(1)).median()) if bandwidth is None else bandwidth

    def one(a: Tensor, b: Tensor) -> float:
        def kernel(p: Tensor, q: Tensor) -> Tensor:
            return torch.exp(-torch.cdist(p, q).square() / (2 * h**2))

        n = len(a)
        within = sum((kernel(p, p).sum() - n) / (n * (n - 1)) for p in (a, b))
        return float(within - 2 * kernel(a, b).mean())

    return _over_blocks(one, x, y, blocks)


def path_energy(v: Field, x_0: Batch, *, steps: int = 50) -> Estimate:
    """Energy ``int_0^1 E |v(Z_t, t)|^2 dt`` of the flow from x_0; no flow between the two ends has less than W2^2.

    Source: Tong et al. 2024 ([SF]^2M), section 5.1, whose normalised energy is |energy - W2^2| / W2^2.
    """
    _, dz = velocities(v, x_0, steps)
    speed = torch.stack([sum_event(d.square()) for d in dz])
    return Estimate.of(torch.trapezoid(speed, dx=1 / steps, dim=0))


def _over_blocks(one: Callable[[Tensor, Tensor], float], x: Tensor, y: Tensor, blocks: int) -> Estimate:
    """Apply ``one`` to each of the disjoint blocks, flattened to (n, d)."""
    check_same_shape("x", x, "y", y)
    check_finite("x", x)
    check_finite("y", y)
    n = len(x) // blocks if blocks > 0 else 0
    if n < 2:
        raise InputError("blocks", expected=f"1 to {len(x) // 2}, for blocks of two samples or more", got=blocks)
    cut = [u.detach().flatten(1)[: n * blocks].split(n) for u in (x, y)]
    return Estimate.of([one(a, b) for a, b in zip(*cut, strict=True)])
