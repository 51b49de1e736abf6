"""The theory of x_t: paths from noise to data, their velocities, and the conversions between predictions."""

from flowlib.paths.exact import exact_velocity
from flowlib.paths.path import Path, PathSample
from flowlib.paths.schedules import OT, VE, VP, Cosine

__all__ = ["OT", "VE", "VP", "Cosine", "Path", "PathSample", "exact_velocity"]
