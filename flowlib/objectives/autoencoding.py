"""The loss of a KL autoencoder: what is lost of a picture, and what its latents tell."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from flowlib.errors import InputError
from flowlib.shapes import Batch, PerSample, Scalar
from flowlib.tensors import sum_event


@runtime_checkable
class Coder(Protocol):
    """What encodes pictures to a posterior, which has ``sample`` and ``rate``, and decodes latents to pictures."""

    def encode(self, x: Tensor) -> Any:
        """Posterior of pictures."""

    def decode(self, z: Tensor) -> Tensor:
        """Pictures of latents."""


class RateDistortion(NamedTuple):
    """The two pieces of the negative evidence lower bound, each (B,).

    Attributes:
        rate: R = KL(q(z | x) || N(0, I)) in bits: what z tells of x, at the price of a code for N(0, I).
        distortion: D = |x - x(z)|^2, summed over the picture.
    """

    rate: PerSample
    distortion: PerSample


def rate_distortion(model: Coder, x: Batch, generator: torch.Generator | None = None) -> RateDistortion:
    """Rate in bits and squared error of pictures x, at one draw of z from each posterior.

    Args:
        model: an autoencoder.
        x: pictures, (B, C, H, W).
        generator: of the draw.
    """
    posterior = model.encode(x)
    distortion = sum_event((x - model.decode(posterior.sample(generator))).square())
    return RateDistortion(posterior.rate() / math.log(2), distortion)


def autoencoding(model: Coder, x: Batch, *, beta: float = 1e-2, generator: torch.Generator | None = None) -> Scalar:
    """Loss ``E[D + beta R] / n`` with D the squared error, R the rate in nats and n the numbers of a picture.

    With ``p(x | z) = N(x(z), s^2 I)`` and ``beta = 2 s^2``, it is ``2 s^2 / n`` times the negative evidence lower
    bound, but for a constant: ``-log p(x) <= D / (2 s^2) + R + n log(2 pi s^2) / 2``. So beta says how exact the
    picture has to be: the smaller, the more bits.

    Args:
        model: an autoencoder.
        x: pictures, (B, C, H, W).
        beta: what a nat costs, in squared error.
        generator: of the draw of z.

    Raises:
        InputError: a beta below 0.

    Source: Kingma and Welling 2014, equation 3; Higgins et al. 2017 (beta-VAE). Chapter 12 derives it.
    """
    if beta < 0:
        raise InputError("beta", expected="no negative number", got=beta)
    rate, distortion = rate_distortion(model, x, generator)
    return (distortion + beta * math.log(2) * rate).mean() / x[0].numel()
