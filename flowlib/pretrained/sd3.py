"""MM-DiT: the released weights of SD3 into ours and back, in the publisher's single file and in diffusers' layout.

SD3's network answers at its own time s, which is 1 at noise, with a velocity that points to noise. ``load_sd3`` gives
that network, ``net(x, s, c)`` with s in [0, 1]; the factor 1000 that its files expect is in our embedding of time.
On our clock it is ``v(x, t, c) = -net(x, 1 - t, c)``: ``flowlib.paths.conventions.reverse_time`` turns it.

The layouts differ from ours in few things: diffusers keeps queries, keys and values apart, and at two places, the last
block's text and the head, it has the scale before the shift. SD3.5 medium has a second attention, which is not here.

Source: Esser et al. 2024 and their code; Chapter 13 loads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from flowlib.errors import InputError
from flowlib.models import MMDiT
from flowlib.pretrained.files import State, check_keys, read_weights
from flowlib.pretrained.layouts import depth_of, halves_swapped, of_text, put_into

WHAT = "the keys of a released SD3"
WHOLE = "model.diffusion_model."  # before the keys of the network in the publisher's file, which has an autoencoder too
HEAD_WIDTH = 64  # of SD3 at all sizes
FETCH = "fetch sd3_medium.safetensors of stabilityai/stable-diffusion-3-medium, 4.3 GB, or sd3.5_large.safetensors "
FETCH += "of stabilityai/stable-diffusion-3.5-large, 16.5 GB; both ask to accept a licence"
# ours: theirs, without the .weight or .bias that follows
RELEASED = {
    "embed_patch": "x_embedder.proj",
    "embed_text": "context_embedder",
    "embed_time.0": "t_embedder.mlp.0",
    "embed_time.2": "t_embedder.mlp.2",
    "embed_pooled.0": "y_embedder.mlp.0",
    "embed_pooled.2": "y_embedder.mlp.2",
    "modulation.linear": "final_layer.adaLN_modulation.1",
    "head": "final_layer.linear",
}
RELEASED_BLOCK = {  # of the picture's stream; that of the text has context_block for x_block
    "modulation_image.linear": "x_block.adaLN_modulation.1",
    "attention.image.qkv": "x_block.attn.qkv",
    "attention.image.norm_q": "x_block.attn.ln_q",
    "attention.image.norm_k": "x_block.attn.ln_k",
    "attention.image.out": "x_block.attn.proj",
    "mlp_image.0": "x_block.mlp.fc1",
    "mlp_image.2": "x_block.mlp.fc2",
}
RELEASED_BLOCK |= of_text(RELEASED_BLOCK, "x_block", "context_block")
DIFFUSERS = {
    "embed_patch": "pos_embed.proj",
    "embed_text": "context_embedder",
    "embed_time.0": "time_text_embed.timestep_embedder.linear_1",
    "embed_time.2": "time_text_embed.timestep_embedder.linear_2",
    "embed_pooled.0": "time_text_embed.text_embedder.linear_1",
    "embed_pooled.2": "time_text_embed.text_embedder.linear_2",
    "modulation.linear": "norm_out.linear",
    "head": "proj_out",
}
DIFFUSERS_BLOCK = {
    "modulation_image.linear": "norm1.linear",
    "attention.image.qkv": "attn.to_{}",  # three in theirs
    "attention.image.norm_q": "attn.norm_q",
    "attention.image.norm_k": "attn.norm_k",
    "attention.image.out": "attn.to_out.0",
    "mlp_image.0": "ff.net.0.proj",
    "mlp_image.2": "ff.net.2",
    "modulation_text.linear": "norm1_context.linear",
    "attention.text.qkv": "attn.add_{}_proj",
    "attention.text.norm_q": "attn.norm_added_q",
    "attention.text.norm_k": "attn.norm_added_k",
    "attention.text.out": "attn.to_add_out",
    "mlp_text.0": "ff_context.net.0.proj",
    "mlp_text.2": "ff_context.net.2",
}


def load_sd3(path: str | Path, model: MMDiT | None = None, *, heads: int | None = None) -> MMDiT:
    """Read released weights, in either layout, into an MM-DiT; it runs on SD3's clock, see above.

    Args:
        path: a .safetensors file, or one that torch.save wrote; the publisher's may hold other networks too.
        model: which it goes into; by default one of the size that the file tells.
        heads: of a model whose heads have not 64 features, as all of SD3 have; a file does not tell them.

    Raises:
        InputError: no such file (the message says what to fetch), another layout, a missing or unexpected key, a
            checkpoint of another size.
    """
    state = read_weights(path, cure=FETCH)
    if any(key.startswith(WHOLE) for key in state):
        state = {key: value for key, value in state.items() if key.startswith(WHOLE)}
        ours = from_released(state)
    elif "x_embedder.proj.weight" in state:
        ours = from_released(state)
    elif "pos_embed.proj.weight" in state:
        ours = from_diffusers(state)
    else:
        got = f"{path}, which begins {next(iter(state), 'and ends')}"
        raise InputError("path", expected="SD3's own keys, or those of diffusers", got=got)
    if model is None:
        model = _empty(state, ours, heads)
    return put_into(model, ours)


def from_released(state: State) -> dict[str, Tensor]:
    """Our state of one in the publisher's layout, with or without what its single file puts before each key.

    Raises:
        InputError: a key that is missing or unexpected.
    """
    state = {key.removeprefix(WHOLE): value for key, value in state.items()}
    return _patches_in(_ours(state, dict(_names(state, "joint_blocks", RELEASED, RELEASED_BLOCK)), "pos_embed"))


def to_released(state: State, *, patch: int) -> dict[str, Tensor]:
    """The publisher's single file of our state."""
    names = dict(_names(state, "blocks", RELEASED, RELEASED_BLOCK))
    theirs = {names[key]: value for key, value in _patches_out(state, patch).items() if key != "places"}
    theirs |= {"pos_embed": state["places"].flatten(0, 1)[None]}
    return {WHOLE + key: value for key, value in theirs.items()}


def from_diffusers(state: State) -> dict[str, Tensor]:
    """Our state of one in diffusers' layout.

    Raises:
        InputError: a key that is missing or unexpected.
    """
    names = dict(_names(state, "transformer_blocks", DIFFUSERS, DIFFUSERS_BLOCK))
    theirs = dict(state)
    for name in names.values():
        parts = [name.format(letter) for letter in "qkv"]
        if "{}" in name and all(part in theirs for part in parts):
            theirs[name] = torch.cat([theirs.pop(part) for part in parts])
    return _scale_first(_patches_in(_ours(theirs, names, "pos_embed.pos_embed")))


def to_diffusers(state: State, *, patch: int) -> dict[str, Tensor]:
    """Diffusers' layout of our state."""
    names = dict(_names(state, "blocks", DIFFUSERS, DIFFUSERS_BLOCK))
    theirs = {"pos_embed.pos_embed": state["places"].flatten(0, 1)[None]}
    for key, value in _scale_first(_patches_out(state, patch)).items():
        if ".qkv." in key:
            parts = zip("qkv", value.chunk(3), strict=True)
            theirs |= {names[key].format(letter): part.contiguous() for letter, part in parts}
        elif key != "places":
            theirs[names[key]] = value
    return theirs


def _names(state: State, blocks: str, once: Mapping[str, str], block: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Our keys and theirs, of a model with as many blocks and the same norms as ``state``, ours or theirs."""
    depth, qk_norm = depth_of(state, blocks), any("norm_q" in key or "ln_q" in key for key in state)
    theirs = "joint_blocks" if block is RELEASED_BLOCK else "transformer_blocks"
    for ours, name in once.items():
        yield from ((f"{ours}.{kind}", f"{name}.{kind}") for kind in ("weight", "bias"))
    for i in range(depth):
        for ours, name in block.items():
            last = i == depth - 1 and ours in ("attention.text.out", "mlp_text.0", "mlp_text.2")
            norm = ".norm_" in ours
            if not last and (qk_norm or not norm):
                kinds = ("weight",) if norm else ("weight", "bias")
                yield from ((f"blocks.{i}.{ours}.{kind}", f"{theirs}.{i}.{name}.{kind}") for kind in kinds)


def _ours(state: State, names: Mapping[str, str], places: str) -> dict[str, Tensor]:
    """Our names for theirs; every one of them must be there, and nothing else but their table of places."""
    wanted = [*names.values(), places]
    check_keys(state, {key: state.get(key, torch.empty(0)) for key in wanted}, WHAT)
    table = state[places]
    side = round(table.shape[1] ** 0.5)
    return {ours: state[theirs] for ours, theirs in names.items()} | {"places": table[0].unflatten(0, (side, side))}


def _patches_in(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A convolution over patches as our linear map of (p q c)."""
    return state | {"embed_patch.weight": rearrange(state["embed_patch.weight"], "d c p q -> d (p q c)")}


def _patches_out(state: State, patch: int) -> dict[str, Tensor]:
    linear = rearrange(state["embed_patch.weight"], "d (p q c) -> d c p q", p=patch, q=patch).contiguous()
    return dict(state) | {"embed_patch.weight": linear}


def _scale_first(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Shift and scale of the modulations without a gate in the other order, which is its own inverse."""
    return halves_swapped(state, f"blocks.{depth_of(state, 'blocks') - 1}.modulation_text.linear", "modulation.linear")


def _empty(state: State, ours: State, heads: int | None) -> MMDiT:
    """An MM-DiT without numbers, of the size of the weights ``ours``, whose file had the tensors ``state``."""
    width, channels, patch, _ = next(value.shape for value in state.values() if value.ndim == 4)
    with torch.device("meta"):
        return MMDiT(
            channels,
            ours["embed_text.weight"].shape[1],
            ours["embed_pooled.0.weight"].shape[1],
            depth=depth_of(ours, "blocks"),
            width=width,
            heads=heads or width // HEAD_WIDTH,
            patch=patch,
            qk_norm=any(".norm_q." in key for key in ours),
            grid=len(ours["places"]),
        )
