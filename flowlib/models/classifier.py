"""Small convolutional classifiers: the judges of generated pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
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


class ResidualClassifier(nn.Module):
    """Class logits of small photographs: residual stages, the mean over what is left of the picture, a linear readout.

    Args:
        channels: C of the pictures.
        size: their height and width, divisible by 2 for each stage.
        num_classes: number of logits.
        widths: channels of the stages; the features have as many numbers as the last.

    Raises:
        InputError: pictures of another shape.

    Source: He et al. 2016, section 3, shortened.
    """

    def __init__(
        self, channels: int = 3, size: int = 32, num_classes: int = 10, *, widths: Sequence[int] = (48, 96, 192)
    ) -> None:
        super().__init__()
        self.shape = (channels, size, size)
        stages = [ResidualStage(a, b) for a, b in zip([channels, *widths[:-1]], widths, strict=True)]
        self.features = nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.readout = nn.Linear(widths[-1], num_classes)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # half again as fast on a CPU

    def forward(self, x: Batch) -> Tensor:
        """Logits, (B, num_classes)."""
        if tuple(x.shape[1:]) != self.shape:
            raise InputError("x", expected=f"pictures of shape {self.shape}", got=f"shape {tuple(x.shape)}")
        return self.readout(self.features(x.contiguous(memory_format=torch.channels_last)))


class ResidualStage(nn.Module):
    """A convolution to half the size, then ``x + convolution(x)``, each normalised over the batch.

    Args:
        channels: before.
        width: channels after.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(width), nn.SiLU()
        )
        self.branch = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.SiLU())

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, channels, H, W) to (B, width, H/2, W/2)."""
        x = self.down(x)
        return x + self.branch(x)
