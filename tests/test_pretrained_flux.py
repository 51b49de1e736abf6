"""Released Flux: both layouts in and out, patches in the other order, keys that are odd, and Flux's clock."""

from functools import partial

import pytest
import torch
from safetensors.torch import save_file
from test_flux import AXES, WIDTH, as_diffusers, diffusers_velocity, small
from transformer_parts import Sinusoids, batch

from flowlib.errors import InputError
from flowlib.layers import patchify
from flowlib.models import Flux
from flowlib.paths.conventions import reverse_time
from flowlib.pretrained import load_flux
from flowlib.pretrained.flux import WHOLE, from_diffusers, from_released, to_diffusers, to_released
from flowlib.sampling import sample
from flowlib.solvers import EULER

LINEAR = {  # the publisher's keys and shapes, written down here from its code; w is the width
    "img_in": ("w", 12),
    "txt_in": ("w", 12),
    **{f"{name}.in_layer": ("w", size) for name, size in (("time_in", 256), ("vector_in", 10), ("guidance_in", 256))},
    **{f"{name}.out_layer": ("w", "w") for name in ("time_in", "vector_in", "guidance_in")},
    "final_layer.linear": (12, "w"),
    "final_layer.adaLN_modulation.1": ("2w", "w"),
}
DOUBLE = {
    "mod.lin": ("6w", "w"),
    "attn.qkv": ("3w", "w"),
    "attn.proj": ("w", "w"),
    "mlp.0": ("4w", "w"),
    "mlp.2": ("w", "4w"),
}
SINGLE = {"modulation.lin": ("3w", "w"), "linear1": ("7w", "w"), "linear2": ("w", "5w")}
NORMS = ("query_norm.scale", "key_norm.scale")


def released(double=2, single=3, head=WIDTH // 3, guidance=True) -> dict[str, torch.Tensor]:
    """Random weights under the publisher's keys."""
    generator = torch.Generator().manual_seed(0)

    def size(n):
        return n if isinstance(n, int) else WIDTH * int(n[:-1] or 1)

    linear = {name: shape for name, shape in LINEAR.items() if guidance or "guidance" not in name}
    vectors = {}
    for i in range(double):
        for stream in ("img", "txt"):
            linear |= {f"double_blocks.{i}.{stream}_{name}": shape for name, shape in DOUBLE.items()}
            vectors |= {f"double_blocks.{i}.{stream}_attn.norm.{name}": head for name in NORMS}
    for i in range(single):
        linear |= {f"single_blocks.{i}.{name}": shape for name, shape in SINGLE.items()}
        vectors |= {f"single_blocks.{i}.norm.{name}": head for name in NORMS}
    state = {f"{name}.weight": (size(a), size(b)) for name, (a, b) in linear.items()}
    state |= {f"{name}.bias": (size(a),) for name, (a, _) in linear.items()}
    state |= {name: (n,) for name, n in vectors.items()}
    return {name: 0.2 * torch.randn(shape, generator=generator) for name, shape in state.items()}


def equal(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("guidance", [False, True], ids=["schnell", "dev"])
def test_layouts_go_there_and_back(guidance):
    theirs = released(guidance=guidance)
    ours = from_released(theirs)
    assert equal(to_released(ours), theirs)
    assert equal(from_diffusers(to_diffusers(ours)), ours)
    assert ours.keys() == small(guidance=guidance).state_dict().keys()


def test_diffusers_reads_the_publishers_file_as_we_do():
    """Its own conversion of the single file, of which it fixes the width, names and orders the same tensors."""
    from diffusers.loaders import single_file_utils

    theirs = released()
    wide = {"d": 3072}  # the width that diffusers assumes when it cuts linear1
    cut = {key: value for key, value in theirs.items() if "linear1" not in key}
    for i in range(3):
        for kind, shape in (("weight", (7 * wide["d"], 1)), ("bias", (7 * wide["d"],))):
            cut[f"single_blocks.{i}.linear1.{kind}"] = torch.arange(float(shape[0])).reshape(shape)
    converted = single_file_utils.convert_flux_transformer_checkpoint_to_diffusers(dict(cut))
    mine = to_diffusers(from_released(theirs))
    assert mine.keys() == converted.keys()
    parts = ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")
    for key in mine:
        if not (key.startswith("single") and any(part in key for part in parts)):
            assert torch.equal(mine[key], converted[key]), key
    starts = [int(converted[f"single_transformer_blocks.0.{part}.bias"][0]) // 3072 for part in parts]
    assert starts == [0, 1, 2, 3]
    rows = theirs["single_blocks.0.linear1.bias"].split([WIDTH] * 3 + [4 * WIDTH])
    for part, row in zip(parts, rows, strict=True):
        assert torch.equal(mine[f"single_transformer_blocks.0.{part}.bias"], row)


def test_patches_are_read_in_fluxs_order():
    """img_in on (c p q) numbers is our embedding of (p q c) ones, and the head writes them back."""
    theirs = released()
    model = small(guidance=True)
    model.load_state_dict(from_released(theirs))
    x, _, _ = batch()
    packed = x.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).permute(0, 2, 4, 1, 3, 5).reshape(3, 15, 12)  # (c p q)
    want = packed @ theirs["img_in.weight"].T + theirs["img_in.bias"]
    torch.testing.assert_close(model.embed_patch(patchify(x, 2)), want)
    assert not torch.allclose(patchify(x, 2) @ theirs["img_in.weight"].T + theirs["img_in.bias"], want, atol=0.1)


@pytest.mark.parametrize("layout", ["released", "whole", "diffusers", "pt"])
def test_a_file_loads_by_one_line(layout, tmp_path):
    theirs = released()
    kept = {
        "released": theirs,
        "whole": {WHOLE + key: value for key, value in theirs.items()} | {"vae.decoder.bias": torch.zeros(1)},
        "diffusers": to_diffusers(from_released(theirs)),
        "pt": theirs,
    }[layout]
    path = tmp_path / ("flux.pt" if layout == "pt" else "flux.safetensors")
    torch.save(kept, path) if layout == "pt" else save_file(kept, path)
    model = load_flux(path, axes=AXES)
    assert equal(model.state_dict(), from_released(theirs))
    x, t, c = batch()
    assert bool(torch.isfinite(model(x, t, c, w=3.0)).all())


def test_its_clock_is_turned_once(float64):
    """Our field from t = 0 to 1 ends where Euler's steps of the publisher, from s = 1 to 0, end."""
    ours = small(guidance=True)
    theirs = as_diffusers(ours)
    theirs.time_text_embed.time_proj = Sinusoids()
    x, _, c = batch(dtype=torch.float64)
    w = torch.full((3,), 3.5)
    end = sample(reverse_time(partial(ours, w=w)), x, c, steps=4, method=EULER)
    y = x
    for k in range(4):
        s = torch.full((3,), 1 - k / 4)
        with torch.no_grad():
            y = y - diffusers_velocity(theirs, y, s, c, w) / 4
    torch.testing.assert_close(end, y, rtol=0, atol=1e-6)  # its rotations are float32
    assert float((end - x).abs().max()) > 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("img_in.bias"), "img_in.bias is missing"),
        (lambda s: s.pop("single_blocks.1.linear2.weight"), "single_blocks.1.linear2.weight is missing"),
        (lambda s: s.update({"lora.down": torch.zeros(2)}), "lora.down is unexpected"),
        (lambda s: s.pop("img_in.weight"), "Flux's own keys, or those of diffusers"),
    ],
)
def test_odd_keys_are_named(change, message, tmp_path, unchecked):
    state = released()
    change(state)
    save_file(state, tmp_path / "flux.safetensors")
    with pytest.raises(InputError, match=message):
        load_flux(tmp_path / "flux.safetensors", axes=AXES)


def test_other_mistakes_are_named(tmp_path, unchecked):
    save_file(released(), tmp_path / "flux.safetensors")
    with pytest.raises(InputError, match="axes: expected three even numbers that add up to 8"):
        load_flux(tmp_path / "flux.safetensors")
    with pytest.raises(InputError, match=r"double_blocks.2.+ is missing"):
        load_flux(tmp_path / "flux.safetensors", small(double=3, guidance=True))
    with pytest.raises(InputError, match=r"flux1-schnell.safetensors .* 23.8 GB"):
        load_flux(tmp_path / "absent.safetensors")


def test_the_published_sizes_are_told_by_the_files(tmp_path):
    """Widths, heads, depths and the guidance input are read from the tensors."""
    theirs = released(double=1, single=2, head=128 // 16, guidance=False)
    save_file(theirs, tmp_path / "flux.safetensors")
    model = load_flux(tmp_path / "flux.safetensors", axes=AXES)
    assert isinstance(model, Flux)
    assert (len(model.double_blocks), len(model.single_blocks), model.channels, model.words) == (1, 2, 3, 12)
    assert model.embed_guidance is None
    assert model.double_blocks[0].attention.image.heads == 3
