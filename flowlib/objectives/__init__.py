"""Losses: short functions of a field and a batch."""

from flowlib.objectives.likelihood import dequantise, negative_log_likelihood, regularised_likelihood
from flowlib.objectives.matching import flow_matching
from flowlib.objectives.timesteps import Uniform

__all__ = ["Uniform", "dequantise", "flow_matching", "negative_log_likelihood", "regularised_likelihood"]
