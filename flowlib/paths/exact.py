"""The exact velocity of a path: the judge of every learned one."""

from __future__ import annotations

from flowlib.densities import GaussianMixture
from flowlib.errors import InputError
from flowlib.paths.bridge import NoisyLine
from flowlib.paths.path import Path
from flowlib.shapes import Batch, Field, PerSample
from flowlib.tensors import check_time, per_sample


def exact_velocity(path: Path, density: GaussianMixture) -> Field:
    """Marginal velocity ``v(x, t) = E[dx_t | x_t = x]`` of a path from x_0 ~ N(0, I) to x_1 ~ ``density``.

    Since ``dx_t = d_alpha_t x_1 + d_sigma_t x_0`` and ``E[x_0 | x_t] = -sigma_t grad log p_t(x_t)``::

        v(x, t) = d_alpha_t E[x_1 | x_t = x] - sigma_t d_sigma_t grad log p_t(x)

    Args:
        path: any path but a ``NoisyLine``, whose noise is not that of x_0.
        density: a Gaussian, a mixture, or a finite set (a mixture of covariance 0).

    Returns:
        The field v(x, t, c=None). Chapter 04 derives it.

    Raises:
        InputError: a path with noise of its own.
    """

    if isinstance(path, NoisyLine):
        raise InputError("path", expected="a path without noise of its own", got=str(path), cure="OT(), VP() or VE()")

    def v(x: Batch, t: PerSample, c: object = None) -> Batch:
        check_time(t, x)
        x_1, score = density.to(x).posterior(x, path.alpha(t), path.sigma(t))
        return per_sample(path.d_alpha(t), x) * x_1 - per_sample(path.sigma_d_sigma(t), x) * score

    return v
