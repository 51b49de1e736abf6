"""MM-DiT: the same numbers as diffusers', the text before the picture, places from the middle, published sizes."""

import pytest
import torch
from laws import reaches_every_parameter
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformer_parts import POOLED, WORDS, Sinusoids, batch, random_weights

from flowlib.errors import InputError
from flowlib.layers import JointAttention, grid_ids, rotary_angles
from flowlib.models import MMDiT, Text, TextEncoder, TextToImage
from flowlib.models.mmdit import JointBlock

WIDTH, HEADS, DEPTH = 24, 3, 3
UNASKED = f"blocks.{DEPTH - 1}.attention.text.norm_q.weight"  # released, though nothing reads what the last text asks


def small(*, fresh=False, **changes) -> MMDiT:
    sizes = {"depth": DEPTH, "width": WIDTH, "heads": HEADS, "grid": 8, "base": 6} | changes
    model = MMDiT(3, WORDS, POOLED, **sizes)
    return model.eval() if fresh else random_weights(model)


# ---------------------------------------------------------------- an independent implementation


def as_diffusers(ours: MMDiT, *, qk_norm: bool, side: int = 12):
    from diffusers import SD3Transformer2DModel

    from flowlib.pretrained.sd3 import to_diffusers

    theirs = SD3Transformer2DModel(
        sample_size=side,
        patch_size=2,
        in_channels=3,
        out_channels=3,
        num_layers=DEPTH,
        attention_head_dim=WIDTH // HEADS,
        num_attention_heads=HEADS,
        joint_attention_dim=WORDS,
        caption_projection_dim=WIDTH,
        pooled_projection_dim=POOLED,
        pos_embed_max_size=8,
        qk_norm="rms_norm" if qk_norm else None,
    )
    theirs.to(next(ours.parameters()).dtype).eval()
    table = theirs.pos_embed.pos_embed.clone()
    theirs.load_state_dict(to_diffusers(ours.state_dict(), patch=2))
    return theirs, table


def exact(theirs: nn.Module) -> None:
    """Do in float64 what diffusers does in float32 whatever the dtype: the features of the time, the mean squares."""
    theirs.time_text_embed.time_proj = Sinusoids()
    for block in theirs.transformer_blocks:
        for name in ("norm_q", "norm_k", "norm_added_q", "norm_added_k"):
            old = getattr(block.attn, name)
            if old is not None:
                norm = nn.RMSNorm(WIDTH // HEADS, eps=old.eps)
                norm.weight = old.weight
                setattr(block.attn, name, norm)


@pytest.mark.parametrize("qk_norm", [False, True], ids=["plain", "qk_norm"])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-9), (torch.float32, 1e-5)], ids=str)
def test_velocity_is_that_of_diffusers(qk_norm, dtype, atol):
    """On pictures that are not square, smaller than the grid, with every modulation at work."""
    ours = small(qk_norm=qk_norm).to(dtype)
    nn.init.normal_(ours.head.weight, std=0.02, generator=torch.Generator().manual_seed(2))
    theirs, _ = as_diffusers(ours, qk_norm=qk_norm)
    x, t, c = batch(dtype=dtype)
    if dtype == torch.float64:
        exact(theirs)
    else:
        t = (1000 * t).round() / 1000  # where 1000 t is exact
    with torch.no_grad():
        there = theirs(x, c.tokens, c.pooled, 1000 * t).sample
        torch.testing.assert_close(ours(x, t, c), there, rtol=0, atol=atol)
    assert float(there.std()) > 0.1


def test_places_are_those_of_diffusers():
    """Before any weights are loaded: sinusoids of index times base / grid, in float32 there."""
    ours = MMDiT(3, WORDS, POOLED, depth=DEPTH, width=WIDTH, heads=HEADS, grid=8, base=6)
    _, table = as_diffusers(ours, qk_norm=False)
    torch.testing.assert_close(ours.places.flatten(0, 1)[None], table, rtol=0, atol=1e-6)


# ---------------------------------------------------------------- laws of its own


def test_a_joint_block_is_its_formula(float64, generator):
    """Written out stream by stream: shift, scale, gate; the residual from the tokens as they came."""
    block = random_weights(JointBlock(12, 2), 0.3)
    text, image, e = (torch.randn(s, 12, generator=generator).reshape(2, -1, 12) for s in (6, 10, 2))
    e = e[:, 0]

    def norm(x):
        return (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()

    def numbers(layer):
        return nn.functional.linear(e * e.sigmoid(), layer.weight, layer.bias)[:, None].chunk(6, -1)

    shift_t, scale_t, gate_t, shift_u, scale_u, gate_u = numbers(block.modulation_text.linear)
    shift_x, scale_x, gate_x, shift_y, scale_y, gate_y = numbers(block.modulation_image.linear)
    from_text, from_image = block.attention(norm(text) * (1 + scale_t) + shift_t, norm(image) * (1 + scale_x) + shift_x)
    want_text, want_image = text + gate_t * from_text, image + gate_x * from_image
    want_text = want_text + gate_u * block.mlp_text(norm(want_text) * (1 + scale_u) + shift_u)
    want_image = want_image + gate_y * block.mlp_image(norm(want_image) * (1 + scale_y) + shift_y)
    for have, want in zip(block(text, image, e), (want_text, want_image), strict=True):
        torch.testing.assert_close(have, want, rtol=0, atol=1e-12)


def test_without_its_perceptrons_a_block_adds_the_gated_attention(float64, generator):
    """The attention reaches the tokens that follow, not the branch of the perceptron alone."""
    block = random_weights(JointBlock(12, 2), 0.3)
    for layer in (block.mlp_text[2], block.mlp_image[2]):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    text, image, e = torch.randn(2, 3, 12), torch.randn(2, 5, 12), torch.randn(2, 12)
    (t_1, _), (x_1, _) = block.modulation_text(e), block.modulation_image(e)
    from_text, from_image = block.attention(t_1.into(block.norm(text)), x_1.into(block.norm(image)))
    after_text, after_image = block(text, image, e)
    torch.testing.assert_close(after_text - text, t_1.gate * from_text, rtol=0, atol=1e-12)
    torch.testing.assert_close(after_image - image, x_1.gate * from_image, rtol=0, atol=1e-12)
    assert float((after_image - image).detach().abs().max()) > 0.1


def test_one_attention_is_over_both_with_the_text_first(float64, generator):
    """Against one softmax written out: both ask both, RoPE over the text, then the picture."""
    layer = random_weights(JointAttention(8, 2, qk_norm=True), 0.5)
    text, image = torch.randn(2, 3, 8, generator=generator), torch.randn(2, 4, 8, generator=generator)
    ids = torch.cat([torch.zeros(3, 2, dtype=torch.long), 1 + grid_ids(2, 2)])
    angles = rotary_angles(ids, (2, 2))

    def turned(u):  # (B, heads, N, 4): normalised, then rotated pair by pair, as complex numbers
        z = torch.view_as_complex(u.unflatten(-1, (2, 2)).contiguous()) * torch.polar(torch.ones_like(angles), angles)
        return torch.view_as_real(z).flatten(-2)

    def rms(u, norm):
        return norm.weight * u / (u.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    parts = []
    for stream, x in ((layer.text, text), (layer.image, image)):
        q, k, v = stream.qkv(x).reshape(2, -1, 3, 2, 4).permute(2, 0, 3, 1, 4)
        parts.append((rms(q, stream.norm_q), rms(k, stream.norm_k), v))
    q, k, v = (torch.cat(pair, 2) for pair in zip(*parts, strict=True))
    weights = (turned(q) @ turned(k).mT / 2).softmax(-1)
    y = (weights @ v).transpose(1, 2).flatten(2)
    from_text, from_image = layer(text, image, angles=angles)
    torch.testing.assert_close(layer.weights(text, image, angles=angles), weights, rtol=0, atol=1e-12)
    torch.testing.assert_close(from_text, layer.text.out(y[:, :3]), rtol=0, atol=1e-12)
    torch.testing.assert_close(from_image, layer.image.out(y[:, 3:]), rtol=0, atol=1e-12)
    layer.fused = False
    torch.testing.assert_close(layer(text, image, angles=angles)[1], from_image, rtol=0, atol=1e-12)


def test_the_last_block_only_reads_the_text(generator):
    block = random_weights(JointBlock(WIDTH, HEADS, last=True))
    text, image, e = (torch.randn(2, n, WIDTH, generator=generator) for n in (3, 5, 1))
    after_text, after_image = block(text, image, e[:, 0])
    assert after_text is text
    assert not torch.allclose(after_image, block(text + 1.0 * torch.randn(text.shape), image, e[:, 0])[1], atol=1e-2)
    names = {name.rpartition(".")[0] for name, _ in block.named_parameters()}
    assert not {"attention.text.out", "mlp_text.0", "mlp_text.2"} & names
    assert block.modulation_text.linear.out_features == 2 * WIDTH
    assert [b.last for b in small().blocks] == [False] * (DEPTH - 1) + [True]


@pytest.mark.parametrize("shape", [(3, 6, 10), (1, 2, 12), (2, 4, 4)])
def test_the_first_velocity_is_exactly_zero(shape):
    x, t, c = batch(*shape)
    v = small(fresh=True)
    assert torch.equal(v(x, t, c), torch.zeros_like(x))
    text, image, e = v.embed(x, t, c)
    after = v.blocks[0](text, image, e)
    assert torch.equal(after[0], text)
    assert torch.equal(after[1], image)


def test_every_parameter_gets_a_gradient():
    model = small(qk_norm=True).train()
    model.blocks[-1].attention.text.norm_q.weight.requires_grad_(False)
    x, t, c = batch(16)
    loss = model(x, t, c).square().mean()
    asked = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name for name, _ in model.named_parameters()} - asked == {UNASKED}
    for parameter in model.parameters():
        if not parameter.requires_grad:
            loss = loss + parameter.requires_grad_().square().sum()
    reaches_every_parameter(loss, model)


def test_it_hears_place_time_and_text():
    v = small()
    x, t, c = batch(1, 8, 8)
    here = v(x, t, c)
    others = {
        "time": v(x, 1 - t, c),
        "place": v(x.roll(2, -1), t, c).roll(-2, -1),
        "words": v(x, t, c._replace(tokens=-c.tokens)),
        "pooled": v(x, t, c._replace(pooled=-c.pooled)),
    }
    assert {name: float((here - other).abs().max()) > 1e-2 for name, other in others.items()} == dict.fromkeys(
        others, True
    )
    order = v(x, t, c._replace(tokens=c.tokens.flip(1)))  # a set of tokens: the encoder says in which order they stood
    torch.testing.assert_close(order, here, rtol=1e-4, atol=1e-4)


def test_pictures_of_all_sizes_share_their_middle():
    """The places of a small picture are those in the middle of the large one's."""
    v = small()
    v.embed_patch = nn.Linear(12, WIDTH)
    nn.init.zeros_(v.embed_patch.weight)
    nn.init.zeros_(v.embed_patch.bias)
    (_, large, _), (_, little, _) = (v.embed(*batch(1, 2 * h, 2 * w)) for h, w in ((8, 8), (4, 2)))
    middle = large[0].unflatten(0, (8, 8))[2:6, 3:5]
    assert torch.equal(little[0].unflatten(0, (4, 2)), middle)
    row = torch.arange(2, 6)[:, None].expand(4, 2).flatten() * 6 / 8
    torch.testing.assert_close(little[0, :, WIDTH // 2], row.sin())  # the second half tells the row, sine first


def test_padding_that_is_masked_is_not_seen():
    """Whatever stands there; without a mask it is seen, as in the released model."""
    v = small(qk_norm=True)
    x, t, c = batch(mask=True)
    other = torch.where(c.mask[..., None], c.tokens, c.tokens + 3)
    torch.testing.assert_close(v(x, t, c._replace(tokens=other)), v(x, t, c), rtol=0, atol=1e-6)
    short = c._replace(tokens=c.tokens[:1, :2], pooled=c.pooled[:1], mask=None)
    torch.testing.assert_close(v(x[:1], t[:1], short), v(x, t, c)[:1], rtol=1e-4, atol=1e-5)
    seen = [v(x, t, Text(tokens, c.pooled)) for tokens in (c.tokens, other)]
    assert float((seen[0] - seen[1]).abs().max()) > 1e-2


def test_captions_become_velocities():
    """Encoder and field as one: samples do not mix, and the empty caption is what guidance subtracts."""
    model = random_weights(
        TextToImage(
            TextEncoder(9, WORDS, length=5, depth=1, heads=2),
            MMDiT(3, WORDS, WORDS, depth=2, width=WIDTH, heads=HEADS, grid=4, base=4),
        )
    )
    x, t, _ = batch(2, 8, 8)
    ids = torch.tensor([[1, 2, 3, 0, 0], [4, 5, 6, 7, 8]])
    both = model(x, t, ids)
    torch.testing.assert_close(model(x[:1], t[:1], ids[:1]), both[:1], rtol=1e-4, atol=1e-5)
    assert float((model(x, t, ids.flip(0)) - both).abs().max()) > 1e-2
    assert float((model(x, t, ids.flip(1)) - both).abs().max()) > 1e-2  # words in another order


# ---------------------------------------------------------------- published sizes


@pytest.mark.parametrize(("depth", "billions"), [(15, 0.496), (18, 0.856), (24, 2.028), (30, 3.962), (38, 8.057)])
def test_one_dial_gives_the_published_sizes(depth, billions):
    with torch.device("meta"):
        model = MMDiT(depth=depth, grid=4)
    h = 64 * depth
    blocks = 36 * h**2 * depth + 28 * h * depth  # twelve h^2 each for attention and perceptron (4 + 8) and six of adaLN
    once = (16 * 4 + 4096 + 256 + h + 2048 + h) * h + 2 * h**2 + 64 * (h + 1) + 8 * h
    last = 4 * h**2 + h**2 + 8 * h**2 + h + 5 * h + 4 * h  # of the text, which the last block only reads
    numbers = sum(p.numel() for p in model.parameters())
    assert numbers / 1e9 == pytest.approx(billions, abs=5e-4)
    assert numbers == pytest.approx(blocks + once - last, rel=2e-3)
    assert len(model.blocks) == model.blocks[0].attention.image.heads == depth


@pytest.mark.parametrize(("name", "billions", "tera"), [("2B", 2.03, 8.4), ("8B", 8.06, 29.6)])
def test_sizes_have_names(name, billions, tera):
    """And cost what they should: operations of one latent of a picture of 1024 x 1024 with 154 words."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = MMDiT.of(name).eval()
        text = Text(torch.empty(1, 154, 4096), torch.empty(1, 2048))
        assert model(torch.empty(1, 16, 128, 128), torch.empty(1), text).shape == (1, 16, 128, 128)
    assert counter.get_total_flops() / 1e12 == pytest.approx(tera, abs=0.05)
    assert sum(p.numel() for p in model.parameters()) / 1e9 == pytest.approx(billions, abs=5e-3)
    norms = [key for key in model.state_dict() if ".norm_q." in key]
    assert bool(norms) == (name == "8B")


X, T, C = torch.zeros(2, 3, 4, 4), torch.zeros(2), Text(torch.zeros(2, 5, WORDS), torch.zeros(2, POOLED))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda v: v(X[..., 1:], T, C), r"multiples of the patch, 2, got shape \(2, 3, 4, 3\)"),
        (lambda v: v(X[:, 1:], T, C), r"x: expected shape \(B, 3, H, W\), got shape \(2, 2"),
        (lambda v: v(torch.zeros(2, 3, 4, 18), T, C), r"H and W at most 16, got shape \(2, 3, 4, 18\)"),
        (lambda v: v(X, T + 500, C), r"t: expected values in \[0, 1\]"),
        (lambda v: v(X, T, torch.zeros(2, dtype=torch.long)), "c: expected a Text of tokens .* got Tensor"),
        (lambda v: v(X, T, None), "c: expected a Text .* got NoneType"),
        (lambda v: v(X, T, C._replace(tokens=C.tokens[:1])), r"got tokens \(1, 5, 12\) and pooled \(2, 10\)"),
        (lambda v: v(X, T, C._replace(pooled=C.pooled[:, 1:])), r"got tokens \(2, 5, 12\) and pooled \(2, 9\)"),
        (lambda v: v(X, T, C._replace(mask=torch.ones(2, 4) > 0)), r"c.mask: expected true or false, shape \(2, 5\)"),
        (lambda v: MMDiT.of("3B"), "name: expected a size: 2B, 8B, got 3B"),
        (lambda v: MMDiT(depth=2, width=30, heads=4, grid=4), "heads: expected a divisor of the width, 30, got 4"),
    ],
)  # fmt: skip
def test_bad_input(call, message, unchecked):
    with pytest.raises(InputError, match=message):
        call(small())
