"""ViT: the same numbers as transformers', published sizes, pictures that are not square."""

import pytest
import torch
from laws import reaches_every_parameter
from torch.utils.flop_counter import FlopCounterMode
from vit_weights import as_transformers

from flowlib.errors import InputError
from flowlib.models import ViT


def small(**changes) -> ViT:
    torch.manual_seed(0)
    model = ViT(
        **(
            {"channels": 3, "num_classes": 5, "size": (8, 12), "patch": 4, "width": 24, "depth": 3, "heads": 2}
            | changes
        )
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize("size", [(8, 12), (16, 16)])
def test_tokens_are_those_of_transformers(dtype, atol, size):
    from transformers import ViTConfig, ViTModel

    ours = small(size=size).to(dtype)
    config = ViTConfig(
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=96,
        image_size=size,
        patch_size=4,
        layer_norm_eps=1e-6,
        attn_implementation="sdpa",  # its plain form takes the softmax in float32, whatever the weights are
    )
    theirs = ViTModel(config, add_pooling_layer=False).to(dtype).eval()
    theirs.load_state_dict(as_transformers(ours))
    x = torch.randn(2, 3, *size, dtype=dtype)
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(x), theirs(x).last_hidden_state, rtol=0, atol=atol)
        torch.testing.assert_close(ours(x), ours.head(theirs(x).last_hidden_state[:, 0]), rtol=0, atol=10 * atol)


@pytest.mark.parametrize(
    ("name", "millions", "giga"),
    [("Ti/16", 5.7, 1.25), ("S/16", 22.1, 4.60), ("B/16", 86.6, 17.6), ("L/16", 304.3, 61.6)],
)
def test_published_sizes(name, millions, giga):
    """Parameters and multiply-adds of one picture of 224 x 224, counted by torch on the meta device."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = ViT.of(name)
        model(torch.empty(1, 3, 224, 224))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
    assert counter.get_total_flops() / 2e9 == pytest.approx(giga, rel=0.005)


def test_every_parameter_gets_a_gradient():
    model = small().train()
    x, c = torch.randn(4, 3, 8, 12), torch.tensor([0, 1, 2, 3])
    reaches_every_parameter(torch.nn.functional.cross_entropy(model(x), c), model)


def test_all_classes_are_equal_at_first_and_the_picture_is_seen_later():
    fresh = ViT(1, 10, size=8, patch=2, width=16, depth=1, heads=2)
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(fresh(x), torch.zeros(2, 10))
    model = small()
    x = torch.randn(1, 3, 8, 12)
    moved = x.roll(4, -1)  # the same patches in another order
    assert not torch.allclose(model(x), model(moved))
    torch.testing.assert_close(model(torch.cat([x, moved]))[:1], model(x), rtol=1e-4, atol=1e-5)  # samples do not mix


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: small()(torch.zeros(1, 3, 12, 8)),
            r"x: expected pictures of shape \(3, 8, 12\), got shape \(1, 3, 12, 8\)",
        ),
        (lambda: ViT(1, 10, size=9, patch=2), "H and W multiples of the patch, 2, got shape"),
        (lambda: ViT.of("H/14"), "name: expected a size and a patch: Ti/2, S/2, B/2, L/2 ..., got H/14"),
        (lambda: ViT.of("B"), "name: expected a size and a patch"),
        (lambda: ViT.of("B/x"), "name: expected a size and a patch"),
        (lambda: ViT(width=20, heads=3), "heads: expected a divisor of the width, 20, got 3"),
    ],
)
def test_bad_input(call, message, unchecked):
    with pytest.raises(InputError, match=message):
        call()
