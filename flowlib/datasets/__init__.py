"""Data sets as tensors. Importing this reads nothing and downloads nothing."""

from flowlib.datasets.captioned_shapes import (
    HELD_OUT,
    CaptionedShapes,
    Scene,
    Shape,
    captioned_shapes,
    tokenize,
    told_shapes,
    vocabulary,
)
from flowlib.datasets.cifar10 import CIFAR10_CLASSES, cifar10
from flowlib.datasets.digits import digits, grey_levels
from flowlib.datasets.emoji import Emoji, emoji
from flowlib.datasets.fashion_mnist import FASHION_CLASSES, fashion_mnist
from flowlib.datasets.fetch import fetch, verify
from flowlib.datasets.labelled import Labelled, between, epochs, flipped, from_noise
from flowlib.datasets.latents import LatentShards, open_latents, write_latents
from flowlib.datasets.sources import Source, catalogue
from flowlib.datasets.stream import Stream
from flowlib.datasets.transfer import between_sets, of_class
from flowlib.datasets.words import Words

__all__ = [
    "CIFAR10_CLASSES",
    "FASHION_CLASSES",
    "HELD_OUT",
    "CaptionedShapes",
    "Emoji",
    "Labelled",
    "LatentShards",
    "Scene",
    "Shape",
    "Source",
    "Stream",
    "Words",
    "between",
    "between_sets",
    "captioned_shapes",
    "catalogue",
    "cifar10",
    "digits",
    "emoji",
    "epochs",
    "fashion_mnist",
    "fetch",
    "flipped",
    "from_noise",
    "grey_levels",
    "of_class",
    "open_latents",
    "tokenize",
    "told_shapes",
    "verify",
    "vocabulary",
    "write_latents",
]
