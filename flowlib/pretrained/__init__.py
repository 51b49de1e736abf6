"""Released weights in our modules: maps of their keys, and downloads only when asked."""

from flowlib.pretrained.dit import load_dit, velocity
from flowlib.pretrained.files import download, read_weights

__all__ = ["download", "load_dit", "read_weights", "velocity"]
