"""Probability models: a base density carried by an invertible map."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from flowlib.bijections import Bijection
from flowlib.densities import Density
from flowlib.errors import InputError
from flowlib.shapes import Batch, PerSample
from flowlib.tensors import check_finite, randn, sum_event


class Flow(nn.Module, ABC):
    """A density with two verbs, ``log_prob`` and ``sample``, made by moving a base density.

    Args:
        event_shape: shape of one sample.
        base: where noise comes from; N(0, I) when left out.

    Raises:
        InputError: a base with events of another shape.
    """

    def __init__(self, event_shape: tuple[int, ...], base: Density | None = None) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.base = base
        if base is not None and base.event_shape != self.event_shape:
            raise InputError("base", expected=f"events of shape {self.event_shape}", got=base.event_shape)

    @abstractmethod
    def log_prob(self, x: Batch, c: Tensor | None = None) -> PerSample:
        """Log-density of the model at x, in nats, (B,)."""

    @abstractmethod
    def sample(self, n: int, c: Tensor | None = None, generator: torch.Generator | None = None) -> Batch:
        """Draw ``n`` samples, (n, *event); ``c`` holds n conditions."""

    def log_base(self, z: Batch) -> PerSample:
        """Log-density of the base at z, (B,)."""
        if self.base is not None:
            return self.base.to(z).log_prob(z)
        return -0.5 * (sum_event(z.square()) + math.prod(self.event_shape) * math.log(2 * math.pi))

    def draw_base(self, n: int, generator: torch.Generator | None = None) -> Batch:
        """Draw ``n`` samples of the base, (n, *event), in the dtype and on the device of the model."""
        if n < 1:
            raise InputError("n", expected="at least 1", got=n)
        like = next(self.parameters(), torch.empty(0))
        if self.base is not None:
            return self.base.sample(n, generator).to(like)
        return randn((n, *self.event_shape), like=like, generator=generator)

    def check(self, x: Tensor) -> None:
        """Raise ``InputError`` unless ``x`` is a batch of finite events of this model."""
        if tuple(x.shape[1:]) != self.event_shape:
            raise InputError("x", expected=f"events of shape {self.event_shape}", got=f"shape {tuple(x.shape)}")
        check_finite("x", x)


class NormalizingFlow(Flow):
    """Normalizing flow: x = f^-1(z), z ~ p_z, with ``log p(x) = log p_z(f(x)) + log|det df/dx|``.

    Args:
        bijection: f, from data to base.
        event_shape: shape of one sample.
        base: p_z; N(0, I) when left out.

    Raises:
        InputError: samples of another shape, NaN.

    Source: Rezende and Mohamed 2015, equation 5. Chapter 01 derives it.
    """

    def __init__(self, bijection: Bijection, event_shape: tuple[int, ...], base: Density | None = None) -> None:
        super().__init__(event_shape, base)
        self.bijection = bijection

    def log_prob(self, x: Batch, c: Tensor | None = None) -> PerSample:
        """Log-density of the model at x, in nats, (B,)."""
        self.check(x)
        z, logdet = self.bijection(x, c)
        return self.log_base(z) + logdet

    @torch.no_grad()
    def sample(self, n: int, c: Tensor | None = None, generator: torch.Generator | None = None) -> Batch:
        """Draw ``n`` samples, (n, *event); ``c`` holds n conditions."""
        return self.bijection.inverse(self.draw_base(n, generator), c)[0]

    def initialise(self, x: Batch, c: Tensor | None = None) -> None:
        """Let a first batch of data set the scales and shifts that depend on it (ActNorm), before training."""
        self.check(x)
        self.bijection.initialise(x, c)
