"""What the tests of the picture transformers share: weights, a batch with texts, and time features for diffusers."""

import torch
from torch import nn

from flowlib.layers import time_embedding
from flowlib.models import Text

WORDS, POOLED = 12, 10


def random_weights(module: nn.Module, std: float = 0.2) -> nn.Module:
    """Away from the zeros of the start."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=std, generator=generator)
    return module.eval()


def batch(n=3, h=6, w=10, m=5, dtype=torch.float32, mask=False):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, 3, h, w, generator=generator, dtype=dtype)
    tokens = torch.randn(n, m, WORDS, generator=generator, dtype=dtype)
    pooled = torch.randn(n, POOLED, generator=generator, dtype=dtype)
    told = torch.arange(m) < torch.arange(2, n + 2)[:, None] if mask else None
    return x, torch.rand(n, generator=generator, dtype=dtype), Text(tokens, pooled, told)


class Sinusoids(nn.Module):
    """Diffusers' time features in the dtype of the time, over 128 as in DiT; its own are float32, some over 127."""

    def forward(self, timestep):
        return time_embedding(timestep / 1000, 256)
