"""Networks. A velocity network is called as v(x, t, c)."""

from flowlib.models.autoencoder import Autoencoder, Posterior
from flowlib.models.classifier import Classifier, ResidualClassifier
from flowlib.models.dit import DiT
from flowlib.models.flux import Flux
from flowlib.models.mar import MAR
from flowlib.models.mlp import MLP
from flowlib.models.mmdit import MMDiT
from flowlib.models.text import Text, TextEncoder, TextToImage
from flowlib.models.unet import UNet
from flowlib.models.vit import ViT

__all__ = [
    "MAR",
    "MLP",
    "Autoencoder",
    "Classifier",
    "DiT",
    "Flux",
    "MMDiT",
    "Posterior",
    "ResidualClassifier",
    "Text",
    "TextEncoder",
    "TextToImage",
    "UNet",
    "ViT",
]
