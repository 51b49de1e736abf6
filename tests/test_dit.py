"""DiT: zero at the start, published sizes, the same numbers as diffusers', and four ways to be told the class."""

import math

import pytest
import torch
from laws import reaches_every_parameter
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformer_parts import Sinusoids

from flowlib.errors import InputError
from flowlib.layers import time_embedding
from flowlib.models import DiT
from flowlib.models.dit import DiTBlock

CONDITIONINGS = ("adaln_zero", "adaln", "in_context", "cross_attention")


def small(conditioning="adaln_zero", num_classes=10, *, fresh=False, **changes) -> DiT:
    torch.manual_seed(0)
    model = DiT(3, num_classes, patch=2, width=24, depth=2, heads=3, conditioning=conditioning, **changes)
    if not fresh:  # away from the zeros of the start
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.2)
    return model.eval()


def batch(n=3, h=4, w=6, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, 3, h, w, generator=generator, dtype=dtype)
    return x, torch.rand(n, generator=generator, dtype=dtype), torch.randint(0, 11, (n,), generator=generator)


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("shape", [(3, 4, 6), (1, 2, 10), (4, 4, 4)])
def test_the_first_velocity_is_exactly_zero(conditioning, shape):
    x, t, c = batch(*shape)
    assert torch.equal(small(conditioning, fresh=True)(x, t, c), torch.zeros_like(x))


def test_only_adaln_zero_blocks_start_as_the_identity(generator):
    x, e = torch.randn(2, 5, 24, generator=generator), torch.randn(2, 24, generator=generator)
    same = {}
    for conditioning in CONDITIONINGS:
        context = e[:, None] if conditioning == "cross_attention" else None
        same[conditioning] = all(torch.equal(b(x, e, context), x) for b in small(conditioning, fresh=True).blocks)
    assert same == {"adaln_zero": True, "adaln": False, "in_context": False, "cross_attention": False}


def test_a_block_is_its_formula(float64, generator):
    block = DiTBlock(12, 2)
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    x, e = torch.randn(2, 5, 12, generator=generator), torch.randn(2, 12, generator=generator)
    numbers = nn.functional.linear(e * e.sigmoid(), block.modulation.linear.weight, block.modulation.linear.bias)
    shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = numbers[:, None].chunk(6, -1)

    def norm(x):
        return (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()

    y = x + gate_1 * block.attention(norm(x) * (1 + scale_1) + shift_1)
    y = y + gate_2 * block.mlp(norm(y) * (1 + scale_2) + shift_2)
    torch.testing.assert_close(block(x, e), y, rtol=0, atol=1e-12)


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_every_parameter_gets_a_gradient(conditioning):
    model = small(conditioning).train()
    x, t, _ = batch(64)
    reaches_every_parameter(model(x, t, torch.arange(64) % 11).square().mean(), model)


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_it_hears_place_time_and_class(conditioning):
    v = small(conditioning)
    x, t, c = batch(1)
    here = v(x, t, c)
    assert here.shape == x.shape
    assert torch.equal(here, v(x, t, c))
    for other in (v(x, 1 - t, c), v(x, t, (c + 1) % 11), v(x.roll(2, -1), t, c).roll(-2, -1)):
        assert float((here - other).detach().abs().max()) > 1e-2
    together = v(torch.cat([x, x + 1]), t.repeat(2), torch.cat([c, (c + 1) % 11]))
    torch.testing.assert_close(together[:1], here, rtol=1e-4, atol=1e-4)  # samples do not mix


@pytest.mark.parametrize("conditioning", ["in_context", "cross_attention"])
def test_the_tokens_of_the_condition_do_not_become_patches(conditioning):
    """Where every branch gives zero nothing is left of them: each patch of the velocity comes from its own patch."""
    v = small(conditioning)
    for block in v.blocks:
        for layer in (block.attention.out, block.mlp[2], *([block.cross.out] if hasattr(block, "cross") else [])):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
    x, t, c = batch(1)
    y = x.clone()
    y[..., 2:, 4:] += 1
    assert torch.equal(v(x, t, c), v(x, 1 - t, (c + 1) % 11))
    changed = (v(x, t, c) != v(y, t, c)).any(1)[0]
    assert bool(changed[2:, 4:].all())
    assert int(changed.sum()) == 4


def test_time_is_multiplied_by_a_thousand_once(float64):
    """64 times span 64 directions, and no more than 3 without the factor; at t the code is that of step 1000 t."""
    from diffusers.models.embeddings import get_timestep_embedding

    times = torch.linspace(0, 1, 64)
    assert int(torch.linalg.matrix_rank(time_embedding(times, 256), rtol=1e-3)) == 64
    assert int(torch.linalg.matrix_rank(time_embedding(times / 1000, 256), rtol=1e-3)) == 3
    theirs = get_timestep_embedding(1000 * times, 256, flip_sin_to_cos=True, downscale_freq_shift=0)
    torch.testing.assert_close(time_embedding(times, 256), theirs.double(), rtol=0, atol=2e-4)  # theirs is float32


def test_the_parts_of_a_fresh_network_wake_within_three_steps(generator):
    """What is zero blocks what lies before it: the head moves first, then gates and patches, then all the rest."""
    model = small(fresh=True, label_dropout=0.0).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    gates = {f"blocks.{i}.modulation.linear.{kind}" for i in range(2) for kind in ("weight", "bias")}
    late = {f"{name}.{kind}" for name in ("head", "modulation.linear", "embed_patch") for kind in ("weight", "bias")}
    every = {name for name, _ in model.named_parameters()}
    for awake in ({"head.weight", "head.bias"}, late | gates, every):
        x, t, c = batch(64)
        optimizer.zero_grad()
        (model(x, t, c) - torch.randn(x.shape, generator=generator)).square().mean().backward()
        optimizer.step()
        assert {name for name, p in model.named_parameters() if bool((p.grad != 0).any())} == awake


def test_labels_are_dropped_in_training_alone():
    x, t, _ = batch(1)
    model, n = small(label_dropout=0.5), 400
    x, t, c = x.repeat(n, 1, 1, 1), t.repeat(n), torch.full((n,), 3)
    null = model(x[:1], t[:1], torch.tensor([10]))
    model.train()
    dropped = (model(x, t, c) - null).abs().amax((1, 2, 3)) < 1e-4
    assert abs(float(dropped.double().mean()) - 0.5) < 4 * 0.5 / math.sqrt(n)
    assert not bool(((model.eval()(x, t, c) - null).abs().amax((1, 2, 3)) < 1e-4).any())


def test_a_field_without_classes():
    v = small(num_classes=0)
    x, t, _ = batch()
    assert v(x, t).shape == x.shape
    assert "embed_class" not in " ".join(v.state_dict())


@pytest.mark.parametrize("fused", [True, False])
def test_it_has_a_forward_derivative_in_time(float64, fused):
    """Along (v, 1), as one-step models take it; the fused kernel has none, so both ways are tried."""
    model = small(num_classes=0)
    for block in model.blocks:
        block.attention.fused = fused
    x, t, _ = batch(dtype=torch.float64)
    t, h = 0.2 + 0.6 * t, 1e-6
    direction = torch.randn_like(x)
    if fused:
        with pytest.raises(RuntimeError, match=r"[fF]orward"):
            torch.func.jvp(model, (x, t), (direction, torch.ones_like(t)))
        return
    _, slope = torch.func.jvp(model, (x, t), (direction, torch.ones_like(t)))
    difference = (model(x + h * direction, t + h) - model(x - h * direction, t - h)) / (2 * h)
    torch.testing.assert_close(slope, difference, rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------- published sizes

GIGA = {  # multiply-adds of one latent of 32 x 32 x 4, as published (printed there as "Gflops")
    "S/2": 6.06, "S/4": 1.41, "S/8": 0.36,
    "B/2": 23.01, "B/4": 5.56, "B/8": 1.42,
    "L/2": 80.71, "L/4": 19.70, "L/8": 5.01,
    "XL/2": 118.64, "XL/4": 29.05, "XL/8": 7.39,
}  # fmt: skip
MILLIONS = {"S": 33, "B": 130, "L": 458, "XL": 675}
SHAPES = {"S": (12, 384), "B": (12, 768), "L": (24, 1024), "XL": (28, 1152)}  # depth, width


def counted(**arguments):
    """Parameters (with the frozen table of positions that released files count) and multiply-adds, by torch."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = DiT.of(**arguments).eval()
        model(torch.empty(1, 4, 32, 32), torch.empty(1), torch.zeros(1, dtype=torch.long))
    tokens = (32 // model.patch) ** 2
    numbers = sum(p.numel() for p in model.parameters()) + tokens * model.head.in_features
    return numbers, counter.get_total_flops() / 2


@pytest.mark.parametrize("name", GIGA)
def test_published_sizes(name):
    numbers, macs = counted(name=name)
    size, patch = name.split("/")
    assert round(numbers / 1e6) == pytest.approx(MILLIONS[size], abs=1)
    assert macs / 1e9 == pytest.approx(GIGA[name], rel=0.01, abs=0.005)
    (depth, h), n = SHAPES[size], (32 // int(patch)) ** 2
    assert macs == pytest.approx(depth * (12 * h**2 * n + 2 * n**2 * h + 6 * h**2), rel=0.02)


def test_xl_2_to_the_last_digit():
    """675 M parameters and 118.6 G multiply-adds; training costs six times that in operations, 712 G."""
    numbers, macs = counted(name="XL/2")
    released = 4 * 4 * (1152 + 1)  # rows of the head that predict a variance
    assert numbers + released == 675_129_632
    assert macs / 1e9 == pytest.approx(118.62, abs=0.005)
    assert 6 * macs / 1e9 == pytest.approx(712, abs=0.5)


@pytest.mark.parametrize(
    ("conditioning", "giga"), [("in_context", 119.4), ("cross_attention", 137.6), ("adaln", 118.6)]
)
def test_the_other_conditionings_cost_what_the_paper_says(conditioning, giga):
    assert round(counted(name="XL/2", conditioning=conditioning)[1] / 1e9, 1) == pytest.approx(giga, abs=0.11)


# ---------------------------------------------------------------- an independent implementation


def as_diffusers(ours: DiT, size: int, *, exact=True):
    from diffusers import DiTTransformer2DModel
    from diffusers.models.embeddings import get_2d_sincos_pos_embed

    from flowlib.pretrained.dit import to_diffusers

    theirs = DiTTransformer2DModel(
        num_attention_heads=3,
        attention_head_dim=8,
        in_channels=3,
        num_layers=2,
        sample_size=size,
        num_embeds_ada_norm=10,
        norm_eps=1e-6,  # its default, 1e-5, is not DiT's
    )
    dtype = next(ours.parameters()).dtype
    theirs.to(dtype).eval().load_state_dict(to_diffusers(ours.state_dict(), patch=2))
    theirs.pos_embed.pos_embed = get_2d_sincos_pos_embed(24, size // 2, base_size=size // 2)[None].to(dtype)
    if exact:
        for block in theirs.transformer_blocks:
            block.norm1.emb.time_proj = Sinusoids()
    return theirs


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str)
def test_velocity_is_that_of_diffusers(dtype, atol):
    ours = small().to(dtype)
    nn.init.normal_(ours.head.weight, std=0.02)
    x, t, c = batch(4, 8, 8, dtype=dtype)
    with torch.no_grad():
        theirs = as_diffusers(ours, 8)(x, 1000 * t, c).sample
        torch.testing.assert_close(ours(x, t, c), theirs, rtol=0, atol=atol)
        assert float(theirs.std()) > 0.1
        at_zero = as_diffusers(ours, 8, exact=False)(
            x, 0 * t, c
        ).sample  # where all frequencies agree: nothing replaced
        torch.testing.assert_close(ours(x, 0 * t, c), at_zero, rtol=0, atol=atol)


X, T, C = torch.zeros(2, 3, 4, 4), torch.zeros(2), torch.zeros(2, dtype=torch.long)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda v: v(X[..., 1:], T, C), r"multiples of the patch, 2, got shape \(2, 3, 4, 3\)"),
        (lambda v: v(X[:, 1:], T, C), r"x: expected shape \(B, 3, H, W\), got shape \(2, 2, 4, 4\)"),
        (lambda v: v(X, T, None), r"c: expected one integer a sample, \(2,\), from 0 to 10"),
        (lambda v: v(X, T, C + torch.tensor([0, 11])), "c: expected .* got 0 to 11"),
        (lambda v: v(X, T, C - 1), "c: expected .* got -1 to -1"),
        (lambda v: v(X, T, T), "got torch.float32 of shape"),
        (lambda v: v(X, T, C.repeat(2)), r"got torch.int64 of shape \(4,\)"),
        (lambda v: v(X, T + 500, C), r"t: expected values in \[0, 1\] .* got values from 500 to 500"),
        (lambda v: v(X, T - 0.1, C), r"t: expected values in \[0, 1\]"),
        (lambda v: v(X, T[:, None], C), r"t: expected shape \(2,\), one time a sample, got shape \(2, 1\)"),
        (lambda v: v(X, torch.tensor(0.5), C), r"t: expected shape \(2,\), one time a sample, got shape \(\)"),
        (lambda v: small(num_classes=0)(X, T, C), "c: expected None, this field has no classes"),
        (lambda v: small("adaln-zero"), "conditioning: expected one of adaln_zero, adaln, in_context"),
        (lambda v: DiT.of("XXL/2"), "name: expected a size and a patch: S/2, B/2, L/2, XL/2"),
        (lambda v: DiT(width=30, heads=4), "heads: expected a divisor of the width, 30, got 4"),
    ],
)
def test_bad_input(call, message, unchecked):
    with pytest.raises(InputError, match=message):
        call(small())


def test_places_of_a_picture_that_is_not_square():
    """Row by row, the first half of the features tells the column and the second the row; 2 x 3 patches."""
    model, seen = small(), []
    nn.init.zeros_(model.embed_patch.weight)  # what is left of the tokens are their places
    nn.init.zeros_(model.embed_patch.bias)
    model.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(*batch(1, 4, 6))
    places = seen[0][0].reshape(2, 3, 24)
    torch.testing.assert_close(places[0, :, :12], places[1, :, :12])
    torch.testing.assert_close(places[:, :1, 12:].expand(2, 3, 12), places[:, :, 12:])
    assert len(torch.unique(places[0, :, :12], dim=0)) == 3
    assert len(torch.unique(places[:, 0, 12:], dim=0)) == 2
