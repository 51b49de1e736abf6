"""The leaves that models share."""

from flowlib.layers.embeddings import time_embedding
from flowlib.layers.masked import MADE, MaskedLinear
from flowlib.layers.mlp import ConditionedMLP, mlp

__all__ = ["MADE", "ConditionedMLP", "MaskedLinear", "mlp", "time_embedding"]
