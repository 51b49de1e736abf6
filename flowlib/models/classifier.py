"""A small convolutional classifier: the judge of generated digits."""

from __future__ import annotations

from torch import Tensor, nn

from flowlib.errors import InputError
from flowlib.shapes import Batch


class Classifier(nn.Module):
    """Class logits of small pictures: three convolutions, one hidden layer of features, one linear readout.

    Args:
        channels: C of the pictures.
        size: their height and width, even.
        num_classes: number of logits.
        width: channels of the first convolution; the features have four times as many numbers.

    Raises:
        InputError: pictures of another shape.
    """

    def __init__(self, channels: int = 1, size: int = 8, num_classes: int = 10, *, width: int = 32) -> None:
        super().__init__()
        self.shape = (channels, size, size)
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1, stride=2),
            nn.SiLU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(2 * width * (size // 2) ** 2, 4 * width),
            nn.SiLU(),
        )
        self.readout = nn.Sequential(nn.Dropout(0.3), nn.Linear(4 * width, num_classes))

    def forward(self, x: Batch) -> Tensor:
        """Logits, (B, num_classes)."""
        if tuple(x.shape[1:]) != self.shape:
            raise InputError("x", expected=f"pictures of shape {self.shape}", got=f"shape {tuple(x.shape)}")
        return self.readout(self.features(x))
