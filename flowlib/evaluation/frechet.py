"""Distances between two sets of pictures through the features of a network, and how much of each the other covers.

All of them depend on the network and on the number of samples: neither may be left out when a number is told. The
pictures themselves have to be treated alike, down to the rounding (``flowlib.tensors.to_uint8``).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from flowlib.errors import InputError
from flowlib.estimates import Estimate
from flowlib.tensors import check_finite

Features = Float[Tensor, "N D"]


class PrecisionRecall(NamedTuple):
    """How two sets cover each other.

    Attributes:
        precision: share of the generated samples that lie where real ones do.
        recall: share of the real samples that lie where generated ones do.
    """

    precision: Estimate
    recall: Estimate


def frechet_distance(x: Features, y: Float[Tensor, "M D"], *, blocks: int = 1) -> Estimate:
    """Squared Frechet distance of the Gaussians with the means and covariances of two sets of features::

        |m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x^(1/2) C_y C_x^(1/2))^(1/2))

    On the features of Inception this is FID. It is biased: two samples of one law are at a positive distance, about
    proportional to 1/n, so only numbers with the same n can be compared, and a model is to be read beside that floor.

    Args:
        x: features of the samples, (N, D).
        y: features of the reference, (M, D).
        blocks: number of disjoint blocks that both sets are cut into; their spread gives the error. One block, the
            published protocol, has none.

    Raises:
        InputError: features of different sizes, fewer than two samples a block, NaN.

    Source: Heusel et al. 2017, equation 6; Dowson and Landau 1982 for the formula; Chong and Forsyth 2020 for the bias.
    """
    cut = _blocks(x, y, blocks)
    return Estimate.of([_frechet(*_moments(a), *_moments(b)) for a, b in cut])


def kernel_distance(x: Features, y: Float[Tensor, "M D"], *, blocks: int = 1) -> Estimate:
    """Squared maximum mean discrepancy of two sets of features, unbiased, with kernel ``k(a, b) = (a.b / D + 1)^3``.

    On the features of Inception this is KID. Its expectation is zero when the laws agree, whatever n, so it can come
    out negative.

    Args:
        x: features of the samples, (N, D).
        y: features of the reference, (M, D).
        blocks: number of disjoint blocks that both sets are cut into; their spread gives the error.

    Source: Binkowski et al. 2018, section 4; Gretton et al. 2012, equation 3.
    """

    def mean(a: Tensor, b: Tensor) -> float:
        return float(((a @ b.T / a.shape[1] + 1) ** 3).mean())

    def within(a: Tensor) -> float:
        """Mean over pairs of distinct samples."""
        n, diagonal = len(a), float(((a.square().sum(1) / a.shape[1] + 1) ** 3).mean())
        return (mean(a, a) * n - diagonal) / (n - 1)

    return Estimate.of([within(a) + within(b) - 2 * mean(a, b) for a, b in _blocks(x, y, blocks)])


def precision_recall(real: Features, generated: Float[Tensor, "M D"], *, k: int = 3) -> PrecisionRecall:
    """Share of each set that lies in the union of balls round the samples of the other.

    The ball of a sample reaches to its k-th nearest neighbour in its own set. Precision falls when samples are poor,
    recall when they lack variety. Both grow with k and n; the errors are binomial, for the balls as they are.

    Args:
        real: features of real samples, (N, D).
        generated: features of generated samples, (M, D).
        k: neighbours; 3 in the paper.

    Raises:
        InputError: features of different sizes, k neighbours that the sets do not have.

    Source: Kynkaanniemi et al. 2019, equations 1 and 2.
    """
    ((a, b),) = _blocks(real, generated, 1)
    fewest = min(len(a), len(b)) - 1
    if not 1 <= k <= fewest:
        raise InputError("k", expected=f"1 to {fewest}, neighbours within each set", got=k)
    return PrecisionRecall(_covered(b, a, k), _covered(a, b, k))


def _covered(x: Tensor, centres: Tensor, k: int) -> Estimate:
    """Share of x inside the balls of the centres, in slices, since all distances at once may not fit."""
    radius = torch.cat([torch.cdist(part, centres).kthvalue(k + 1).values for part in centres.split(1000)])
    inside = torch.cat([(torch.cdist(part, centres) <= radius).any(1) for part in x.split(1000)])
    share = float(inside.double().mean())
    return Estimate(share, math.sqrt(share * (1 - share) / len(x)))


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.mean(0), x.T.cov().reshape(x.shape[1], -1)


def _frechet(m_x: Tensor, c_x: Tensor, m_y: Tensor, c_y: Tensor) -> float:
    """Distance of two Gaussians; the root is taken of symmetric matrices only, so that no imaginary part is dropped."""
    levels, axes = torch.linalg.eigh(c_x)
    root = axes * levels.clamp(min=0).sqrt() @ axes.T
    cross = torch.linalg.eigvalsh(root @ c_y @ root).clamp(min=0).sqrt().sum()
    return float((m_x - m_y).square().sum() + c_x.trace() + c_y.trace() - 2 * cross)


def _blocks(x: Tensor, y: Tensor, blocks: int) -> list[tuple[Tensor, Tensor]]:
    """Cut both sets into as many blocks, in float64: differences of large numbers follow."""
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise InputError(
            "y",
            expected=f"features (M, {x.shape[-1]}), as x has",
            got=f"shapes {tuple(x.shape)} and {tuple(y.shape)}",
            cure="x.flatten(1) makes features of pictures",
        )
    check_finite("x", x)
    check_finite("y", y)
    fewest = min(len(x), len(y))
    if not 1 <= blocks <= fewest // 2:
        raise InputError("blocks", expected=f"1 to {fewest // 2}, for blocks of two samples or more", got=blocks)
    cut = [u.detach().double()[: len(u) // blocks * blocks].split(len(u) // blocks) for u in (x, y)]
    return list(zip(*cut, strict=True))
