"""The published size of the U-Net, counted without allocating it."""

import pytest
import torch

from flowlib.errors import InputError
from flowlib.models import UNet
from flowlib.models.unet import PixelAttention, ResidualBlock
from flowlib.recipes import RECIPES


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_the_network_of_the_flow_matching_papers():
    """35.7 M parameters where the time only shifts; attention at 16 x 16 and in the middle; dropout in every block."""
    with torch.device("meta"):
        v = UNet.of("cifar10")
        x = torch.zeros(2, 3, 32, 32)
        assert v(x, torch.zeros(2)).shape == x.shape
    blocks = [m for m in v.modules() if isinstance(m, ResidualBlock)]
    scales = sum(count(block.modulation) // 2 for block in blocks)
    assert (count(v) - scales) / 1e6 == pytest.approx(35.7, abs=0.05)
    assert all(block.dropout.p == 0.1 for block in blocks)
    seen = []
    for module in v.modules():
        if isinstance(module, PixelAttention):
            module.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[-1]))
    with torch.device("meta"):
        v(x, torch.zeros(2))
    assert seen == [16, 16, 4, 16, 16, 16]  # two on the way down, the middle, three on the way up


def test_changes_win():
    with torch.device("meta"):
        assert UNet.of("cifar10", num_classes=10, dropout=0.0).num_classes == 10


def test_another_size(unchecked):
    with pytest.raises(InputError, match="name: expected one of cifar10, got 'XL/2'"):
        UNet.of("XL/2")


@pytest.mark.parametrize(("name", "megabytes"), [("rf_cifar10_small", 2), ("rf_fashion", 28), ("rf_cifar10", 154)])
def test_full_networks_have_the_size_that_their_recipes_say(name, megabytes):
    """What is shipped has to fit with the book; the network and the loss fit together."""
    recipe = RECIPES[name]("full")
    with torch.device("meta"):
        v = recipe.model()
        shape = (2, v.channels, 28, 28) if name == "rf_fashion" else (2, v.channels, 32, 32)
        c = torch.zeros(2, dtype=torch.long) if v.num_classes else None
        assert recipe.loss(v, torch.zeros(shape), torch.zeros(shape), c).shape == ()
    assert 0.65 * megabytes < 4 * count(v) / 1e6 < megabytes
