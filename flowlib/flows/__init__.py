"""Probability models: things with log_prob and sample."""

from flowlib.flows.continuous import CNF

__all__ = ["CNF"]
