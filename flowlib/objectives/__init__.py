"""Losses: short functions of a field and a batch."""

from flowlib.objectives.matching import flow_matching
from flowlib.objectives.timesteps import Uniform

__all__ = ["Uniform", "flow_matching"]
