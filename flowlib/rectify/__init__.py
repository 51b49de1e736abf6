"""Making flows straight: the pairs of a flow, reflow, distillation, and the numbers that say how straight a flow is."""

from flowlib.rectify.measures import straightness, transport_cost, velocities
from flowlib.rectify.pairs import Pairs, converge, flow_pairs
from flowlib.rectify.rounds import Round, distill, reflow
from flowlib.rectify.shards import PairShards, open_shards, write_shards

__all__ = [
    "PairShards",
    "Pairs",
    "Round",
    "converge",
    "distill",
    "flow_pairs",
    "open_shards",
    "reflow",
    "straightness",
    "transport_cost",
    "velocities",
    "write_shards",
]
