"""Distributions that are known exactly: they can be sampled, evaluated, and used as judges of learned models."""

from flowlib.densities.density import Density
from flowlib.densities.mixture import Gaussian, GaussianMixture, Posterior
from flowlib.densities.toys import Checkerboard, checkerboard, eight_gaussians, moons, pinwheel, rings, s_curve

__all__ = [
    "Checkerboard",
    "Density",
    "Gaussian",
    "GaussianMixture",
    "Posterior",
    "checkerboard",
    "eight_gaussians",
    "moons",
    "pinwheel",
    "rings",
    "s_curve",
]
