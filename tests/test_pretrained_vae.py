"""Released autoencoders: both layouts in and out, odd keys named, constants, one line from a file."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from flowlib.errors import InputError
from flowlib.models import Autoencoder
from flowlib.pretrained import load_vae
from flowlib.pretrained.vae import FETCH, from_diffusers, from_publisher, to_diffusers, to_publisher

LATENT, WIDTHS, BLOCKS = 4, (8, 16), 1


def tiny(quant=True, **constants):
    return Autoencoder(3, LATENT, widths=WIDTHS, blocks=BLOCKS, groups=4, quant=quant, **constants)


def publisher(quant=True) -> dict[str, torch.Tensor]:
    """Random weights under the keys of LDM's code, written down here from that code."""
    generator, shapes = torch.Generator().manual_seed(0), {}

    def conv(name, out, into, k=3):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (out, into, k, k), (out,)

    def norm(name, width):
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)

    def block(name, into, out):
        norm(f"{name}.norm1", into)
        conv(f"{name}.conv1", out, into)
        norm(f"{name}.norm2", out)
        conv(f"{name}.conv2", out, out)
        if into != out:
            conv(f"{name}.nin_shortcut", out, into, 1)

    def middle(side):
        block(f"{side}.mid.block_1", 16, 16)
        block(f"{side}.mid.block_2", 16, 16)
        norm(f"{side}.mid.attn_1.norm", 16)
        for letter in ("q", "k", "v", "proj_out"):
            conv(f"{side}.mid.attn_1.{letter}", 16, 16, 1)

    conv("encoder.conv_in", 8, 3)
    block("encoder.down.0.block.0", 8, 8)
    conv("encoder.down.0.downsample.conv", 8, 8)
    block("encoder.down.1.block.0", 8, 16)
    middle("encoder")
    norm("encoder.norm_out", 16)
    conv("encoder.conv_out", 2 * LATENT, 16)
    conv("decoder.conv_in", 16, LATENT)
    middle("decoder")
    block("decoder.up.1.block.0", 16, 16)  # the small size, which comes first
    block("decoder.up.1.block.1", 16, 16)
    conv("decoder.up.1.upsample.conv", 16, 16)
    block("decoder.up.0.block.0", 16, 8)
    block("decoder.up.0.block.1", 8, 8)
    norm("decoder.norm_out", 8)
    conv("decoder.conv_out", 3, 8)
    if quant:
        conv("quant_conv", 2 * LATENT, 2 * LATENT, 1)
        conv("post_quant_conv", LATENT, LATENT, 1)
    return {key: 0.3 * torch.randn(shape, generator=generator) for key, shape in shapes.items()}


def equal(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("quant", [True, False], ids=["sd", "sd3 and flux"])
def test_the_map_of_the_publishers_keys_round_trips(quant):
    theirs = publisher(quant)
    ours = from_publisher(theirs, tiny(quant))
    assert equal(to_publisher(ours), theirs)
    assert equal(from_diffusers(to_diffusers(ours), tiny(quant)), ours)
    assert equal(to_diffusers(from_diffusers(to_diffusers(ours), tiny(quant))), to_diffusers(ours))


def test_the_publishers_file_computes_what_diffusers_converted_one_does(tmp_path):
    """Diffusers' own converter reads the same file, key by key: an independent map."""
    from diffusers import AutoencoderKL
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    config = {
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "block_out_channels": WIDTHS,
        "layers_per_block": BLOCKS,
        "latent_channels": LATENT,
        "norm_num_groups": 4,
    }
    theirs = AutoencoderKL(**config).eval()
    theirs.load_state_dict(convert_ldm_vae_checkpoint(publisher(), config))
    save_file(publisher(), tmp_path / "vae.safetensors")
    ours = load_vae(tmp_path / "vae.safetensors", tiny())
    x = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        law = theirs.encode(x).latent_dist
        torch.testing.assert_close(ours.encode(x).mean, law.mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours.decode(law.mean), theirs.decode(law.mean).sample, rtol=1e-4, atol=1e-4)


def test_one_line_from_a_file_of_any_kind(tmp_path):
    """Alone, inside a whole model, from a training checkpoint, in diffusers' layout with new names and old."""
    state = publisher()
    ours = tiny()
    ours.load_state_dict(ours.state_dict() | from_publisher(state, ours))
    diffusers = to_diffusers(ours.state_dict())
    older = diffusers
    for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
        older = {key.replace(f".{new}.", f".{old}."): value for key, value in older.items()}
    assert older.keys() != diffusers.keys()
    whole = {f"first_stage_model.{key}": value for key, value in state.items()}
    save_file(state, tmp_path / "alone.safetensors")
    save_file(whole | {"model.diffusion_model.out.weight": torch.zeros(3)}, tmp_path / "whole.safetensors")
    torch.save({"state_dict": state | {"loss.logvar": torch.zeros(())}, "step": 3}, tmp_path / "trained.ckpt")
    save_file(diffusers, tmp_path / "diffusers.safetensors")
    save_file(older, tmp_path / "older.safetensors")
    for file in sorted(tmp_path.iterdir()):
        model = load_vae(file, tiny(shift=0.1, scale=2.0))
        assert not model.training
        for key, value in ours.state_dict().items():
            wanted = {"shift": torch.tensor(0.1), "scale": torch.tensor(2.0)}.get(key, value)
            torch.testing.assert_close(model.state_dict()[key], wanted, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "channels", "shift", "scale"),
    [("sd", 4, 0.0, 0.18215), ("sd3", 16, 0.0609, 1.5305), ("flux", 16, 0.1159, 0.3611)],
)
def test_names_and_constants(name, channels, shift, scale, tmp_path, monkeypatch):
    small = {"widths": WIDTHS, "blocks": BLOCKS, "groups": 4}
    published = Autoencoder.of
    monkeypatch.setattr(Autoencoder, "of", lambda name: published(name, **small))
    theirs = published(name, **small)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    save_file(to_publisher(theirs.state_dict()), tmp_path / "vae.safetensors")
    model = load_vae(tmp_path / "vae.safetensors", name)
    assert model.latent_channels == channels
    assert isinstance(model.quant, nn.Conv2d) == (name == "sd")
    z = torch.randn(2, channels, 2, 2)
    torch.testing.assert_close(model.standardise(z), (z - shift) * scale)
    torch.testing.assert_close(model.pictures(z), theirs.decode(z / scale + shift))
    with pytest.raises(InputError, match=r"path: expected a file of weights, got no file at .*\. Fetch .* MB"):
        load_vae(tmp_path / "none.safetensors", name)
    assert name in FETCH


def changed(**changes):
    state = publisher() | changes
    return {key: value for key, value in state.items() if value is not None}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (changed(**{"decoder.up.1.block.1.conv2.bias": None}), "got decoder.up.1.block.1.conv2.bias is missing"),
        (changed(**{"encoder.mid.attn_1.k.weight": None}), "got encoder.mid.attn_1.k.weight is missing"),
        (changed(extra=torch.zeros(1)), "got extra is unexpected"),
        (changed(quant_conv=torch.zeros(1)), "got quant_conv is unexpected"),
        (
            changed(**{"encoder.conv_out.weight": torch.zeros(32, 16, 3, 3)}),
            r"encoder.conv_out.weight has shape \(32, 16, 3, 3\), not \(8, 16, 3, 3\)",
        ),
        (changed(**{"encoder.conv_in.weight": None}), "expected an autoencoder in the publishers' layout, or in"),
    ],
    ids=["missing", "missing of three", "unexpected", "unexpected layer", "shape", "layout"],
)
def test_odd_keys_are_named_and_nothing_is_loaded(tmp_path, state, message):
    save_file(state, tmp_path / "vae.safetensors")
    model = tiny()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(InputError, match=message):
        load_vae(tmp_path / "vae.safetensors", model)
    assert equal(model.state_dict(), before)
