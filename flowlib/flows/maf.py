"""MAF: a stack of masked autoregressive affine maps."""

from __future__ import annotations

from flowlib.bijections import Autoregressive, Bijection, Compose, Permutation, ScaleShift
from flowlib.flows.normalizing import NormalizingFlow
from flowlib.flows.realnvp import check_size
from flowlib.layers import MADE


class MAF(NormalizingFlow):
    """Autoregressive maps ``z_i = x_i exp(s_i(x_<i)) + t_i(x_<i)``, the order of the coordinates reversed in between.

    Fast to evaluate, slow to sample: n passes of each network.

    Args:
        dim: n, at least 2.
        layers: number of autoregressive maps.
        width: of the hidden layers of each conditioner.
        depth: number of hidden layers.
        condition: features of c, or classes where c holds labels; 0 for no condition.

    Source: MAF (Papamakarios et al. 2017), section 3, with s = -alpha and t = -mu exp(-alpha).
    """

    def __init__(self, dim: int, *, layers: int = 8, width: int = 64, depth: int = 2, condition: int = 0) -> None:
        check_size(dim, layers)

        def layer() -> Autoregressive:
            return Autoregressive(MADE(dim, 2, width=width, depth=depth, condition=condition), ScaleShift())

        super().__init__(Compose(reversed_between([layer() for _ in range(layers)], dim)), (dim,))


def reversed_between(layers: list[Autoregressive], dim: int) -> list[Bijection]:
    """The same layers with the order of the coordinates reversed between them."""
    parts: list[Bijection] = [layers[0]]
    for layer in layers[1:]:
        parts += [Permutation(range(dim - 1, -1, -1)), layer]
    return parts
