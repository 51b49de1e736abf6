"""Flux: the same numbers as diffusers', words at the origin, norms before rotations, published sizes."""

from functools import partial

import pytest
import torch
from laws import reaches_every_parameter
from torch import nn
from transformer_parts import POOLED, WORDS, Sinusoids, batch, random_weights

from flowlib.errors import InputError
from flowlib.layers import attention_weights, time_embedding
from flowlib.models import Flux, TextEncoder, TextToImage
from flowlib.models.flux import SingleBlock

WIDTH, HEADS = 24, 3
AXES = (2, 4, 2)


def small(*, fresh=False, **changes) -> Flux:
    sizes = {"width": WIDTH, "heads": HEADS, "double": 2, "single": 3, "patch": 2, "axes": AXES} | changes
    model = Flux(3, WORDS, POOLED, **sizes)
    return model.eval() if fresh else random_weights(model)


# ---------------------------------------------------------------- an independent implementation


def as_diffusers(ours: Flux):
    from diffusers import FluxTransformer2DModel

    from flowlib.pretrained.flux import to_diffusers

    theirs = FluxTransformer2DModel(
        in_channels=12,
        num_layers=len(ours.double_blocks),
        num_single_layers=len(ours.single_blocks),
        attention_head_dim=WIDTH // HEADS,
        num_attention_heads=HEADS,
        joint_attention_dim=WORDS,
        pooled_projection_dim=POOLED,
        guidance_embeds=ours.embed_guidance is not None,
        axes_dims_rope=AXES,
    )
    theirs.to(next(ours.parameters()).dtype).eval()
    theirs.load_state_dict(to_diffusers(ours.state_dict()))
    return theirs


def diffusers_velocity(theirs, x, t, c, w=None):
    """As the pipeline of diffusers calls it: patches packed as (c p q), ids of its own making."""
    from diffusers import FluxPipeline

    n, channels, height, width = x.shape
    packed = FluxPipeline._pack_latents(x, n, channels, height, width)
    ids = FluxPipeline._prepare_latent_image_ids(n, height // 2, width // 2, x.device, x.dtype)
    y = theirs(packed, c.tokens, c.pooled, t, ids, torch.zeros(c.tokens.shape[1], 3), guidance=w).sample
    return FluxPipeline._unpack_latents(y, 8 * height, 8 * width, 8)


@pytest.mark.parametrize("guidance", [False, True], ids=["plain", "guidance"])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-9), (torch.float32, 1e-5)], ids=str)
def test_velocity_is_that_of_diffusers(guidance, dtype, atol):
    """On pictures that are not square, with every modulation at work."""
    ours = small(guidance=guidance).to(dtype)
    nn.init.normal_(ours.head.weight, std=0.02)
    theirs = as_diffusers(ours)
    x, t, c = batch(dtype=dtype)
    w = torch.tensor([1.0, 2.5, 4.0], dtype=dtype) if guidance else None
    if dtype == torch.float64:
        theirs.time_text_embed.time_proj = Sinusoids()
    else:
        t = (1000 * t).round() / 1000  # where 1000 t is exact
    with torch.no_grad():
        there = diffusers_velocity(theirs, x, t, c, w)
        torch.testing.assert_close(ours(x, t, c, w=w), there, rtol=0, atol=atol)
    assert float(there.std()) > 0.1


# ---------------------------------------------------------------- laws of its own


def test_a_single_block_is_its_formula(float64, generator):
    """Written out, one head at a time: both branches read the same normalised tokens, and one map takes both."""
    block, angles = random_weights(SingleBlock(12, 2), 0.3), torch.randn(5, 3, generator=generator)
    x, e = torch.randn(2, 5, 12, generator=generator), torch.randn(2, 12, generator=generator)
    shift, scale, gate = nn.functional.linear(
        e * e.sigmoid(), block.modulation.linear.weight, block.modulation.linear.bias
    )[:, None].chunk(3, -1)
    y = (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-6).sqrt() * (1 + scale) + shift
    rows = block.into(y)
    q, k, v, u = rows[..., :12], rows[..., 12:24], rows[..., 24:36], rows[..., 36:]

    def turned(z, gain):  # normalised, then rotated pair by pair, as complex numbers
        z = gain * z / (z.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        z = torch.view_as_complex(z.unflatten(-1, (3, 2)).contiguous())
        return torch.view_as_real(z * torch.polar(torch.ones_like(angles), angles)).flatten(-2)

    heads = [slice(0, 6), slice(6, 12)]
    taken = [
        (turned(q[..., s], block.norm_q.weight) @ turned(k[..., s], block.norm_k.weight).mT / 6**0.5).softmax(-1)
        @ v[..., s]
        for s in heads
    ]
    gelu = 0.5 * u * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (u + 0.044715 * u**3)))
    want = x + gate * block.out(torch.cat([*taken, gelu], -1))
    torch.testing.assert_close(block(x, e, angles=angles), want, rtol=0, atol=1e-12)
    block.fused = False
    torch.testing.assert_close(block(x, e, angles=angles), want, rtol=0, atol=1e-12)


def test_it_starts_at_zero_and_every_block_as_the_identity():
    model = small(fresh=True)
    x, t, c = batch()
    assert not model(x, t, c).any()
    text, image, e = model.embed(x, t, c)
    angles = model.angles(5, (3, 5))
    for block in model.double_blocks:
        assert all(torch.equal(a, b) for a, b in zip(block(text, image, e, angles=angles), (text, image), strict=True))
    tokens = torch.cat([text, image], 1)
    for block in model.single_blocks:
        assert torch.equal(block(tokens, e, angles=angles), tokens)


def test_words_have_no_order_and_patches_have_places(float64):
    """Words stand at (0, 0, 0) all: to permute them changes nothing; to permute patches does."""
    model = small()
    x, t, c = batch(dtype=torch.float64)
    other = c._replace(tokens=c.tokens.flip(1))
    torch.testing.assert_close(model(x, t, other), model(x, t, c), rtol=0, atol=1e-10)
    assert float((model(x.flip(3), t, c).flip(3) - model(x, t, c)).detach().abs().max()) > 1e-3


def test_angles_are_of_zero_row_and_column():
    """The first axis turns nothing; words nothing at all, nor does the first patch."""
    angles = small().angles(4, (2, 3))
    assert angles.shape == (4 + 6, 4)
    rows, columns = torch.arange(2).repeat_interleave(3), torch.arange(3).repeat(2)
    assert not angles[:5].any()
    assert not angles[:, 0].any()
    torch.testing.assert_close(angles[4:, 1], rows.double())
    torch.testing.assert_close(angles[4:, 2], rows.double() / 100)
    torch.testing.assert_close(angles[4:, 3], columns.double())


def test_scores_of_patches_see_offsets_only(float64, generator):
    """The picture moved over the grid, with no text: the same attention, as 2-D RoPE promises."""
    block, model = random_weights(SingleBlock(WIDTH, HEADS), 0.3), small()
    qkv = torch.randn(1, 15, 3 * WIDTH, generator=generator)
    angles = model.angles(0, (3, 5))
    moved = angles + (model.angles(0, (9, 9))[7 * 9 + 4])  # seven rows down, four columns to the right
    here, there = (attention_weights(*block.split(qkv, a)[:2]) for a in (angles, moved))
    torch.testing.assert_close(here, there, rtol=0, atol=1e-10)
    swapped = attention_weights(*block.split(qkv, angles[torch.randperm(15, generator=generator)])[:2])
    assert float((swapped - here).abs().max()) > 1e-3


def test_queries_and_keys_are_normalised_before_they_are_rotated(float64):
    """With gains that differ within a pair the order matters; and their size does not, with either order."""
    block, model = random_weights(SingleBlock(WIDTH, HEADS), 0.3), small()
    angles = model.angles(0, (3, 5))
    qkv = torch.randn(1, 15, 3 * WIDTH)
    q, k, _ = block.split(qkv, angles)
    raw = qkv.unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
    for have, rows, gain in ((q, raw[0], block.norm_q.weight), (k, raw[1], block.norm_k.weight)):
        normed = gain * rows / (rows.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        z = torch.view_as_complex(normed.unflatten(-1, (-1, 2)).contiguous())
        want = torch.view_as_real(z * torch.polar(torch.ones_like(angles), angles)).flatten(-2)
        torch.testing.assert_close(have, want, rtol=0, atol=1e-12)


def test_guidance_is_told_like_the_time_times_a_thousand(float64):
    """The vector e grows by the embedding of 1000 w; a number serves the whole batch; w=1 is not nothing."""
    model = small(guidance=True)
    x, t, c = batch(dtype=torch.float64)
    w = torch.tensor([1.0, 2.0, 5.0])
    angle = 1000 * w[:, None] * torch.exp(-torch.arange(128) / 128 * torch.log(torch.tensor(10_000.0)))
    extra = model.embed_guidance(torch.cat([angle.cos(), angle.sin()], 1))
    plain = model.embed_time(time_embedding(t, 256)) + model.embed_pooled(c.pooled)
    torch.testing.assert_close(model.embed(x, t, c, w)[2], plain + extra, rtol=0, atol=1e-10)
    torch.testing.assert_close(partial(model, w=2.0)(x, t, c), model(x, t, c, w=torch.full((3,), 2.0)))
    assert float((model(x, t, c, w=w) - model(x, t, c, w=2.0))[0].detach().abs().max()) > 1e-3


def test_every_parameter_learns():
    net = small(guidance=True)
    model = TextToImage(
        TextEncoder(9, WORDS, length=6),
        random_weights(Flux(3, WORDS, WORDS, width=WIDTH, heads=HEADS, double=1, single=1, axes=AXES, guidance=True)),
    )
    x, t, c = batch()
    ids = torch.arange(18).reshape(3, 6) % 9
    reaches_every_parameter(model(x, t, ids, w=3.0).square().mean(), model)
    reaches_every_parameter(net(x, t, c, w=3.0).square().mean(), net)


def test_masked_words_are_not_read():
    model = small()
    x, t, c = batch(mask=True)
    other = c._replace(tokens=torch.where(c.mask[..., None], c.tokens, 7.0))
    torch.testing.assert_close(model(x, t, other), model(x, t, c))
    assert not torch.allclose(model(x, t, c._replace(mask=None)), model(x, t, c))


@pytest.mark.parametrize(("name", "count"), [("dev", 11_901_408_320), ("schnell", 11_891_178_560)])
def test_published_sizes(name, count):
    with torch.device("meta"):
        model = Flux.of(name)
    assert sum(p.numel() for p in model.parameters()) == count
    blocks = {len(model.double_blocks): 339_831_296, len(model.single_blocks): 141_591_808}
    assert set(blocks) == {19, 38}
    for block, parameters in zip((model.double_blocks[0], model.single_blocks[0]), blocks.values(), strict=True):
        assert sum(p.numel() for p in block.parameters()) == parameters


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x, t, c: m(x[:, :2], t, c), "x: expected shape .B, 3, H, W."),
        (lambda m, x, t, c: m(x[..., :5], t, c), "multiples of the patch, 2"),
        (lambda m, x, t, c: m(x, t + 2, c), "t: expected values in"),
        (lambda m, x, t, c: m(x, t, c.tokens), "c: expected a Text of tokens .3, M, 12. .* got Tensor"),
        (lambda m, x, t, c: m(x, t, c, w=2.0), "w: expected none, this Flux has no input for it, got 2.0"),
        (lambda m, x, t, c: small(guidance=True)(x, t, c), "w: expected the strength of guidance, got None"),
        (lambda m, x, t, c: small(guidance=True)(x, t, c, w=torch.ones(2)), "or shape .3,., got shape .2,."),
        (lambda m, x, t, c: small(axes=(4, 4, 4)), "axes: expected three even numbers that add up to 8"),
        (lambda m, x, t, c: small(axes=(3, 3, 2)), "axes: expected three even numbers that add up to 8"),
        (lambda m, x, t, c: Flux.of("pro"), "name: expected a size: tiny, schnell, dev, got pro"),
    ],
)
def test_bad_input(call, message, unchecked):
    with pytest.raises(InputError, match=message):
        call(small(), *batch())
