"""The leaves that models share."""

from flowlib.layers.embeddings import time_embedding

__all__ = ["time_embedding"]
