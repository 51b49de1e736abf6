"""Neural spline flow: RealNVP or MAF with splines in place of scale and shift."""

from __future__ import annotations

from flowlib.bijections import Affine, Autoregressive, Bijection, Compose, Coupling, RationalQuadraticSpline
from flowlib.flows.maf import reversed_between
from flowlib.flows.normalizing import NormalizingFlow
from flowlib.flows.realnvp import check_size
from flowlib.layers import MADE, ConditionedMLP


class SplineFlow(NormalizingFlow):
    """Neural spline flow: monotonic rational-quadratic splines, coupled or autoregressive.

    Args:
        dim: dimension of x, at least 2.
        layers: number of couplings or autoregressive maps.
        bins: pieces of each spline.
        bound: splines act on [-bound, bound], outside they are the identity.
        autoregressive: every coordinate from those before it (slow to sample), or one half from the other.
        width: of the hidden layers of each conditioner.
        condition: features of c, or classes where c holds labels; 0 for no condition.

    Source: neural spline flows (Durkan et al. 2019), section 3.
    """

    def __init__(
        self,
        dim: int,
        *,
        layers: int = 6,
        bins: int = 8,
        bound: float = 5.0,
        autoregressive: bool = False,
        width: int = 64,
        condition: int = 0,
    ) -> None:
        check_size(dim, layers)
        spline = RationalQuadraticSpline(bins, bound)
        a, b = (dim + 1) // 2, dim // 2

        def autoregression() -> Autoregressive:
            return Autoregressive(MADE(dim, spline.num_params, width=width, condition=condition), spline)

        def coupling(i: int) -> Coupling:
            known, moved = (b, a) if i % 2 else (a, b)
            conditioner = ConditionedMLP(known, moved * spline.num_params, width=width, condition=condition)
            return Coupling(conditioner, spline, swap=i % 2 == 1)

        parts: list[Bijection]
        if autoregressive:
            parts = reversed_between([autoregression() for _ in range(layers)], dim)
        else:
            parts = [coupling(i) for i in range(layers)]
        super().__init__(Compose([Affine(dim), *parts]), (dim,))
