"""Released SD3: both layouts in and out, odd keys named, and its clock turned."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from flowlib.errors import InputError
from flowlib.models import MMDiT, Text
from flowlib.paths.conventions import reverse_time
from flowlib.pretrained import load_sd3
from flowlib.pretrained.sd3 import WHOLE, from_diffusers, from_released, to_diffusers, to_released
from flowlib.sampling import sample

WIDTH, HEADS, DEPTH, CHANNELS, WORDS, POOLED, PATCH, GRID = 24, 3, 2, 4, 10, 6, 2, 6


def released(*, qk_norm=True) -> dict[str, torch.Tensor]:
    """Random weights under the keys of the publisher's code, written down here from that code."""
    generator = torch.Generator().manual_seed(0)
    linear = {
        "t_embedder.mlp.0": (WIDTH, 256),
        "t_embedder.mlp.2": (WIDTH, WIDTH),
        "y_embedder.mlp.0": (WIDTH, POOLED),
        "y_embedder.mlp.2": (WIDTH, WIDTH),
        "context_embedder": (WIDTH, WORDS),
        "final_layer.linear": (PATCH**2 * CHANNELS, WIDTH),
        "final_layer.adaLN_modulation.1": (2 * WIDTH, WIDTH),
    }
    norms = []
    for i in range(DEPTH):
        for stream in ("context_block", "x_block"):
            name, only_read = f"joint_blocks.{i}.{stream}", i == DEPTH - 1 and stream == "context_block"
            linear |= {
                f"{name}.attn.qkv": (3 * WIDTH, WIDTH),
                f"{name}.adaLN_modulation.1": ((2 if only_read else 6) * WIDTH, WIDTH),
            }
            if not only_read:
                linear |= {
                    f"{name}.attn.proj": (WIDTH, WIDTH),
                    f"{name}.mlp.fc1": (4 * WIDTH, WIDTH),
                    f"{name}.mlp.fc2": (WIDTH, 4 * WIDTH),
                }
            norms += [f"{name}.attn.ln_q.weight", f"{name}.attn.ln_k.weight"] if qk_norm else []
    shapes = {"x_embedder.proj.weight": (WIDTH, CHANNELS, PATCH, PATCH), "x_embedder.proj.bias": (WIDTH,)}
    shapes |= {"pos_embed": (1, GRID**2, WIDTH)} | dict.fromkeys(norms, (WIDTH // HEADS,))
    for name, (out, into) in linear.items():
        shapes |= {f"{name}.weight": (out, into), f"{name}.bias": (out,)}
    return {WHOLE + key: 0.2 * torch.randn(shape, generator=generator) for key, shape in shapes.items()}


def released_forward(state, x, s, c: Text):
    """The publisher's forward pass, in plain functions of its own weights: no module of ours."""
    state = {key.removeprefix(WHOLE): value for key, value in state.items()}
    functional = nn.functional

    def linear(name, u):
        return functional.linear(u, state[f"{name}.weight"], state[f"{name}.bias"])

    def two(name, u):
        return linear(f"{name}.mlp.2", functional.silu(linear(f"{name}.mlp.0", u)))

    def modulated(u, shift, scale):
        return functional.layer_norm(u, (WIDTH,), eps=1e-6) * (1 + scale[:, None]) + shift[:, None]

    def heads(name, u):
        q, k, v = linear(f"{name}.attn.qkv", u).reshape(*u.shape[:2], 3, HEADS, -1).transpose(1, 3).unbind(2)
        norm = {n: state.get(f"{name}.attn.ln_{n}.weight") for n in "qk"}
        if norm["q"] is not None:
            q, k = (functional.rms_norm(r, r.shape[-1:], norm[n], 1e-6) for r, n in ((q, "q"), (k, "k")))
        return q, k, v

    def after(name, u, taken, parts):
        u = u + parts[2][:, None] * linear(f"{name}.attn.proj", taken)
        z = functional.gelu(linear(f"{name}.mlp.fc1", modulated(u, *parts[3:5])), approximate="tanh")
        return u + parts[5][:, None] * linear(f"{name}.mlp.fc2", z)

    angles = 1000 * s[:, None] * torch.exp(-torch.log(torch.tensor(10_000.0)) * torch.arange(128) / 128)
    e = two("t_embedder", torch.cat([angles.cos(), angles.sin()], 1)) + two("y_embedder", c.pooled)
    y = functional.conv2d(x, state["x_embedder.proj.weight"], state["x_embedder.proj.bias"], stride=PATCH)
    h, w = y.shape[2:]
    top, left = (GRID - h) // 2, (GRID - w) // 2
    table = state["pos_embed"].reshape(GRID, GRID, WIDTH)[top : top + h, left : left + w]
    y, text = y.flatten(2).mT + table.flatten(0, 1), linear("context_embedder", c.tokens)
    for i in range(DEPTH):
        of_text, of_image = f"joint_blocks.{i}.context_block", f"joint_blocks.{i}.x_block"
        m = linear(f"{of_text}.adaLN_modulation.1", functional.silu(e)).split(WIDTH, 1)
        n = linear(f"{of_image}.adaLN_modulation.1", functional.silu(e)).chunk(6, 1)
        both = zip(heads(of_text, modulated(text, *m[:2])), heads(of_image, modulated(y, *n[:2])), strict=True)
        q, k, v = (torch.cat(pair, 2) for pair in both)
        taken = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        y = after(of_image, y, taken[:, text.shape[1] :], n)
        if i < DEPTH - 1:
            text = after(of_text, text, taken[:, : text.shape[1]], m)
    parts = linear("final_layer.adaLN_modulation.1", functional.silu(e)).chunk(2, 1)
    y = linear("final_layer.linear", modulated(y, *parts))
    y = torch.einsum("nhwpqc->nchpwq", y.reshape(len(x), h, w, PATCH, PATCH, -1))
    return y.reshape(len(x), -1, h * PATCH, w * PATCH)


def inputs(n=3):
    generator = torch.Generator().manual_seed(1)
    c = Text(torch.randn(n, 5, WORDS, generator=generator), torch.randn(n, POOLED, generator=generator))
    return torch.randn(n, CHANNELS, 8, 12, generator=generator), torch.rand(n, generator=generator), c


def equal(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("qk_norm", [True, False], ids=["SD3.5", "SD3"])
def test_loaded_weights_say_what_the_publisher_says(tmp_path, qk_norm):
    """From one file of several networks and in one line; the clock is theirs until it is turned."""
    state = released(qk_norm=qk_norm)
    save_file(state | {"first_stage_model.decoder.conv_in.bias": torch.zeros(3)}, tmp_path / "sd3.safetensors")
    net = load_sd3(tmp_path / "sd3.safetensors", heads=HEADS)
    x, t, c = inputs()
    with torch.no_grad():
        theirs = released_forward(state, x, 1 - t, c)
        torch.testing.assert_close(net(x, 1 - t, c), theirs, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(reverse_time(net)(x, t, c), -theirs, rtol=1e-4, atol=1e-4)
    assert float(theirs.std()) > 0.1
    assert not net.training
    assert not any(parameter.is_meta for parameter in (*net.parameters(), net.places))


@pytest.mark.parametrize("qk_norm", [True, False], ids=["SD3.5", "SD3"])
def test_the_maps_of_keys_round_trip(tmp_path, qk_norm):
    from diffusers import SD3Transformer2DModel

    state = released(qk_norm=qk_norm)
    ours = from_released(state)
    assert equal(to_released(ours, patch=PATCH), state)
    theirs = SD3Transformer2DModel(
        sample_size=12,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_layers=DEPTH,
        attention_head_dim=WIDTH // HEADS,
        num_attention_heads=HEADS,
        joint_attention_dim=WORDS,
        caption_projection_dim=WIDTH,
        pooled_projection_dim=POOLED,
        pos_embed_max_size=GRID,
        qk_norm="rms_norm" if qk_norm else None,
    )
    theirs.load_state_dict(to_diffusers(ours, patch=PATCH))  # every key is there, and none is odd
    assert equal(from_diffusers(theirs.state_dict()), ours)
    assert equal(to_diffusers(from_diffusers(theirs.state_dict()), patch=PATCH), dict(theirs.state_dict()))
    save_file(theirs.state_dict(), tmp_path / "diffusers.safetensors")
    torch.save({key.removeprefix(WHOLE): value for key, value in state.items()}, tmp_path / "network.bin")
    for name in ("diffusers.safetensors", "network.bin"):
        assert equal(load_sd3(tmp_path / name, heads=HEADS).state_dict(), ours)
    model = MMDiT(CHANNELS, WORDS, POOLED, depth=DEPTH, width=WIDTH, heads=HEADS, qk_norm=qk_norm, grid=GRID, base=GRID)
    assert load_sd3(tmp_path / "network.bin", model) is model
    assert equal(model.state_dict(), ours)


def test_the_exact_field_on_their_clock_carries_noise_to_data(float64):
    """Their answer for N(m, c^2) data, ``E[eps - data | z_s]``, sampled on our clock, ends in the data."""
    m, spread = 1.5, 0.4

    def theirs(z, s, c=None):
        s = s[:, None]
        gain = ((1 - s) * spread**2) / ((1 - s) ** 2 * spread**2 + s**2)
        data = m + gain * (z - (1 - s) * m)
        return (z - (1 - s) * data) / s.clamp(min=1e-9) - data

    x_0 = torch.randn(500, 1, generator=torch.Generator().manual_seed(0))
    x_1 = sample(reverse_time(theirs), x_0, steps=400)
    torch.testing.assert_close(x_1, m + spread * x_0, rtol=0, atol=0.01)


def changed(**changes):
    """The publisher's state with some keys changed: None takes one away."""
    state = released() | {WHOLE + key.replace("__", "."): value for key, value in changes.items()}
    return {key: value for key, value in state.items() if value is not None}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (changed(context_embedder__bias=None), "context_embedder.bias is missing"),
        (changed(joint_blocks__0__x_block__attn__ln_q__weight=None), "0.x_block.attn.ln_q.weight is missing"),
        (
            changed(joint_blocks__0__x_block__attn2__qkv__weight=torch.zeros(1)),  # SD3.5 medium has them
            "joint_blocks.0.x_block.attn2.qkv.weight is unexpected",
        ),
        (changed(context_embedder__weight=torch.zeros(WIDTH + 1, WORDS)), r"embed_text.weight has shape \(25, 10\)"),
        ({"blocks.0.attn.qkv.weight": torch.zeros(1)}, "expected SD3's own keys, or those of diffusers, got"),
    ],
)  # fmt: skip
def test_odd_files(state, message, tmp_path, unchecked):
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(InputError, match=message):
        load_sd3(tmp_path / "odd.safetensors", heads=HEADS)


def test_odd_keys_of_diffusers(unchecked):
    state = to_diffusers(from_released(released()), patch=PATCH)
    gone = state.pop("transformer_blocks.1.attn.add_k_proj.bias")
    with pytest.raises(InputError, match=r"transformer_blocks\.1\.attn\.add_\{\}_proj\.bias is missing"):
        from_diffusers(state)
    more = state | {"transformer_blocks.1.attn.add_k_proj.bias": gone, "transformer_blocks.0.attn2.to_q.bias": gone}
    with pytest.raises(InputError, match=r"transformer_blocks\.0\.attn2\.to_q\.bias is unexpected"):
        from_diffusers(more)


def test_without_a_file_it_says_what_to_fetch(unchecked, tmp_path):
    with pytest.raises(InputError, match=r"etch sd3_medium.safetensors .* 4.3 GB, or sd3.5_large.safetensors .* 16.5"):
        load_sd3(tmp_path / "sd3_medium.safetensors")
