"""What every bijection offers, and what every increasing map of the line offers to those that need one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeAlias

from jaxtyping import Float
from torch import Tensor, nn

from flowlib.errors import InputError
from flowlib.shapes import Batch, PerSample

Mapped: TypeAlias = Float[Tensor, " B *out"]  # what a bijection makes of a batch; Squeeze alone changes the event


class Bijection(nn.Module, ABC):
    """An invertible map ``z = f(x; c)`` from data to base, with the log-determinant of its Jacobian.

    Both directions return what they made and ``log|det J|`` of the way they went, (B,), so that the two of a round trip
    add up to zero. With it ``log p(x) = log p_z(f(x)) + log|det df/dx|``, the change of variables.

    The condition ``c``, one a sample, changes the map and is not changed by it; bijections hand it to their
    conditioners, and those without one pass it by.

    Source: Rezende and Mohamed 2015, equation 5. Chapter 01 derives it.
    """

    @abstractmethod
    def forward(self, x: Batch, c: Tensor | None = None) -> tuple[Mapped, PerSample]:
        """Data to base: z and ``log|det dz/dx|``."""

    @abstractmethod
    def inverse(self, z: Batch, c: Tensor | None = None) -> tuple[Mapped, PerSample]:
        """Base to data: x and ``log|det dx/dz|``."""

    def initialise(self, x: Batch, c: Tensor | None = None) -> Mapped:
        """Set what a first batch of data decides (see ``Affine``), here and in every part, and return z."""
        return self.forward(x, c)[0]


class Elementwise(ABC):
    """Increasing maps ``z = f(x; theta)`` of the line onto itself, one for each coordinate, with parameters theta.

    Couplings and autoregressive maps compute theta from other coordinates; theta = 0 is the identity.

    Attributes:
        num_params: P, how many numbers describe one map.
    """

    num_params: int

    @abstractmethod
    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Value and log-slope ``f(x), log f'(x)``, both shaped like x; theta has shape (P, *x.shape)."""

    @abstractmethod
    def inverse(self, z: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Value and log-slope of the inverse, ``f^-1(z), log (f^-1)'(z)``."""


def as_parameters(output: Tensor, x: Tensor, num_params: int) -> Tensor:
    """View a conditioner's output (B, P n, *rest), one block of n for each parameter, as theta (P, B, n, *rest).

    Raises:
        InputError: an output of another size.
    """
    b, n, *rest = x.shape
    if output.shape != (b, num_params * n, *rest):
        raise InputError(
            "conditioner",
            expected=f"an output of shape {(b, num_params * n, *rest)}, {num_params} numbers for each coordinate",
            got=tuple(output.shape),
        )
    return output.reshape(b, num_params, *x.shape[1:]).transpose(0, 1)


def check_channels(x: Tensor, n: int) -> None:
    """Raise ``InputError`` unless the second dimension of ``x`` (coordinates, channels) has size ``n``."""
    if x.ndim < 2 or x.shape[1] != n:
        raise InputError("x", expected=f"shape (B, {n}, ...)", got=f"shape {tuple(x.shape)}")
