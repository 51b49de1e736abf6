"""flowlib: flow-based image generation, from a normalizing flow in the plane to Flux.

The map, from the ground up; imports only go down::

    errors shapes tensors estimates derivatives    letters, time broadcasting, divergences
    atomic                                         files that are never half there
    densities   datasets   bijections              known distributions, data, invertible maps
    solvers   layers                               ODE solvers, leaves of networks
    paths                                          x_t = alpha_t x_1 + sigma_t x_0 and all that follows from it
    flows   models                                 things with log_prob and sample; networks v(x, t, c)
    objectives   sampling   rectify                losses; noise to data; straightness
    training   evaluation                          the one loop; distances and judges
    recipes   pretrained                           one run each, as a frozen value; released weights in our modules
    cli                                            flowlib show | train | sample | evaluate | results | data | chapters
    viz   coursework                               side wings, for notebooks and teachers

Time runs from t = 0 (noise, x_0) to t = 1 (data, x_1) everywhere.
"""

from flowlib.densities import Gaussian, GaussianMixture, eight_gaussians, moons
from flowlib.errors import InputError
from flowlib.flows import CNF, MAF, Glow, MatchedFlow, RealNVP, SplineFlow
from flowlib.models import MLP
from flowlib.objectives import flow_matching, negative_log_likelihood
from flowlib.paths import OT, VE, VP, Cosine, exact_velocity
from flowlib.sampling import sample
from flowlib.solvers import DOPRI5, EULER, HEUN, MIDPOINT, RK4, solve
from flowlib.training import EMA, Plan, train

__version__ = "0.1.0"

__all__ = [
    "CNF",
    "DOPRI5",
    "EMA",
    "EULER",
    "HEUN",
    "MAF",
    "MIDPOINT",
    "MLP",
    "OT",
    "RK4",
    "VE",
    "VP",
    "Cosine",
    "Gaussian",
    "GaussianMixture",
    "Glow",
    "InputError",
    "MatchedFlow",
    "Plan",
    "RealNVP",
    "SplineFlow",
    "eight_gaussians",
    "exact_velocity",
    "flow_matching",
    "moons",
    "negative_log_likelihood",
    "sample",
    "solve",
    "train",
]
