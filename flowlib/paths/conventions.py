"""Other people's time and networks, into ours and back: the only module where they are converted.

Ours: t = 0 is noise, t = 1 is data, a network is a velocity field v(x, t, c) of a path. Theirs:

========================  ======================================  ===============================================
who                       their point                             their time
========================  ======================================  ===============================================
DDPM, DDIM, Stable        ``sqrt(abar_k) data + sqrt(1 - abar_k)  index k = 0 .. K-1, the last one noise; papers
Diffusion                 eps``, K values of beta                 count from 1
EDM, k-diffusion          ``data + sig eps``                      sig from 80 to 0
SD3, Flux, diffusers      ``(1 - s) data + s eps``                s = 1 is noise, velocity ``eps - data``
========================  ======================================  ===============================================

Signal-to-noise ratio is what they share: points of equal ratio differ by a scale. Chapter 03 uses the first, chapters
13 and 14 the last; the second serves networks that others have trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Num
from torch import Tensor

from flowlib.errors import InputError
from flowlib.paths.path import Path
from flowlib.paths.schedules import OT
from flowlib.shapes import Batch, Field, PerSample, Times
from flowlib.tensors import per_sample

Betas = Float[Tensor, " K"]  # one a step, from data to noise
Steps = Num[Tensor, " B"]  # whole or not


def linear_betas(steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> Betas:
    """DDPM's betas: evenly spaced, (K,) in float64. Source: Ho et al. 2020, section 4."""
    return torch.linspace(first, last, steps, dtype=torch.float64)


def scaled_linear_betas(steps: int = 1000, first: float = 0.00085, last: float = 0.012) -> Betas:
    """Stable Diffusion's betas: their roots are evenly spaced. Source: Rombach et al. 2022, code."""
    return torch.linspace(math.sqrt(first), math.sqrt(last), steps, dtype=torch.float64) ** 2


def cosine_betas(steps: int = 1000, offset: float = 0.008, largest: float = 0.999) -> Betas:
    """Betas of ``abar = f(k/K) / f(0)``, ``f(s) = cos^2((s + offset)/(1 + offset) pi/2)``, none above ``largest``.

    Source: Nichol and Dhariwal 2021, equation 17.
    """
    s = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    f = torch.cos((s + offset) / (1 + offset) * math.pi / 2) ** 2
    return (1 - f[1:] / f[:-1]).clamp(max=largest)


def zero_terminal_snr(betas: Betas) -> Betas:
    """Betas whose last point is pure noise: ``sqrt(abar)`` shifted to 0 at the last step, the first one kept.

    With ``a_k = sqrt(abar_k)``: ``a_k <- (a_k - a_K) a_1 / (a_1 - a_K)``, then ``beta_k = 1 - (a_k / a_{k-1})^2``; the
    last beta is 1. No network that predicts noise can be used there: pure noise tells nothing about the data.

    Source: Lin et al. 2024 ("Common diffusion noise schedules and sample steps are flawed"), algorithm 1. Chapter 03.
    """
    a = alpha_bar(betas).sqrt()
    a = (a - a[-1]) * (a[0] / (a[0] - a[-1]))
    return 1 - torch.cat([a[:1], a[1:] / a[:-1]]) ** 2


def alpha_bar(betas: Betas) -> Betas:
    """Share of the data's variance that is left, ``abar_k = prod_{j <= k} (1 - beta_j)``, (K,).

    Raises:
        InputError: betas that are not above 0 and at most 1.
    """
    if betas.ndim != 1 or len(betas) < 2 or not bool(((betas > 0) & (betas <= 1)).all()):
        raise InputError("betas", expected="two or more numbers above 0 and at most 1, data to noise", got=betas)
    return (1 - betas).cumprod(0)


def time_of_step(k: Steps, betas: Betas, path: Path = OT()) -> PerSample:  # noqa: B008  frozen
    """Time on a path with the signal-to-noise ratio of steps k = 0 .. K-1, ``abar_k / (1 - abar_k)``.

    Args:
        k: index of the step, (B,); a fraction where it lies between two.
        betas: their schedule, (K,).
        path: ours.

    Raises:
        InputError: a step that is none of the K, a ratio that the path does not reach.
    """
    if not bool(((k >= 0) & (k <= len(betas) - 1)).all()):
        raise InputError("k", expected=f"0 to {len(betas) - 1}", got=k, cure="papers count from 1, networks from 0")
    k = k if k.is_floating_point() else k.to(torch.get_default_dtype())
    lam = _log_snr(betas).to(k.device)
    before, after = k.floor().long(), k.ceil().long()
    lam_k = torch.lerp(lam[before], lam[after], (k - before).to(lam))
    lam_k = torch.where(before == after, lam[before], lam_k)  # minus infinity has no fraction
    return path.time_at_snr(lam_k.exp()).to(k)


def step_of_time(t: PerSample, betas: Betas, path: Path = OT()) -> PerSample:  # noqa: B008  frozen
    """Step k, as a fraction, with the signal-to-noise ratio of the path at time t; the first or last one beyond.

    Between two steps log SNR is interpolated linearly: networks are asked at fractions, as is usual.
    """
    lam, lam_t = _log_snr(betas), path.snr(t).log().to(betas)
    after = torch.searchsorted(-lam, -lam_t).clamp(1, len(lam) - 1)
    rise = (lam[after - 1] - lam_t) / (lam[after - 1] - lam[after])
    rise = torch.where(lam_t <= lam[after], 1.0, rise.clamp(0, 1))  # also where both are minus infinity
    return (after - 1 + rise).to(t)


def from_ddpm(
    net: Callable[..., Tensor],
    betas: Betas,
    path: Path = OT(),  # noqa: B008  frozen
    predict: Literal["noise", "v"] = "noise",
) -> Field:
    """Velocity field on ``path`` of a network trained by DDPM's rules.

    It is asked at ``x_k = x_t / sqrt(alpha_t^2 + sigma_t^2)``, which has the variance that it knows, and at the step k
    of the same ratio. Its prediction becomes one of the data, ``x_1 = (x_k - sigma eps) / alpha``, or
    ``x_1 = alpha x_k - sigma v`` for v-prediction, ``v = alpha eps - sigma data`` (not our velocity).

    Args:
        net: net(x_k, k, c) with k from 0 to K-1, a fraction where the time lies between two steps.
        betas: what it was trained with, (K,).
        path: ours.
        predict: what it predicts, "noise" or "v".

    Raises:
        InputError: another word for ``predict``; a noise predictor asked at t = 0 of a path that starts in pure noise:
            start a little later; a time where the velocity of the path is infinite (VP, t = 1).

    Source: Salimans and Ho 2022, appendix D, for v-prediction.
    """

    if predict not in ("noise", "v"):
        expected = '"noise" or "v", which is alpha eps - sigma data and not our velocity'
        raise InputError("predict", expected=expected, got=repr(predict))

    def v(x: Batch, t: PerSample, c: object = None) -> Batch:
        path.check_velocity(t)
        alpha_t, sigma_t = per_sample(path.alpha(t), x), per_sample(path.sigma(t), x)
        size = (alpha_t**2 + sigma_t**2).sqrt()
        value = net(x / size, step_of_time(t, betas, path), c)
        if predict == "noise":
            return path.convert(value, x, t, have="noise", want="velocity")
        x_1, x_0 = (alpha_t * x / size - sigma_t * value) / size, (sigma_t * x / size + alpha_t * value) / size
        return per_sample(path.d_alpha(t), x) * x_1 + per_sample(path.d_sigma(t), x) * x_0

    return v


def to_ddpm(v: Field, betas: Betas, path: Path = OT()) -> Callable[..., Tensor]:  # noqa: B008  frozen
    """Noise predictor eps(x_k, k, c) by DDPM's rules of a velocity field on ``path``."""

    def net(x_k: Batch, k: Steps, c: object = None) -> Batch:
        t = time_of_step(k, betas, path)
        x = per_sample((path.alpha(t) ** 2 + path.sigma(t) ** 2).sqrt(), x_k) * x_k
        return path.convert(v(x, t, c), x, t, have="velocity", want="noise")

    return net


def from_edm(denoiser: Callable[..., Tensor], path: Path = OT()) -> Field:  # noqa: B008  frozen
    """Velocity field on ``path`` of a denoiser: ``v`` with ``x_1_hat = Den(x_t / alpha_t, sigma_t / alpha_t)``.

    On the straight path that is ``v = (Den(x/t, (1-t)/t) - x) / (1 - t)``.

    Args:
        denoiser: Den(y, sig, c), an estimate of the data in ``y = data + sig eps``; sig has shape (B,).
        path: ours.

    Raises:
        InputError: t = 0 where alpha_0 = 0, since sig would be infinite, and t = 1 where sigma_1 = 0.

    Source: Karras et al. 2022 (EDM), equations 1 and 3.
    """

    def v(x: Batch, t: PerSample, c: object = None) -> Batch:
        alpha_t = path.alpha(t)
        if bool((alpha_t == 0).any()):
            raise InputError("t", expected="alpha_t > 0, a finite sig", got="t = 0", cure="start at time_of_sigma(80)")
        x_1 = denoiser(x / per_sample(alpha_t, x), path.sigma(t) / alpha_t, c)
        return path.convert(x_1, x, t, have="data", want="velocity")

    return v


def to_edm(v: Field, path: Path = OT()) -> Callable[..., Tensor]:  # noqa: B008  frozen
    """Denoiser Den(y, sig, c) of a velocity field on ``path``: ``E[data | y = data + sig eps]``."""

    def denoiser(y: Batch, sig: PerSample, c: object = None) -> Batch:
        t = time_of_sigma(sig, path)
        x = per_sample(path.alpha(t), y) * y
        return path.convert(v(x, t, c), x, t, have="velocity", want="data")

    return denoiser


def time_of_sigma(sig: Tensor, path: Path = OT()) -> Tensor:  # noqa: B008  frozen
    """Time at which ``sigma_t / alpha_t`` is EDM's sig; ``1 / (1 + sig)`` on the straight path."""
    return path.time_at_snr(sig**-2.0)


def reverse_time(v: Field) -> Field:
    """Velocity field of the other clock, s = 1 - t: ``v_s(x, s, c) = -v(x, 1 - s, c)``; its own inverse.

    SD3 and Flux run from s = 1 (noise) to 0 and predict ``eps - data`` on the straight path.
    """
    return lambda x, s, c=None: -v(x, 1 - s, c)


def sd3_times(steps: int, shift: float = 3.0, least: float = 0.001) -> Times:
    """Times of a sampler of SD3: ``steps`` points of s from 1 to ``least``, shifted once, then 0; as t = 1 - s.

    With a the shift, ``s <- a s / (1 + (a - 1) s)``: most steps go where noise prevails. The released code shifts the
    smallest s twice, so that 0.001 becomes 0.0089 at a = 3; give that as shifted once, ``least=0.00299``, for parity.

    Args:
        steps: number of steps, each one evaluation of Euler's method.
        shift: a, above 1 for large pictures; 3 in SD3.
        least: smallest s before the shift.

    Returns:
        (steps + 1,) increasing times, 0 to 1.

    Raises:
        InputError: no step at all.

    Source: Esser et al. 2024 (SD3), equation 23, and released code.
    """
    if steps < 1:
        raise InputError("steps", expected="at least 1", got=steps)
    s = torch.linspace(1, least, steps, dtype=torch.float64)
    s = shift * s / (1 + (shift - 1) * s)
    return 1 - torch.cat([s, s.new_zeros(1)])


def _log_snr(betas: Betas) -> Betas:
    """``ln(abar_k / (1 - abar_k))``, strictly falling; minus infinity at the end of a zero-terminal schedule."""
    abar = alpha_bar(betas)
    return abar.log() - (1 - abar).log()
