"""How a network is told the time and the class."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from flowlib.errors import InputError
from flowlib.shapes import Labels, PerSample


def time_embedding(t: PerSample, dim: int, max_period: float = 10_000.0) -> Tensor:
    """Sinusoids ``[cos(1000 t f_i), sin(1000 t f_i)]`` with ``f_i = max_period^(-i / (dim/2))``, (B, dim).

    The frequencies were made for the step numbers 0 to 1000 of DDPM. Our t in [0, 1] is multiplied here, once; without
    the factor none of them would turn by more than a radian.

    Args:
        t: times in [0, 1], (B,).
        dim: even number of features.
        max_period: base of the frequencies; the longest period is ``2 pi max_period^(1 - 2/dim)`` steps.

    Raises:
        InputError: an odd number of features.

    Source: Vaswani et al. 2017, section 3.5; Ho et al. 2020, appendix B.
    """
    if dim % 2:
        raise InputError("dim", expected="an even number: a cosine and a sine for each frequency", got=dim)
    dtype = torch.promote_types(t.dtype, torch.float32)  # in bfloat16 an angle near 1000 is off by radians
    i = torch.arange(dim // 2, device=t.device, dtype=dtype)
    angle = 1000 * t[:, None].to(dtype) * torch.exp(-math.log(max_period) * i / (dim // 2))
    return torch.cat([angle.cos(), angle.sin()], 1).to(t.dtype)


class LabelEmbedding(nn.Module):
    """One learned vector for each of K classes, and one for no class at all, the null class with number K.

    In training each label becomes the null class with probability ``dropout``, sample by sample: the network learns
    the field with and without a class, which guidance needs.

    Args:
        num_classes: K.
        dim: size of a vector.
        dropout: probability of the null class in training.

    Raises:
        InputError: a dropout outside [0, 1]; by ``check``, which models call, labels that are missing, of another
            shape or type, or outside 0 .. K.

    Source: Ho and Salimans 2022, algorithm 1; Peebles and Xie 2023 (DiT), section 3.3. Chapter 11.
    """

    def __init__(self, num_classes: int, dim: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        if not 0 <= dropout <= 1:
            raise InputError("dropout", expected="a probability, 0 to 1", got=dropout)
        self.num_classes, self.dropout = num_classes, dropout
        self.table = nn.Embedding(num_classes + 1, dim)
        nn.init.normal_(self.table.weight, std=0.02)

    @property
    def null(self) -> int:
        """Number of the null class."""
        return self.num_classes

    def forward(self, c: Labels, generator: torch.Generator | None = None) -> Tensor:
        """Vectors (B, dim) of labels (B,); ``generator`` is where the dropout comes from, torch's own by default."""
        if self.training and self.dropout:
            c = self.drop(c, generator)
        return self.table(c)

    def drop(self, c: Labels, generator: torch.Generator | None = None) -> Labels:
        """Replace each label by the null class with probability ``dropout``, independently."""
        # torch.rand with a generator cannot be compiled for batches of any size; this draws the same numbers
        dropped = torch.empty(c.shape, device=c.device).uniform_(generator=generator) < self.dropout
        return torch.where(dropped, self.null, c)

    def check(self, c: Tensor | None, batch: int) -> None:
        """Raise ``InputError`` unless ``c`` holds one label a sample; on a GPU the values are not read."""
        wanted = f"one integer a sample, ({batch},), from 0 to {self.null} (no class)"
        if c is None or c.shape != (batch,) or c.is_floating_point():
            got = None if c is None else f"{c.dtype} of shape {tuple(c.shape)}"
            raise InputError("c", expected=wanted, got=got, cure=f"torch.full_like(c, {self.null}) asks for no class")
        if c.device.type == "cpu" and c.numel() and not 0 <= int(c.min()) <= int(c.max()) <= self.null:
            raise InputError("c", expected=wanted, got=f"{int(c.min())} to {int(c.max())}")
