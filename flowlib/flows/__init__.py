"""Probability models: things with log_prob and sample."""

from flowlib.flows.autoregressive import AutoregressiveFlow
from flowlib.flows.continuous import CNF, PathIntegrals
from flowlib.flows.glow import Glow
from flowlib.flows.maf import MAF
from flowlib.flows.matched import MatchedFlow
from flowlib.flows.normalizing import Flow, NormalizingFlow
from flowlib.flows.realnvp import RealNVP
from flowlib.flows.spline_flow import SplineFlow

__all__ = [
    "CNF",
    "MAF",
    "AutoregressiveFlow",
    "Flow",
    "Glow",
    "MatchedFlow",
    "NormalizingFlow",
    "PathIntegrals",
    "RealNVP",
    "SplineFlow",
]
