"""RealNVP: a stack of affine couplings."""

from __future__ import annotations

from flowlib.bijections import AffineCoupling, Compose
from flowlib.errors import InputError
from flowlib.flows.normalizing import NormalizingFlow
from flowlib.layers import ConditionedMLP


class RealNVP(NormalizingFlow):
    """Couplings ``z_b = x_b exp(s(x_a)) + t(x_a)`` in which the two halves of the coordinates take turns.

    Fast in both directions: one pass of each network.

    Args:
        dim: dimension of x, at least 2.
        layers: number of couplings.
        width: of the hidden layers of each conditioner.
        depth: number of hidden layers.
        condition: features of c, or classes where c holds labels; 0 for no condition.

    Source: RealNVP (Dinh et al. 2017), section 3.
    """

    def __init__(self, dim: int, *, layers: int = 8, width: int = 64, depth: int = 2, condition: int = 0) -> None:
        check_size(dim, layers)
        a, b = (dim + 1) // 2, dim // 2

        def coupling(i: int) -> AffineCoupling:
            known, moved = (b, a) if i % 2 else (a, b)
            conditioner = ConditionedMLP(known, 2 * moved, width=width, depth=depth, condition=condition)
            return AffineCoupling(conditioner, swap=i % 2 == 1)

        super().__init__(Compose(coupling(i) for i in range(layers)), (dim,))


def check_size(dim: int, layers: int) -> None:
    """Raise ``InputError`` unless there are two coordinates to couple and a layer to do it."""
    if dim < 2:
        raise InputError("dim", expected="at least 2: one coordinate depends on another", got=dim)
    if layers < 1:
        raise InputError("layers", expected="at least 1", got=layers)
