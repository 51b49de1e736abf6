"""The theory of x_t: paths from noise to data, their velocities, and the conversions between predictions."""

from flowlib.paths.bridge import Bridge, Tube
from flowlib.paths.conversion import change_path
from flowlib.paths.exact import exact_velocity
from flowlib.paths.pairings import Pairing, entropic_plan, independent, optimal_transport, sinkhorn
from flowlib.paths.path import Path, PathSample
from flowlib.paths.schedules import OT, VE, VP, Cosine, ScaledLinear, ZeroTerminal

__all__ = [
    "OT",
    "VE",
    "VP",
    "Bridge",
    "Cosine",
    "Pairing",
    "Path",
    "PathSample",
    "ScaledLinear",
    "Tube",
    "ZeroTerminal",
    "change_path",
    "entropic_plan",
    "exact_velocity",
    "independent",
    "optimal_transport",
    "sinkhorn",
]
