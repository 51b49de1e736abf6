"""Data sets as tensors. Importing this reads nothing and downloads nothing."""

from flowlib.datasets.cifar10 import CIFAR10_CLASSES, cifar10
from flowlib.datasets.digits import digits, grey_levels
from flowlib.datasets.fashion_mnist import FASHION_CLASSES, fashion_mnist
from flowlib.datasets.labelled import Labelled, between, epochs, flipped, from_noise
from flowlib.datasets.stream import Stream

__all__ = [
    "CIFAR10_CLASSES",
    "FASHION_CLASSES",
    "Labelled",
    "Stream",
    "between",
    "cifar10",
    "digits",
    "epochs",
    "fashion_mnist",
    "flipped",
    "from_noise",
    "grey_levels",
]
