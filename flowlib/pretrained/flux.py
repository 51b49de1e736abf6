"""Flux: the released weights of Flux.1 into ours and back, in the publisher's single file and in diffusers' layout.

Flux's network answers at its own time s, which is 1 at noise, with a velocity that points to noise. ``load_flux`` gives
that network, ``net(x, s, c, w=...)`` with s in [0, 1]; the factor 1000 that its files expect, of time and of guidance,
is in our embedding. On our clock it is ``v(x, t, c) = -net(x, 1 - t, c)``:

    dev = load_flux("flux1-dev.safetensors")
    v = reverse_time(partial(dev, w=3.5))

with ``flowlib.paths.conventions.reverse_time``. The layouts differ from ours in few things: Flux packs the numbers of a
patch as (c p q), ours are (p q c); diffusers keeps queries, keys, values and the perceptron apart, and has the scale
before the shift in front of the head.

Source: Black Forest Labs 2024, their code; Chapter 14 loads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from flowlib.errors import InputError
from flowlib.models import Flux
from flowlib.pretrained.files import State, check_keys, read_weights
from flowlib.pretrained.layouts import depth_of, halves_swapped, of_text, put_into

WHAT = "the keys of a released Flux"
WHOLE = "model.diffusion_model."  # before the keys in files that hold the text encoders and the autoencoder too
PATCH = 2  # of Flux at all sizes; a file tells only channels times patch^2
AXES = {128: (16, 56, 56)}  # features of a head: those that each coordinate turns
FETCH = "fetch flux1-schnell.safetensors of black-forest-labs/FLUX.1-schnell or flux1-dev.safetensors of "
FETCH += "black-forest-labs/FLUX.1-dev, 23.8 GB each; dev asks to accept a licence"
# ours: theirs, without the .weight or .bias that follows
RELEASED = {
    "embed_patch": "img_in",
    "embed_text": "txt_in",
    "embed_time.0": "time_in.in_layer",
    "embed_time.2": "time_in.out_layer",
    "embed_pooled.0": "vector_in.in_layer",
    "embed_pooled.2": "vector_in.out_layer",
    "embed_guidance.0": "guidance_in.in_layer",
    "embed_guidance.2": "guidance_in.out_layer",
    "modulation.linear": "final_layer.adaLN_modulation.1",
    "head": "final_layer.linear",
}
RELEASED_DOUBLE = {  # of the picture's stream; that of the text has txt for img
    "modulation_image.linear": "img_mod.lin",
    "attention.image.qkv": "img_attn.qkv",
    "attention.image.norm_q": "img_attn.norm.query_norm",
    "attention.image.norm_k": "img_attn.norm.key_norm",
    "attention.image.out": "img_attn.proj",
    "mlp_image.0": "img_mlp.0",
    "mlp_image.2": "img_mlp.2",
}
RELEASED_DOUBLE |= of_text(RELEASED_DOUBLE, "img", "txt")
RELEASED_SINGLE = {
    "modulation.linear": "modulation.lin",
    "into": "linear1",
    "norm_q": "norm.query_norm",
    "norm_k": "norm.key_norm",
    "out": "linear2",
}
DIFFUSERS = {
    "embed_patch": "x_embedder",
    "embed_text": "context_embedder",
    "embed_time.0": "time_text_embed.timestep_embedder.linear_1",
    "embed_time.2": "time_text_embed.timestep_embedder.linear_2",
    "embed_pooled.0": "time_text_embed.text_embedder.linear_1",
    "embed_pooled.2": "time_text_embed.text_embedder.linear_2",
    "embed_guidance.0": "time_text_embed.guidance_embedder.linear_1",
    "embed_guidance.2": "time_text_embed.guidance_embedder.linear_2",
    "modulation.linear": "norm_out.linear",
    "head": "proj_out",
}
DIFFUSERS_DOUBLE = {
    "modulation_image.linear": "norm1.linear",
    "attention.image.qkv": "attn.to_q attn.to_k attn.to_v",  # several in theirs
    "attention.image.norm_q": "attn.norm_q",
    "attention.image.norm_k": "attn.norm_k",
    "attention.image.out": "attn.to_out.0",
    "mlp_image.0": "ff.net.0.proj",
    "mlp_image.2": "ff.net.2",
    "modulation_text.linear": "norm1_context.linear",
    "attention.text.qkv": "attn.add_q_proj attn.add_k_proj attn.add_v_proj",
    "attention.text.norm_q": "attn.norm_added_q",
    "attention.text.norm_k": "attn.norm_added_k",
    "attention.text.out": "attn.to_add_out",
    "mlp_text.0": "ff_context.net.0.proj",
    "mlp_text.2": "ff_context.net.2",
}
DIFFUSERS_SINGLE = {
    "modulation.linear": "norm.linear",
    "into": "attn.to_q attn.to_k attn.to_v proj_mlp",
    "norm_q": "attn.norm_q",
    "norm_k": "attn.norm_k",
    "out": "proj_out",
}


def load_flux(path: str | Path, model: Flux | None = None, *, axes: tuple[int, int, int] | None = None) -> Flux:
    """Read released weights, in either layout, into a Flux; it runs on Flux's clock, see above.

    Args:
        path: a .safetensors file, or one that torch.save wrote; the publisher's may hold other networks too.
        model: which it goes into; by default one of the size that the file tells.
        axes: of a model whose heads have not 128 features, as all of Flux have; a file does not tell them.

    Raises:
        InputError: no such file (the message says what to fetch), another layout, a missing or unexpected key, a
            checkpoint of another size.
    """
    state = read_weights(path, cure=FETCH)
    if any(key.startswith(WHOLE) for key in state):
        state = {key.removeprefix(WHOLE): value for key, value in state.items() if key.startswith(WHOLE)}
    if "img_in.weight" in state:
        ours = from_released(state)
    elif "x_embedder.weight" in state:
        ours = from_diffusers(state)
    else:
        got = f"{path}, which begins {next(iter(state), 'and ends')}"
        raise InputError("path", expected="Flux's own keys, or those of diffusers", got=got)
    if model is None:
        model = _empty(ours, axes)
    return put_into(model, ours)


def from_released(state: State, *, patch: int = PATCH) -> dict[str, Tensor]:
    """Our state of one in the publisher's layout.

    Raises:
        InputError: a key that is missing or unexpected.
    """
    names = dict(_names(state, "released"))
    check_keys(state, {key: state.get(key, torch.empty(0)) for key in names.values()}, WHAT)
    return _channels_last({ours: state[theirs] for ours, theirs in names.items()}, patch)


def to_released(state: State, *, patch: int = PATCH) -> dict[str, Tensor]:
    """The publisher's single file of our state."""
    names = dict(_names(state, "released"))
    return {names[key]: value for key, value in _channels_first(state, patch).items()}


def from_diffusers(state: State, *, patch: int = PATCH) -> dict[str, Tensor]:
    """Our state of one in diffusers' layout.

    Raises:
        InputError: a key that is missing or unexpected.
    """
    names = {ours: theirs.split() for ours, theirs in _names(state, "diffusers")}
    wanted = [part for parts in names.values() for part in parts]
    check_keys(state, {key: state.get(key, torch.empty(0)) for key in wanted}, WHAT)
    ours = {key: torch.cat([state[part] for part in parts]) for key, parts in names.items()}
    return halves_swapped(_channels_last(ours, patch), "modulation.linear")


def to_diffusers(state: State, *, patch: int = PATCH) -> dict[str, Tensor]:
    """Diffusers' layout of our state."""
    names = {ours: theirs.split() for ours, theirs in _names(state, "diffusers")}
    width = state["head.weight"].shape[1]
    theirs: dict[str, Tensor] = {}
    for key, value in halves_swapped(_channels_first(state, patch), "modulation.linear").items():
        parts = names[key]
        first = [width] * (len(parts) - 1)  # queries, keys and values; the last part has what is left
        pieces = value.split([*first, len(value) - sum(first)])
        theirs |= {part: piece.clone() for part, piece in zip(parts, pieces, strict=True)}
    return theirs


def _names(state: State, layout: str) -> Iterator[tuple[str, str]]:
    """Our keys and theirs, of a model with as many blocks as ``state``, which is in our layout or theirs.

    A name of theirs may be several, with blanks between them.
    """
    released = layout == "released"
    gain = "scale" if released else "weight"
    once = RELEASED if released else DIFFUSERS
    if not any("guidance" in key for key in state):
        once = {ours: theirs for ours, theirs in once.items() if "guidance" not in ours}
    yield from _leaves("", "", once, gain)
    for ours, theirs, names in (
        ("double_blocks", "transformer_blocks", RELEASED_DOUBLE if released else DIFFUSERS_DOUBLE),
        ("single_blocks", "single_transformer_blocks", RELEASED_SINGLE if released else DIFFUSERS_SINGLE),
    ):
        there = ours if released else theirs
        for i in range(max(depth_of(state, ours), depth_of(state, there))):
            yield from _leaves(f"{ours}.{i}.", f"{there}.{i}.", names, gain)


def _leaves(ours: str, theirs: str, names: Mapping[str, str], gain: str) -> Iterator[tuple[str, str]]:
    for mine, name in names.items():
        for kind in ("weight",) if "norm_" in mine else ("weight", "bias"):
            their_kind = gain if "norm_" in mine else kind
            yield f"{ours}{mine}.{kind}", " ".join(f"{theirs}{part}.{their_kind}" for part in name.split())


def _channels_last(state: dict[str, Tensor], patch: int) -> dict[str, Tensor]:
    """Numbers of a patch from (c p q) to our (p q c), in what reads patches and in what writes them."""
    return _reordered(state, "(c p q)", "(p q c)", patch)


def _channels_first(state: State, patch: int) -> dict[str, Tensor]:
    return _reordered(dict(state), "(p q c)", "(c p q)", patch)


def _reordered(state: dict[str, Tensor], before: str, after: str, patch: int) -> dict[str, Tensor]:
    sizes = {"p": patch, "q": patch}
    return state | {
        "embed_patch.weight": rearrange(state["embed_patch.weight"], f"d {before} -> d {after}", **sizes).contiguous(),
        "head.weight": rearrange(state["head.weight"], f"{before} d -> {after} d", **sizes).contiguous(),
        "head.bias": rearrange(state["head.bias"], f"{before} -> {after}", **sizes).contiguous(),
    }


def _empty(ours: State, axes: tuple[int, int, int] | None) -> Flux:
    """A Flux without numbers, of the size of the weights ``ours``."""
    width, features = ours["embed_patch.weight"].shape
    head = len(next(value for key, value in ours.items() if key.endswith("norm_q.weight")))
    if axes is None and head not in AXES:
        raise InputError("axes", expected=f"three even numbers that add up to {head}", got=None)
    with torch.device("meta"):
        return Flux(
            features // PATCH**2,
            ours["embed_text.weight"].shape[1],
            ours["embed_pooled.0.weight"].shape[1],
            width=width,
            heads=width // head,
            double=depth_of(ours, "double_blocks"),
            single=depth_of(ours, "single_blocks"),
            patch=PATCH,
            axes=axes or AXES[head],
            guidance="embed_guidance.0.weight" in ours,
        )
