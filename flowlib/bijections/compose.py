"""Bijections made of bijections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from flowlib.bijections.bijection import Bijection, Mapped
from flowlib.errors import InputError
from flowlib.shapes import Batch, PerSample


class Compose(Bijection):
    """Composition ``z = f_L(... f_1(x))``; log-determinants add up.

    Args:
        parts: f_1 to f_L, in the order in which data meet them.

    Raises:
        InputError: no part.
    """

    parts: Sequence[Bijection]

    def __init__(self, parts: Iterable[Bijection]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)  # type: ignore[assignment]
        if not len(self.parts):
            raise InputError("parts", expected="at least one bijection", got="none")

    def forward(self, x: Batch, c: Tensor | None = None) -> tuple[Mapped, PerSample]:
        """Data to base."""
        first, *rest = self.parts
        z, logdet = first(x, c)
        for part in rest:
            z, more = part(z, c)
            logdet = logdet + more
        return z, logdet

    def inverse(self, z: Batch, c: Tensor | None = None) -> tuple[Mapped, PerSample]:
        """Base to data, last part first."""
        *rest, last = self.parts
        x, logdet = last.inverse(z, c)
        for part in reversed(rest):
            x, more = part.inverse(x, c)
            logdet = logdet + more
        return x, logdet

    def initialise(self, x: Batch, c: Tensor | None = None) -> Mapped:
        """Initialise each part with what the parts before it make of x."""
        for part in self.parts:
            x = part.initialise(x, c)
        return x


class Inverse(Bijection):
    """The same map with its directions exchanged: a masked autoregressive flow becomes an inverse autoregressive one.

    ``initialise`` leaves its parts alone: data meet them from their far side.

    Args:
        bijection: the map to turn round.
    """

    def __init__(self, bijection: Bijection) -> None:
        super().__init__()
        self.bijection = bijection

    def forward(self, x: Batch, c: Tensor | None = None) -> tuple[Mapped, PerSample]:
        """Data to base, by the bijection's inverse."""
        return self.bijection.inverse(x, c)

    def inverse(self, z: Batch, c: Tensor | None = None) -> tuple[Mapped, PerSample]:
        """Base to data, by the bijection itself."""
        return self.bijection(z, c)
