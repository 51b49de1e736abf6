"""Leaves of transformers: attention, patches, labels, modulation, norms."""

import pytest
import torch
from einops import repeat
from torch import nn

from flowlib.errors import InputError
from flowlib.layers import (
    AdaLN,
    Affine,
    Attention,
    CrossAttention,
    LabelEmbedding,
    attention_weights,
    fused_attention,
    grid_ids,
    layer_norm,
    patch_grid,
    patchify,
    plain_attention,
    rms_norm,
    rotary_angles,
    unpatchify,
)

MASK = torch.ones(2, 2, dtype=torch.bool).tril()

pytestmark = pytest.mark.usefixtures("float64")


def random_weights(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module


@pytest.mark.parametrize("bias", [None, (7, 9), (3, 7, 9), (2, 3, 7, 9)], ids=str)
def test_fused_attention_is_plain_attention(bias, generator):
    """In the value, and in the gradient of all that goes in."""
    q = torch.randn(2, 3, 7, 8, generator=generator)
    k, v = torch.randn(2, 2, 3, 9, 8, generator=generator)
    inputs = [q, k, v] + ([] if bias is None else [torch.randn(bias, generator=generator)])
    inputs = [u.requires_grad_() for u in inputs]
    weight = torch.randn(2, 3, 7, 8, generator=generator)
    plain, fused = plain_attention(*inputs), fused_attention(*inputs)
    torch.testing.assert_close(fused, plain, rtol=0, atol=1e-12)
    for a, b in zip(*(torch.autograd.grad((y * weight).sum(), inputs) for y in (plain, fused)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_attention_by_hand():
    """Two tokens, one head: scores 0 and ln 3 give weights 1/4 and 3/4."""
    q = torch.tensor([[[[2.0, 0, 0, 0]]]])
    k = torch.tensor([[[[0.0, 1, 0, 0], [torch.log(torch.tensor(3.0)), 0, 0, 0]]]])
    torch.testing.assert_close(attention_weights(q, k), torch.tensor([[[[0.25, 0.75]]]]))
    v = torch.tensor([[[[0.0], [4.0]]]])
    torch.testing.assert_close(plain_attention(q, k, v), torch.tensor([[[[3.0]]]]))
    hidden = torch.tensor([0.0, -torch.inf])
    torch.testing.assert_close(plain_attention(q, k, v, hidden), torch.zeros(1, 1, 1, 1))


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("rope", [False, True])
def test_multi_head_attention(qk_norm, rope, generator):
    """The module is torch's own multi-head attention, head by head; both forms agree, and so do its weights."""
    attention = random_weights(Attention(24, 3, qk_norm=qk_norm))
    x = torch.randn(2, 6, 24, generator=generator)
    angles = rotary_angles(grid_ids(2, 3), (4, 4)) if rope else None
    fused = attention(x, angles=angles)
    attention.fused = False
    torch.testing.assert_close(fused, attention(x, angles=angles), rtol=0, atol=1e-12)
    v = attention.split(x, angles)[2]
    by_weights = attention.weights(x, angles=angles) @ v
    torch.testing.assert_close(attention.out(by_weights.transpose(1, 2).flatten(2)), fused, rtol=0, atol=1e-12)
    if qk_norm:  # a rotation keeps the length, and a norm without its scale has length sqrt(d)
        for norm in (attention.norm_q, attention.norm_k):
            nn.init.ones_(norm.weight)
        for turned in attention.split(x, angles)[:2]:
            torch.testing.assert_close(turned.square().mean(-1), torch.ones(2, 3, 6), rtol=1e-3, atol=0)
    elif not rope:
        theirs = nn.MultiheadAttention(24, 3, batch_first=True)
        theirs.in_proj_weight.data, theirs.in_proj_bias.data = attention.qkv.weight.data, attention.qkv.bias.data
        theirs.out_proj.load_state_dict(attention.out.state_dict())
        torch.testing.assert_close(theirs(x, x, x)[0], fused, rtol=0, atol=1e-12)
        torch.testing.assert_close(theirs(x, x, x)[1], attention.weights(x).mean(1), rtol=0, atol=1e-12)


def test_attention_without_positions_is_blind_to_order(generator):
    attention = random_weights(Attention(8, 2))
    x, order = torch.randn(1, 5, 8, generator=generator), torch.randperm(5, generator=generator)
    torch.testing.assert_close(attention(x[:, order]), attention(x)[:, order], rtol=0, atol=1e-12)


def test_cross_attention_is_torchs(generator):
    ours = random_weights(CrossAttention(12, 3))
    theirs = nn.MultiheadAttention(12, 3, batch_first=True)
    theirs.in_proj_weight.data = torch.cat([ours.q.weight.data, ours.kv.weight.data])
    theirs.in_proj_bias.data = torch.cat([ours.q.bias.data, ours.kv.bias.data])
    theirs.out_proj.load_state_dict(ours.out.state_dict())
    x, context = torch.randn(2, 5, 12, generator=generator), torch.randn(2, 4, 12, generator=generator)
    torch.testing.assert_close(ours(x, context), theirs(x, context, context)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "patch"), [((2, 3, 4, 10), 2), ((1, 1, 9, 3), 3), ((2, 4, 5, 7), 1), ((1, 2, 8, 4), 4)]
)
def test_unpatchify_undoes_patchify(shape, patch, generator):
    x = torch.randn(shape, generator=generator)
    tokens = patchify(x, patch)
    assert torch.equal(unpatchify(tokens, patch, patch_grid(x, patch)), x)
    assert torch.equal(patchify(unpatchify(tokens, patch, patch_grid(x, patch)), patch), tokens)


def test_patches_stand_row_by_row_and_channels_last():
    """Pixels that carry their own coordinates: (row, column) as the two channels of a picture of 4 x 6."""
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing="ij")
    tokens = patchify(torch.stack([rows, columns])[None], 2)[0]
    assert tokens[1].tolist() == [0, 2, 0, 3, 1, 2, 1, 3]  # second patch of the first row
    assert tokens[3].tolist() == [2, 0, 2, 1, 3, 0, 3, 1]  # first patch of the second


def test_a_linear_map_of_patches_is_a_strided_convolution(generator):
    x, convolution = torch.randn(2, 3, 8, 12, generator=generator), nn.Conv2d(3, 5, 4, stride=4)
    linear = convolution.weight.permute(0, 2, 3, 1).flatten(1)  # d c p q -> d (p q c)
    theirs = convolution(x).flatten(2).mT
    torch.testing.assert_close(patchify(x, 4) @ linear.T + convolution.bias, theirs, rtol=0, atol=1e-12)


def test_labels_are_dropped_sample_by_sample(generator):
    labels = LabelEmbedding(10, 4, dropout=0.3)
    c = repeat(torch.arange(10), "k -> (k n)", n=1000)
    dropped = labels.drop(c, generator)
    assert labels.null == 10
    rates = (dropped == 10).reshape(10, 1000).double().mean(1)
    assert float((rates - 0.3).abs().max()) < 4 * (0.3 * 0.7 / 1000) ** 0.5
    assert torch.equal(dropped[dropped != 10], c[dropped != 10])
    again = labels.drop(c, torch.Generator().manual_seed(0))
    assert torch.equal(dropped, again)
    assert torch.equal(labels(c, torch.Generator().manual_seed(0)), labels.table(again))
    assert torch.equal(labels.eval()(c), labels.table(c))


@pytest.mark.parametrize("gate", [True, False])
def test_modulation_takes_rows_in_the_order_shift_scale_gate(gate, generator):
    width, parts = 5, 3 if gate else 2
    modulation = AdaLN(width, 2, gate=gate)
    e, x = torch.randn(2, width, generator=generator), torch.randn(2, 4, width, generator=generator)
    for number, (branch, part) in enumerate((b, p) for b in range(2) for p in ("shift", "scale", "gate")[:parts]):
        nn.init.zeros_(modulation.linear.bias)
        modulation.linear.bias.data[number * width : (number + 1) * width] = 3.0
        heard = modulation(e)
        assert [name for b in heard for name, value in b._asdict().items() if value is not None and value.any()] == [
            part
        ]
        one, gated = heard[branch], 3 * x if part == "gate" else torch.zeros_like(x)
        torch.testing.assert_close(one.into(x), {"shift": x + 3, "scale": 4 * x, "gate": x}[part])
        torch.testing.assert_close(one.out(x), gated if gate else x)


def test_modulation_hears_silu_of_its_condition(generator):
    modulation = random_weights(AdaLN(4, 1))
    e = torch.randn(3, 4, generator=generator)
    rows = torch.nn.functional.linear(e * e.sigmoid(), modulation.linear.weight, modulation.linear.bias)
    (heard,) = modulation(e)
    torch.testing.assert_close(torch.cat([*heard], -1)[:, 0], rows)


def test_constant_modulation_is_the_affine_of_a_layer_norm(generator):
    affine, norm = random_weights(Affine(6, 2)), layer_norm(6, affine=True)
    x = torch.randn(2, 3, 6, generator=generator)
    second = affine(torch.zeros(2, 6))[1]
    norm.weight.data, norm.bias.data = 1 + affine.scale[1].data, affine.shift[1].data
    torch.testing.assert_close(second.into(layer_norm(6)(x)), norm(x))
    assert torch.equal(second.out(x), x)


def test_norms_are_their_formulas(generator):
    x = torch.randn(2, 3, 7, generator=generator)
    centred = x - x.mean(-1, keepdim=True)
    torch.testing.assert_close(layer_norm(7)(x), centred / (x.var(-1, correction=0, keepdim=True) + 1e-6).sqrt())
    norm = random_weights(rms_norm(7))
    torch.testing.assert_close(norm(x), norm.weight * x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Attention(10, 3), "heads: expected a divisor of the width, 10, got 3"),
        (lambda: CrossAttention(10, 0), "heads: expected a divisor of the width, 10, got 0"),
        (lambda: LabelEmbedding(10, 4, dropout=10), "dropout: expected a probability, 0 to 1, got 10"),
        (lambda: plain_attention(*torch.zeros(3, 1, 1, 2, 4), MASK), "bias: expected numbers added to the scores"),
        (lambda: fused_attention(*torch.zeros(3, 1, 1, 2, 4), MASK), "got torch.bool"),
        (lambda: patchify(torch.zeros(1, 3, 8, 9), 2), r"H and W multiples of the patch, 2, got shape \(1, 3, 8, 9\)"),
        (lambda: patchify(torch.zeros(3, 8, 8), 2), r"x: expected shape \(B, C, H, W\)"),
        (lambda: unpatchify(torch.zeros(1, 6, 12), 2, (2, 2)), r"tokens: expected shape \(B, 4, a multiple of 4\)"),
        (lambda: unpatchify(torch.zeros(1, 4, 13), 2, (2, 2)), r"got shape \(1, 4, 13\)\. The grid is"),
    ],
)
def test_bad_input(call, message, unchecked):
    with pytest.raises(InputError, match=message):
        call()
