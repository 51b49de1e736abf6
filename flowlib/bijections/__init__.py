"""Invertible maps with the log-determinant of their Jacobian: forward from data to base, inverse back."""

from flowlib.bijections.affine import Affine, ScaleShift
from flowlib.bijections.autoregressive import Autoregressive
from flowlib.bijections.bijection import Bijection, Elementwise
from flowlib.bijections.compose import Compose, Inverse
from flowlib.bijections.coupling import AffineCoupling, Coupling
from flowlib.bijections.linear import InvertibleLinear, Permutation
from flowlib.bijections.spline import RationalQuadraticSpline, rational_quadratic, rational_quadratic_inverse
from flowlib.bijections.squeeze import Split, Squeeze

__all__ = [
    "Affine",
    "AffineCoupling",
    "Autoregressive",
    "Bijection",
    "Compose",
    "Coupling",
    "Elementwise",
    "Inverse",
    "InvertibleLinear",
    "Permutation",
    "RationalQuadraticSpline",
    "ScaleShift",
    "Split",
    "Squeeze",
    "rational_quadratic",
    "rational_quadratic_inverse",
]
