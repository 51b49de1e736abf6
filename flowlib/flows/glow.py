"""Glow: couplings for pictures, with a learned mixing of the channels and several scales."""

from __future__ import annotations

from torch import Tensor, nn

from flowlib.bijections import Affine, AffineCoupling, Bijection, Compose, Inverse, InvertibleLinear, Split, Squeeze
from flowlib.errors import InputError
from flowlib.flows.normalizing import NormalizingFlow
from flowlib.layers.mlp import condition_features, start_at_zero
from flowlib.shapes import Batch


class Glow(NormalizingFlow):
    """Multi-scale flow of pictures; one step is ActNorm, an invertible 1x1 convolution and an affine coupling.

    Each level squeezes 2 x 2 pixels into channels, takes its steps, and sends half of the channels on to the next. One
    more coupling gives the other half a mean and a scale that depend on the half that goes on (Glow's learned prior).
    Call ``initialise`` with a batch of data before training.

    Args:
        event_shape: (C, H, W), with H and W multiples of 2^levels.
        levels: number of scales.
        steps: K, steps at each scale.
        width: channels in the hidden layers of each conditioner.
        condition: features of c, or classes where c holds labels; 0 for no condition.

    Raises:
        InputError: pictures that cannot be squeezed so often.

    Source: Glow (Kingma and Dhariwal 2018), section 3 and figure 2.
    """

    def __init__(
        self,
        event_shape: tuple[int, int, int],
        *,
        levels: int = 2,
        steps: int = 8,
        width: int = 64,
        condition: int = 0,
    ) -> None:
        if len(event_shape) != 3 or levels < 1 or any(side % 2**levels for side in event_shape[1:]):
            raise InputError(
                "event_shape",
                expected=f"(C, H, W) with H and W multiples of 2^levels, levels={levels} and at least 1",
                got=event_shape,
            )

        def coupling(channels: int) -> AffineCoupling:
            return AffineCoupling(_Convolutions(channels // 2, 2 * (channels // 2), width, condition))

        def level(channels: int, deeper: int) -> Bijection:
            channels = 4 * channels
            parts: list[Bijection] = [Squeeze()]
            for _ in range(steps):
                parts += [Affine(channels), InvertibleLinear(channels), coupling(channels)]
            if deeper:
                parts += [coupling(channels), Split(level(channels // 2, deeper - 1))]
            return Compose([*parts, Inverse(Squeeze())])

        super().__init__(level(event_shape[0], levels - 1), event_shape)


class _Convolutions(nn.Module):
    """Conditioner of a coupling: 3x3, 1x1 and 3x3 convolutions with ReLU, the last one starting at zero."""

    def __init__(self, channels: int, out: int, width: int, condition: int) -> None:
        super().__init__()
        self.condition = condition
        self.look = nn.Conv2d(channels, width, 3, padding=1)
        self.embed = nn.Linear(condition, width, bias=False) if condition else None
        self.mix = nn.Sequential(nn.ReLU(), nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, out, 3, padding=1))
        start_at_zero(self.mix[-1])

    def forward(self, x: Batch, c: Tensor | None = None) -> Tensor:
        h = self.look(x)
        features = condition_features(c, self.condition, x)
        if self.embed is not None and features is not None:
            h = h + self.embed(features)[:, :, None, None]
        return self.mix(h)
