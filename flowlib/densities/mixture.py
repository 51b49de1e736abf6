"""Gaussian mixtures: the family for which everything in this book is known exactly."""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import torch
from torch import Tensor

from flowlib.densities.density import Density
from flowlib.errors import InputError
from flowlib.shapes import Batch, PerSample
from flowlib.tensors import check_finite, randn


class Posterior(NamedTuple):
    """What x_t = alpha x_1 + sigma eps tells about its parts.

    Attributes:
        x_1: conditional mean of the data, ``E[x_1 | x_t]``, (B, *event).
        score: ``grad log p_t(x_t) = -E[eps | x_t] / sigma``, (B, *event).
    """

    x_1: Tensor
    score: Tensor


class GaussianMixture(Density):
    """Mixture ``p(x) = sum_k w_k N(x; m_k, C_k)``.

    A finite set of points is the mixture with ``covariance=0``: it has samples, a posterior and marginals, no density.

    Args:
        means: m_k, shape (K, *event).
        covariance: one variance for all, (K,) variances, or (K, d, d) matrices with d the size of the flattened event.
        weights: w_k, shape (K,), equal when left out; they are normalised to sum to one.

    Raises:
        InputError: shapes that do not fit, a matrix that is not symmetric and positive semidefinite.

    >>> GaussianMixture(torch.tensor([[0.0], [4.0]])).log_prob(torch.tensor([[2.0]]))
    tensor([-2.9189])
    """

    def __init__(self, means: Tensor, covariance: Tensor | float = 1.0, weights: Tensor | None = None) -> None:
        check_finite("means", means)
        k = len(means)
        weights = (torch.ones(k) if weights is None else weights).to(means)
        if weights.shape != (k,) or bool((weights < 0).any()) or not bool(weights.sum() > 0):
            raise InputError("weights", expected=f"{k} numbers, none negative, not all zero", got=weights)
        self.event_shape = tuple(means.shape[1:])
        self.means = means.flatten(1)
        self.log_weights = (weights / weights.sum()).log()
        self.variances, self.axes = _principal_axes(
            torch.as_tensor(covariance, dtype=means.dtype, device=means.device), self.means
        )

    def sample(self, n: int, generator: torch.Generator | None = None) -> Batch:
        """Draw ``n`` independent samples, (n, *event)."""
        w = self.log_weights.exp() if generator is None else self.log_weights.exp().to(generator.device)
        k = torch.multinomial(w, n, replacement=True, generator=generator).to(self.means.device)
        eps = randn((n, self.means.shape[1]), like=self.means, generator=generator) * self.variances[k].sqrt()
        if self.axes is not None:
            eps = torch.einsum("bij,bj->bi", self.axes[k], eps)
        return (self.means[k] + eps).unflatten(1, self.event_shape)

    def log_prob(self, x: Batch) -> PerSample:
        """Log-density ``log sum_k w_k N(x; m_k, C_k)`` in nats, (B,).

        Raises:
            InputError: samples of another shape; a component without width, which has none.
        """
        self._check_event("x", x)
        self._check_width()
        return self._log_joint(*self._standardise(x, 1.0, 0.0)).logsumexp(1)

    def score(self, x: Batch) -> Batch:
        """Gradient of the log-density, ``grad_x log p(x)``, (B, *event)."""
        return self.posterior(x, 1.0, 0.0).score

    def posterior(self, x_t: Batch, alpha_t: Tensor | float, sigma_t: Tensor | float) -> Posterior:
        """Mean of x_1 and score, given ``x_t = alpha_t x_1 + sigma_t eps`` with x_1 ~ p and eps ~ N(0, I).

        With ``S_k = alpha_t^2 C_k + sigma_t^2 I`` and responsibilities ``r_k ~ w_k N(x_t; alpha_t m_k, S_k)``::

            E[x_1 | x_t] = sum_k r_k (m_k + alpha_t C_k S_k^-1 (x_t - alpha_t m_k))
            grad log p_t(x_t) = -sum_k r_k S_k^-1 (x_t - alpha_t m_k)

        Args:
            x_t: noisy samples, (B, *event).
            alpha_t: scale of the data, (B,) or one number.
            sigma_t: scale of the noise, (B,) or one number.

        Chapter 04 derives it. The weights are computed in log space: a plain sum underflows to 0 near t = 1.
        """
        self._check_event("x_t", x_t)
        y, s = self._standardise(x_t, alpha_t, sigma_t)
        r = self._log_joint(y, s).softmax(1)[..., None]
        alpha = torch.as_tensor(alpha_t, dtype=x_t.dtype, device=x_t.device).reshape(-1, 1, 1)
        shrunk, pull = alpha * self.variances * y / s, y / s
        if self.axes is not None:
            shrunk = torch.einsum("kij,bkj->bki", self.axes, shrunk)
            pull = torch.einsum("kij,bkj->bki", self.axes, pull)
        x_1 = (r * (self.means + shrunk)).sum(1)
        return Posterior(x_1.reshape(x_t.shape), -(r * pull).sum(1).reshape(x_t.shape))

    def marginal(self, alpha: float, sigma: float) -> GaussianMixture:
        """Law of ``alpha x_1 + sigma eps``: the mixture of ``N(alpha m_k, alpha^2 C_k + sigma^2 I)``."""
        p_t = copy.copy(self)
        p_t.means = alpha * self.means
        p_t.variances = alpha**2 * self.variances + sigma**2
        return p_t

    def entropy(self) -> float:
        """Entropy in nats, by the trapezoid rule in the plane; exact to about eight digits for such smooth densities.

        Raises:
            InputError: the event is not a point of the plane; a component without width.
        """
        self._check_width()
        if self.event_shape != (2,):
            raise InputError("event_shape", expected="(2,): the entropy is integrated on a grid", got=self.event_shape)
        # Exact covariances would narrow the box; eight widest standard deviations suffice for every component.
        reach, step = 8 * float(self.variances.max().sqrt()), 0.5 * float(self.variances.min().sqrt())
        low, high = self.means.min(0).values - reach, self.means.max(0).values + reach
        x, y = (torch.arange(float(a), float(b), step) for a, b in zip(low, high, strict=True))
        total = 0.0
        for column in x:  # a column at a time: the whole grid times K components would not fit
            log_p = self.log_prob(torch.stack([column.expand(len(y)), y], 1).to(self.means.dtype))
            total -= float((log_p.exp() * log_p).sum())
        return total * step**2

    def _standardise(self, x: Tensor, alpha: Tensor | float, sigma: Tensor | float) -> tuple[Tensor, Tensor]:
        """Offsets from the scaled means along the principal axes, and the variances there, both (B, K, d)."""
        alpha, sigma = (torch.as_tensor(u, dtype=x.dtype, device=x.device).reshape(-1, 1, 1) for u in (alpha, sigma))
        y = x.flatten(1)[:, None] - alpha * self.means
        if self.axes is not None:
            y = torch.einsum("kij,bki->bkj", self.axes, y)
        floor = torch.finfo(x.dtype).eps ** 2  # a point mass without noise would divide by zero
        return y, (alpha**2 * self.variances + sigma**2).clamp_min(floor)

    def _log_joint(self, y: Tensor, s: Tensor) -> Tensor:
        """Log of ``w_k N(x; m_k, S_k)``, (B, K)."""
        return self.log_weights - 0.5 * (y**2 / s + s.log() + math.log(2 * math.pi)).sum(2)

    def _check_width(self) -> None:
        if self.variances.device.type == "cpu" and not bool((self.variances > 0).all()):  # GPUs are not waited for
            raise InputError(
                "covariance",
                expected="positive variances: a component without width has no density",
                got=0.0,
                cure="marginal(1, sigma) adds noise of standard deviation sigma",
            )

    def _check_event(self, name: str, x: Tensor) -> None:
        if tuple(x.shape[1:]) != self.event_shape:
            raise InputError(name, expected=f"shape (B, {', '.join(map(str, self.event_shape))})", got=tuple(x.shape))


class Gaussian(GaussianMixture):
    """Normal distribution ``N(m, C)``: a mixture of one.

    Args:
        mean: m, shape (*event); ``torch.zeros(2)`` for the standard normal of the plane.
        covariance: one variance, or a (d, d) matrix with d the size of the flattened event.
    """

    def __init__(self, mean: Tensor, covariance: Tensor | float = 1.0) -> None:
        c = torch.as_tensor(covariance, dtype=mean.dtype)
        super().__init__(mean[None], c[None] if c.ndim == 2 else c)

    def entropy(self) -> float:
        """Entropy ``1/2 log det(2 pi e C)`` in nats."""
        return 0.5 * float((2 * math.pi * math.e * self.variances.expand_as(self.means)).log().sum())


def _principal_axes(covariance: Tensor, means: Tensor) -> tuple[Tensor, Tensor | None]:
    """Eigenvalues (K, d) and eigenvectors (K, d, d) of the covariances; no eigenvectors where they are isotropic."""
    k, d = means.shape
    check_finite("covariance", covariance)
    if covariance.shape == (k, d, d):
        if not torch.allclose(covariance, covariance.mT):
            raise InputError("covariance", expected="symmetric matrices", got="one that differs from its transpose")
        variances, axes = torch.linalg.eigh(covariance)
    elif covariance.shape in {(), (k,)}:
        variances, axes = covariance.expand(k)[:, None].expand(k, d), None
    else:
        raise InputError(
            "covariance", expected=f"a number, {k} numbers or shape {(k, d, d)}", got=f"shape {tuple(covariance.shape)}"
        )
    rounding = d * torch.finfo(means.dtype).eps * variances.max()  # of a zero eigenvalue
    if not bool((variances >= -rounding).all()):
        raise InputError("covariance", expected="no negative variance", got=float(variances.min()))
    return variances.clamp(min=0), axes
