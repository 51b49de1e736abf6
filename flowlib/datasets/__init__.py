"""Data sets as tensors. Importing this reads nothing and downloads nothing."""

from flowlib.datasets.digits import digits, grey_levels
from flowlib.datasets.labelled import Labelled, between, epochs, from_noise

__all__ = ["Labelled", "between", "digits", "epochs", "from_noise", "grey_levels"]
