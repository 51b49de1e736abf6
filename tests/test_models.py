"""Networks: the contract v(x, t, c), shapes that are not square, and clear errors."""

import pytest
import torch
from torch import nn

from flowlib.errors import InputError
from flowlib.layers import time_embedding
from flowlib.models import MLP, Classifier, UNet
from flowlib.models.unet import TIME_FEATURES, PixelAttention


def test_time_embedding_tells_times_apart():
    """64 times in [0, 1] give 64 independent rows; without the factor of 1000 only a few would be."""
    t = torch.linspace(0, 1, 64, dtype=torch.float64)
    spread = torch.linalg.svdvals(time_embedding(t, 256))
    assert int((spread > 1e-3 * spread[0]).sum()) == 64
    squeezed = torch.linalg.svdvals(time_embedding(t / 1000, 256))
    assert int((squeezed > 1e-3 * squeezed[0]).sum()) < 10


def test_time_embedding_is_ddpms_at_step_1000():
    i = torch.arange(128, dtype=torch.float64)
    angle = 1000 * 10_000 ** (-i / 128)
    embedded = time_embedding(torch.ones(1, dtype=torch.float64), 256)[0]
    torch.testing.assert_close(embedded, torch.cat([angle.cos(), angle.sin()]))


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (1, 1, 4, 8), (3, 1, 16, 4)])
def test_unet_keeps_the_shape_and_starts_at_zero(shape):
    v = UNet(1, 10)
    x = torch.randn(shape)
    velocity = v(x, torch.rand(len(x)), torch.zeros(len(x), dtype=torch.long))
    assert torch.equal(velocity, torch.zeros_like(x))


def test_unet_hears_time_and_class():
    torch.manual_seed(0)
    v = UNet(1, 10, dropout=0.1).eval()
    for p in v.parameters():  # away from the zeros of the start
        torch.nn.init.normal_(p, std=0.1)
    x, t, c = torch.randn(1, 1, 8, 8), torch.tensor([0.3]), torch.tensor([1])
    here = v(x, t, c)
    assert not torch.allclose(here, v(x, t + 0.1, c))
    assert not torch.allclose(here, v(x, t, c + 1))
    assert torch.equal(here, v(x, t, c))
    together = v(torch.cat([x, x + 1]), t.repeat(2), c.repeat(2))
    torch.testing.assert_close(together[:1], here, rtol=1e-4, atol=1e-5)  # samples do not mix


def test_time_embedding_in_bfloat16_is_that_of_float32():
    t = torch.linspace(0, 1, 21, dtype=torch.bfloat16)
    torch.testing.assert_close(time_embedding(t, 64).float(), time_embedding(t.float(), 64), rtol=0, atol=4e-3)


def labelled(c):
    return UNet(1, 10)(torch.zeros(2, 1, 8, 8), torch.zeros(2), c)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MLP(2)(torch.zeros(3, 3), torch.zeros(3)), r"x: expected shape \(B, 2\), got shape \(3, 3\)"),
        (lambda: UNet(1)(torch.zeros(1, 1, 7, 8), torch.zeros(1)), "H and W multiples of 2, got shape"),
        (lambda: UNet(3)(torch.zeros(1, 1, 8, 8), torch.zeros(1)), r"x: expected shape \(B, 3, H, W\)"),
        (lambda: UNet(1, 10)(torch.zeros(1, 1, 8, 8), torch.zeros(1)), "c: expected classes 0 to 9"),
        (lambda: UNet(1)(torch.zeros(1, 1, 8, 8), torch.zeros(1), torch.zeros(1)), "c: expected None"),
        (lambda: UNet(1)(torch.zeros(2, 1, 8, 8), torch.zeros(1)), "t: expected"),
        (lambda: UNet(1)(torch.zeros(1, 1, 8, 8), torch.tensor([500.0])), "t: expected"),
        (lambda: labelled(torch.tensor([3])), r"c: expected classes 0 to 9, \(2,\), got torch.int64 of shape \(1,\)"),
        (lambda: labelled(torch.tensor([0, 10])), "c: expected classes 0 to 9, .* got 0 to 10"),
        (lambda: labelled(torch.zeros(2)), "c: expected classes 0 to 9, .* got torch.float32"),
        (lambda: Classifier()(torch.zeros(1, 1, 9, 9)), r"x: expected pictures of shape \(1, 8, 8\)"),
        (lambda: time_embedding(torch.zeros(1), 3), "dim: expected an even number"),
    ],
)
def test_bad_input(call, message, unchecked):
    with pytest.raises(InputError, match=message):
        call()


def test_attention_of_pixels_is_blind_to_their_order(generator):
    """On a picture that is not square: rows and columns are not exchanged on the way."""
    attention, order = PixelAttention(8, 2).double(), torch.randperm(6, generator=generator)
    nn.init.normal_(attention.out.weight, generator=generator)
    x = torch.randn(2, 8, 2, 3, generator=generator, dtype=torch.float64)

    def mixed(u):
        return u.flatten(2)[:, :, order].reshape(u.shape)

    torch.testing.assert_close(attention(mixed(x)), mixed(attention(x)))


def test_unet_multiplies_time_by_a_thousand_once():
    from diffusers.models.embeddings import get_timestep_embedding

    v, seen = UNet(1), []
    v.embed_time.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    t = torch.linspace(0, 1, 5)
    v(torch.zeros(5, 1, 4, 8), t)
    theirs = get_timestep_embedding(1000 * t, TIME_FEATURES, flip_sin_to_cos=True, downscale_freq_shift=0)
    torch.testing.assert_close(seen[0], theirs.to(seen[0]), rtol=0, atol=2e-4)
