"""Released DiT: both layouts in and out, keys that are odd, and the noise predictor as a field in our time."""

import hashlib

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from flowlib.errors import InputError
from flowlib.layers import sinusoidal_2d
from flowlib.models import DiT
from flowlib.paths import VP
from flowlib.paths.conventions import alpha_bar, linear_betas
from flowlib.pretrained import download, download_dit, load_dit, velocity
from flowlib.pretrained.dit import RELEASES, from_diffusers, from_released, to_diffusers, to_released
from flowlib.sampling import sample
from flowlib.tensors import per_sample

WIDTH, DEPTH, CHANNELS, CLASSES, PATCH = 24, 2, 4, 10, 2


def released(channels_out=CHANNELS, side=4) -> dict[str, torch.Tensor]:
    """Random weights under the keys of the paper's code, written down here from that code."""
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "pos_embed": None,
        "x_embedder.proj.weight": (WIDTH, CHANNELS, PATCH, PATCH),
        "x_embedder.proj.bias": (WIDTH,),
        "t_embedder.mlp.0.weight": (WIDTH, 256),
        "t_embedder.mlp.0.bias": (WIDTH,),
        "t_embedder.mlp.2.weight": (WIDTH, WIDTH),
        "t_embedder.mlp.2.bias": (WIDTH,),
        "y_embedder.embedding_table.weight": (CLASSES + 1, WIDTH),
    }
    linear = {
        "attn.qkv": (3 * WIDTH, WIDTH),
        "attn.proj": (WIDTH, WIDTH),
        "mlp.fc1": (4 * WIDTH, WIDTH),
        "mlp.fc2": (WIDTH, 4 * WIDTH),
        "adaLN_modulation.1": (6 * WIDTH, WIDTH),
    }
    last = {"linear": (PATCH**2 * channels_out, WIDTH), "adaLN_modulation.1": (2 * WIDTH, WIDTH)}
    layers = {f"blocks.{i}.{name}": shape for i in range(DEPTH) for name, shape in linear.items()}
    for name, (out, into) in (layers | {f"final_layer.{name}": shape for name, shape in last.items()}).items():
        shapes |= {f"{name}.weight": (out, into), f"{name}.bias": (out,)}
    state = {key: 0.2 * torch.randn(shape, generator=generator) for key, shape in shapes.items() if shape}
    places = torch.arange(side)
    return state | {"pos_embed": sinusoidal_2d(places, places, WIDTH)[None]}


def equal(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def paper_forward(state, x, k, c, heads=3):
    """The paper's forward pass, in plain functions of its own weights: no module of ours."""
    functional = nn.functional

    def linear(name, x):
        return functional.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def modulated(x, shift, scale):
        return functional.layer_norm(x, (WIDTH,), eps=1e-6) * (1 + scale[:, None]) + shift[:, None]

    frequencies = torch.exp(-torch.log(torch.tensor(10_000.0)) * torch.arange(128) / 128)
    angles = k[:, None] * frequencies
    e = linear("t_embedder.mlp.0", torch.cat([angles.cos(), angles.sin()], 1))
    e = linear("t_embedder.mlp.2", functional.silu(e)) + state["y_embedder.embedding_table.weight"][c]
    y = functional.conv2d(x, state["x_embedder.proj.weight"], state["x_embedder.proj.bias"], stride=PATCH)
    h, w = y.shape[2:]
    y = y.flatten(2).mT + state["pos_embed"]
    for i in range(DEPTH):
        parts = linear(f"blocks.{i}.adaLN_modulation.1", functional.silu(e)).chunk(6, 1)
        q, k_, v = (
            linear(f"blocks.{i}.attn.qkv", modulated(y, *parts[:2])).reshape(*y.shape[:2], 3, heads, -1).unbind(2)
        )
        seen = functional.scaled_dot_product_attention(*(u.transpose(1, 2) for u in (q, k_, v)))
        y = y + parts[2][:, None] * linear(f"blocks.{i}.attn.proj", seen.transpose(1, 2).flatten(2))
        z = functional.gelu(linear(f"blocks.{i}.mlp.fc1", modulated(y, *parts[3:5])), approximate="tanh")
        y = y + parts[5][:, None] * linear(f"blocks.{i}.mlp.fc2", z)
    parts = linear("final_layer.adaLN_modulation.1", functional.silu(e)).chunk(2, 1)
    y = linear("final_layer.linear", modulated(y, *parts))
    y = torch.einsum("nhwpqc->nchpwq", y.reshape(len(x), h, w, PATCH, PATCH, -1))
    return y.reshape(len(x), -1, h * PATCH, w * PATCH)


@pytest.mark.parametrize("channels_out", [CHANNELS, 2 * CHANNELS], ids=["noise", "noise and variance"])
def test_loaded_weights_predict_what_the_paper_predicts(tmp_path, channels_out):
    """The first channels of the paper's output; in one line from a file, of either kind."""
    state = released(channels_out)
    torch.save({"ema": state, "opt": {}}, tmp_path / "dit.pt")
    save_file(state, tmp_path / "dit.safetensors")
    x, c = torch.randn(3, CHANNELS, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 9, 10])
    k = torch.tensor([0.0, 400.0, 999.0])
    expected = paper_forward(state, x, k, c)[:, :CHANNELS]
    for name in ("dit.pt", "dit.safetensors"):
        net = load_dit(tmp_path / name, heads=3)
        torch.testing.assert_close(net(x, k / 1000, c), expected, rtol=1e-4, atol=1e-4)
        assert not net.training
        assert all(not parameter.is_meta for parameter in net.parameters())


def test_the_map_of_the_papers_keys_round_trips():
    theirs = released()
    ours = from_released(theirs)
    assert equal(to_released(ours, patch=PATCH, side=4), theirs)
    assert equal(from_released(to_released(ours, patch=PATCH, side=6)), ours)
    with_variance = from_released(released(2 * CHANNELS))
    assert ours.keys() == with_variance.keys()
    assert with_variance["head.weight"].shape == ours["head.weight"].shape


def test_the_map_of_diffusers_keys_round_trips(tmp_path):
    from diffusers import DiTTransformer2DModel

    theirs = DiTTransformer2DModel(
        num_attention_heads=3, attention_head_dim=8, num_layers=2, sample_size=8, num_embeds_ada_norm=CLASSES
    )
    ours = from_released(released())
    theirs.load_state_dict(to_diffusers(ours, patch=PATCH))  # every key is there, and none is odd
    state = theirs.state_dict()
    assert equal(from_diffusers(state), ours)
    assert equal(to_diffusers(from_diffusers(state), patch=PATCH), dict(state))
    save_file(state, tmp_path / "diffusers.safetensors")
    torch.save(released(), tmp_path / "paper.bin")
    a, b = load_dit(tmp_path / "diffusers.safetensors", heads=3), load_dit(tmp_path / "paper.bin", heads=3)
    assert equal(a.state_dict(), b.state_dict())
    model = DiT(CHANNELS, CLASSES, width=WIDTH, depth=DEPTH, heads=3)
    assert load_dit(tmp_path / "paper.bin", model) is model
    assert equal(model.state_dict(), a.state_dict())


def test_velocity_of_an_exact_noise_predictor_carries_noise_to_data(float64):
    """A net that knows the noise of N(m, s^2) at every step k; its field must end there, so time runs the right way."""
    m, s = 1.5, 0.4
    abar, asked = alpha_bar(linear_betas()), []

    class Exact(nn.Module):
        def forward(self, x, t, c=None):
            asked.append(float(t[0]))
            k = (1000 * t).clamp(0, 999)
            before = k.long().clamp(max=998)
            a = torch.lerp((abar / (1 - abar)).log()[before], (abar / (1 - abar)).log()[before + 1], k - before)
            a = per_sample(torch.sigmoid(a), x)
            return (1 - a).sqrt() * (x - a.sqrt() * m) / (a * s**2 + 1 - a)

    x_0 = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
    path = VP()
    x_1 = sample(velocity(Exact()), x_0, path=path, steps=200)
    assert asked[0] > 0.99
    assert asked[-1] < 0.01
    start = float(path.alpha(torch.zeros(())))  # VP starts in alpha_0 m + ..., not in pure noise
    exact = m + s * (x_0 - start * m) / (start**2 * s**2 + 1 - start**2) ** 0.5
    torch.testing.assert_close(x_1, exact, rtol=0, atol=0.01)


def changed(**changes):
    """The paper's state with some keys changed: None takes one away."""
    state = released() | changes
    return {key: value for key, value in state.items() if value is not None}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (changed(**{"blocks.1.mlp.fc1.bias": None}), "got blocks.1.mlp.fc1.bias is missing"),
        (changed(extra=torch.zeros(1)), "got extra is unexpected"),
        (changed(pos_embed=torch.zeros(1, 16, WIDTH)), "pos_embed: expected sinusoids of 4 x 4 places"),
        (changed(pos_embed=released()["pos_embed"][:, :15].contiguous()), r"got other numbers, of shape .1, 15"),
        (changed(**{"x_embedder.proj.weight": None}), "expected DiT's own keys, or those of diffusers, got"),
    ],
    ids=["missing", "unexpected", "positions", "no square", "layout"],
)
def test_odd_keys_are_named(tmp_path, state, message):
    save_file(state, tmp_path / "dit.safetensors")
    with pytest.raises(InputError, match=message):
        load_dit(tmp_path / "dit.safetensors", heads=3)


def test_odd_keys_of_diffusers_are_named():
    state = to_diffusers(from_released(released()), patch=PATCH)
    name = "transformer_blocks.1.norm1.emb.class_embedder.embedding_table.weight"
    with pytest.raises(InputError, match=f"one embedding, copied to each block, got {name}"):
        from_diffusers(state | {name: 1 + state[name]})
    with pytest.raises(InputError, match=r"transformer_blocks.1.attn1.to_v.weight is missing"):
        from_diffusers({k: v for k, v in state.items() if k != "transformer_blocks.1.attn1.to_v.weight"})


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (DiT(CHANNELS, CLASSES, width=48, depth=DEPTH, heads=3), r"has shape \(24, 16\), not \(48, 16\)"),
        (DiT(CHANNELS, CLASSES, width=WIDTH, depth=3, heads=3), "blocks.2.* is missing"),
        (
            DiT(CHANNELS, 5, width=WIDTH, depth=DEPTH, heads=3),
            r"embed_class.table.weight has shape \(11, 24\), not \(6, 24\)",
        ),
        (None, "heads: expected their number, for a size that is not published"),
    ],
    ids=["width", "depth", "classes", "heads"],
)
def test_a_checkpoint_of_another_size(tmp_path, model, message):
    save_file(released(), tmp_path / "dit.safetensors")
    before = None if model is None else {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(InputError, match=message):
        load_dit(tmp_path / "dit.safetensors", model)
    assert model is None or equal(model.state_dict(), before)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="got no file at"):
        load_dit(tmp_path / "absent.pt")
    for name in ("cut.pt", "cut.safetensors"):
        (tmp_path / name).write_bytes(b"not weights")
        with pytest.raises(InputError, match="expected a whole file of weights"):
            load_dit(tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(InputError, match="expected tensors by name"):
        load_dit(tmp_path / "list.pt")


def test_downloads_are_pinned_and_checked(tmp_path, monkeypatch):
    import huggingface_hub

    asked, file = [], tmp_path / "weights.bin"

    def fetch(repo, path, revision):
        asked.append((repo, path, revision))
        file.write_bytes(b"weights")
        return str(file)

    class Metadata:
        etag = hashlib.sha256(b"weights").hexdigest()

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda url: Metadata)
    with pytest.raises(InputError, match="revision: expected a commit, 40 hexadecimal digits, got 'main'"):
        download("someone/model", "w.bin", revision="main")
    assert asked == []
    commit = "0123456789" * 4
    assert download("someone/model", "w.bin", revision=commit) == file
    assert download("someone/model", "w.bin", revision=commit, sha256=Metadata.etag) == file
    assert asked == [("someone/model", "w.bin", commit)] * 2
    with pytest.raises(InputError, match="path: expected a file with hash 0000"):
        download("someone/model", "w.bin", revision=commit, sha256="0" * 64)
    assert not file.exists()
    Metadata.etag = "not a hash"
    with pytest.raises(InputError, match="sha256: expected 64 hexadecimal digits, got 'not a hash'"):
        download("someone/model", "w.bin", revision=commit)


def test_the_released_sizes_are_fetched_at_one_commit(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("flowlib.pretrained.dit.download", lambda *a, **named: asked.append((*a, named)) or tmp_path)
    assert download_dit(512) == tmp_path
    ((repo, path, named),) = asked
    assert (repo, path) == ("facebook/DiT-XL-2-512", "transformer/diffusion_pytorch_model.bin")
    assert named == {"revision": RELEASES[512].revision, "sha256": RELEASES[512].sha256}
    with pytest.raises(InputError, match="side: expected 256 or 512, got 1024"):
        download_dit(1024)


def test_what_the_hub_holds_has_the_size_that_our_map_writes():
    """2,999,533,581 bytes, as the hub lists both files: our XL/2 in diffusers' layout, and 423 bytes a tensor."""
    with torch.device("meta"):
        state = dict(DiT.of("XL/2").state_dict())
        for kind in ("weight", "bias"):  # the rows of a variance, which we leave behind
            state[f"head.{kind}"] = torch.cat([state[f"head.{kind}"]] * 2)
        theirs = to_diffusers(state, patch=2)
    rest = 2_999_533_581 - 4 * sum(value.numel() for value in theirs.values())
    assert 300 < rest / len(theirs) < 500
