"""Data sets as tensors. Importing this reads nothing and downloads nothing."""

from flowlib.datasets.digits import digits, grey_levels
from flowlib.datasets.labelled import Labelled, between, epochs, flipped, from_noise
from flowlib.datasets.stream import Stream

__all__ = ["Labelled", "Stream", "between", "digits", "epochs", "flipped", "from_noise", "grey_levels"]
