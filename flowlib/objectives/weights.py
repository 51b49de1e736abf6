"""Weights of a loss over time, for the ``weight`` of ``flow_matching``: functions w(t), (B,) to (B,).

A weight means something only with the quantity whose error it multiplies. At a given x_t the four predictions are
affine functions of each other, so their squared errors differ by a known factor, ``error_ratio``. Each weight below is
stated for the error of one quantity, as its paper does, and carried over to the one that the network predicts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from flowlib.errors import InputError
from flowlib.paths import OT, Path
from flowlib.paths.path import Quantity
from flowlib.shapes import PerSample

Weight: TypeAlias = Callable[[PerSample], PerSample]
MARGIN = 1e-6  # weights are read this far from the ends of the path, where their factors are 0 / 0


def error_ratio(path: Path, t: PerSample, *, have: Quantity, want: Quantity) -> PerSample:
    """Factor ``|error of want|^2 / |error of have|^2`` of two predictions about the same x_t, (B,).

    ``path.convert`` is affine in the value; this is its slope, squared. On the straight path the velocity's error is
    ``1 / (1 - t)^2`` times that of the data and ``1 / t^2`` times that of the noise.

    Args:
        path: whose x_t.
        t: times inside (0, 1), (B,).
        have: the quantity whose error is known.
        want: the quantity whose error is asked for.

    Raises:
        InputError: at an end of the path where one does not determine the other.
    """
    one = torch.ones_like(t)[:, None]
    return path.convert(one, torch.zeros_like(one), t, have=have, want=want)[:, 0] ** 2


def same_loss(of: Quantity, *, predict: Quantity = "velocity", path: Path = OT()) -> Weight:  # noqa: B008
    """Weight with which the loss of ``predict`` is that of ``of``, gradient and all: ``w(t) = error_ratio``.

    ``same_loss("noise", predict="data")`` is the SNR weight ``alpha_t^2 / sigma_t^2``.

    Args:
        of: the quantity whose plain loss is wanted.
        predict: what the network predicts.
        path: whose x_t.
    """
    return _on(of, lambda t: torch.ones_like(t), predict, path)


def min_snr(gamma: float = 5.0, *, predict: Quantity = "velocity", path: Path = OT()) -> Weight:  # noqa: B008
    """Weight ``min(SNR, gamma)`` on the error of the data: easy, almost clean pictures count no more than at gamma.

    For the noise that is ``min(SNR, gamma) / SNR``; for the velocity of the straight path
    ``min(SNR, gamma) / (1 + sqrt(SNR))^2``. The published ``min / (SNR + 1)`` belongs to another "v", the
    v-prediction of variance preserving paths.

    Source: Hang et al. 2023, section 3.4.
    """
    if not gamma > 0:
        raise InputError("gamma", expected="a positive number", got=gamma)
    return _on("data", lambda t: path.snr(t).clamp(max=gamma), predict, path)


def truncated_snr(*, predict: Quantity = "velocity", path: Path = OT()) -> Weight:  # noqa: B008
    """Weight ``max(SNR, 1)`` on the error of the data: that of the noise, but never less than that of the data.

    Source: Salimans and Ho 2022, section 4.
    """
    return _on("data", lambda t: path.snr(t).clamp(min=1), predict, path)


def unified(w: Callable[[Tensor], Tensor], *, predict: Quantity = "velocity", path: Path = OT()) -> Weight:  # noqa: B008
    """Weight of the loss ``1/2 E_t[w(lam_t) lam'_t |error of the noise|^2]``, with ``lam = ln SNR`` and uniform t.

    Substituting lam for t makes it ``1/2 int w(lam) E|error of the noise|^2 d lam``: the loss depends on w and not on
    the path. Compare ``SD3_WEIGHTS``.

    Source: Kingma and Gao 2023, equation 8; Esser et al. 2024 (SD3), equation 12.
    """

    def on_noise(t: Tensor) -> Tensor:
        rate = path.d_alpha(t) / path.alpha(t) - path.d_sigma(t) / path.sigma(t)  # lam' / 2
        return w(path.snr(t).log()) * rate

    return _on("noise", on_noise, predict, path)


SD3_WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {  # w(lam) of the losses that papers train with, up to a factor
    "elbo": lambda lam: torch.ones_like(lam),
    "straight path, velocity loss": lambda lam: torch.exp(-0.5 * lam),
    "cosine path, noise loss": lambda lam: 1 / torch.cosh(0.5 * lam),
    "cosine path, v-prediction loss": lambda lam: torch.exp(-0.5 * lam),
    "edm": lambda lam: (
        torch.exp(-0.5 * ((lam - 2.4) / 2.4) ** 2) / (2.4 * math.sqrt(2 * math.pi)) * (torch.exp(-lam) + 0.25)
    ),
}


def _on(of: Quantity, w: Weight, predict: Quantity, path: Path) -> Weight:
    """Carry the weight w of the error of ``of`` over to the error of ``predict``."""

    def weight(t: PerSample) -> PerSample:
        inner = t.clamp(MARGIN, min(path.end, 1 - MARGIN))
        return w(inner) * error_ratio(path, inner, have=predict, want=of)

    return weight
