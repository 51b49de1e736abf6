"""Networks. A velocity network is called as v(x, t, c)."""

from flowlib.models.classifier import Classifier
from flowlib.models.mlp import MLP
from flowlib.models.unet import UNet

__all__ = ["MLP", "Classifier", "UNet"]
