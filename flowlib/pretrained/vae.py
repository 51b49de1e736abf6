"""Autoencoders: the released weights of SD, SD3 and Flux into ours and back, in the publishers' layout and diffusers'.

A file tells neither the constants between which a flow lives, nor SD3's from Flux's, so the name is asked for::

    sd     4 channels, shift 0,      scale 0.18215, with 1 x 1 convolutions at the latents
    sd3   16 channels, shift 0.0609, scale 1.5305
    flux  16 channels, shift 0.1159, scale 0.3611

Source: Rombach et al. 2022; Esser et al. 2024; Black Forest Labs 2024; and their code. Chapter 12 loads them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from flowlib.errors import InputError
from flowlib.models import Autoencoder
from flowlib.pretrained.files import State, check_keys, read_weights

WHAT = "the keys of this autoencoder"
CONSTANTS = {"shift", "scale"}  # ours; no released file holds them
WHOLE = "first_stage_model."  # before the keys of an autoencoder inside the file of a whole model
OTHERS = ("loss.", "model_ema.")  # what helped to train one
FETCH = {
    "sd": "diffusion_pytorch_model.safetensors of stabilityai/sd-vae-ft-mse, 335 MB",
    "sd3": "vae/diffusion_pytorch_model.safetensors of stabilityai/stable-diffusion-3-medium-diffusers, 168 MB",
    "flux": "ae.safetensors of black-forest-labs/FLUX.1-schnell, 335 MB",
}
Layout = Literal["publisher", "diffusers"]
# ours: theirs, without the .weight or .bias that follows
ONCE = {"quant": "quant_conv", "unquant": "post_quant_conv"}
PARTS: dict[Layout, dict[str, str]] = {
    "publisher": {
        "stem": "conv_in",
        "norm": "norm_out",
        "head": "conv_out",
        "middle.block_1": "mid.block_1",
        "middle.block_2": "mid.block_2",
        "middle.norm": "mid.attn_1.norm",
        "middle.attention.qkv": "mid.attn_1.{}",  # three in theirs
        "middle.attention.out": "mid.attn_1.proj_out",
    },
    "diffusers": {
        "stem": "conv_in",
        "norm": "conv_norm_out",
        "head": "conv_out",
        "middle.block_1": "mid_block.resnets.0",
        "middle.block_2": "mid_block.resnets.1",
        "middle.norm": "mid_block.attentions.0.group_norm",
        "middle.attention.qkv": "mid_block.attentions.0.to_{}",
        "middle.attention.out": "mid_block.attentions.0.to_out.0",
    },
}
LEVELS: dict[Layout, dict[str, tuple[str, str, str]]] = {  # the levels, their blocks, the way to the next size
    "publisher": {"encoder": ("down", "block", "downsample"), "decoder": ("up", "block", "upsample")},
    "diffusers": {
        "encoder": ("down_blocks", "resnets", "downsamplers.0"),
        "decoder": ("up_blocks", "resnets", "upsamplers.0"),
    },
}
BLOCK = {"norm_1": "norm1", "conv_1": "conv1", "norm_2": "norm2", "conv_2": "conv2"}
SKIP: dict[Layout, str] = {"publisher": "nin_shortcut", "diffusers": "conv_shortcut"}
OLDER = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # diffusers' first names


def load_vae(path: str | Path, model: str | Autoencoder) -> Autoencoder:
    """Read released weights, in either layout, into an autoencoder.

    Args:
        path: a .safetensors file, or one that torch.save wrote; that of a whole model will do.
        model: "sd", "sd3" or "flux"; or an autoencoder of another size, which keeps its constants.

    Raises:
        InputError: no such file (the message says what to fetch), another layout, a missing or unexpected key.
    """
    fetch = f"fetch {FETCH[model]}" if isinstance(model, str) and model in FETCH else "download it first"
    state = _alone(read_weights(path, cure=fetch))
    if isinstance(model, str):
        model = Autoencoder.of(model)
    if "encoder.conv_in.weight" not in state:
        got = f"{path}, which begins {next(iter(state), 'and ends')}"
        raise InputError("path", expected="an autoencoder in the publishers' layout, or in diffusers'", got=got)
    in_diffusers = any(key.startswith("encoder.down_blocks.") for key in state)
    ours = from_diffusers(state, model) if in_diffusers else from_publisher(state, model)
    model.load_state_dict(model.state_dict() | ours)
    return model.eval()


def from_publisher(state: State, model: Autoencoder) -> dict[str, Tensor]:
    """Weights for ``model`` of one in the layout of LDM, SD3 and Flux.

    Raises:
        InputError: a key that is missing or unexpected, or of another shape.
    """
    return _from(state, model, "publisher")


def to_publisher(state: State) -> dict[str, Tensor]:
    """The publishers' layout of our state, in which the matrices of attention are 1 x 1 convolutions."""
    return _to(state, "publisher")


def from_diffusers(state: State, model: Autoencoder) -> dict[str, Tensor]:
    """Weights for ``model`` of one in diffusers' layout, with its present or its first names of attention.

    Raises:
        InputError: a key that is missing or unexpected, or of another shape.
    """
    return _from({_present(key): value for key, value in state.items()}, model, "diffusers")


def to_diffusers(state: State) -> dict[str, Tensor]:
    """Diffusers' layout of our state."""
    return _to(state, "diffusers")


def _from(state: State, model: Autoencoder, layout: Layout) -> dict[str, Tensor]:
    wanted = _weights(model.state_dict())
    check_keys(state, _to(wanted, layout), WHAT)
    parts = {ours: _split(ours, value, layout, _last(wanted)) for ours, value in wanted.items()}
    return {ours: torch.cat([state[key] for key in parts[ours]]).reshape(wanted[ours].shape) for ours in wanted}


def _to(state: State, layout: Layout) -> dict[str, Tensor]:
    ours = _weights(state)
    theirs: dict[str, Tensor] = {}
    for key, value in ours.items():
        theirs |= _split(key, value, layout, _last(ours))
    return theirs


def _split(key: str, value: Tensor, layout: Layout, last: int) -> dict[str, Tensor]:
    """Their tensors of one of ours: queries, keys and values apart."""
    layer, _, kind = key.rpartition(".")
    if ".attention." in layer and kind == "weight" and layout == "publisher":
        value = value[:, :, None, None]
    theirs = _name(layer, layout, last)
    if not layer.endswith(".qkv"):
        return {f"{theirs}.{kind}": value}
    return {
        f"{theirs.format(letter)}.{kind}": part.contiguous() for letter, part in zip("qkv", value.chunk(3), strict=True)
    }


def _name(layer: str, layout: Layout, last: int) -> str:
    """Their name of one of our layers. The publishers number the decoder's levels by size, so ``last`` comes first."""
    if layer in ONCE:
        return ONCE[layer]
    side, _, inside = layer.partition(".")
    if inside in PARTS[layout]:
        return f"{side}.{PARTS[layout][inside]}"
    block, _, piece = inside.rpartition(".")
    piece = (BLOCK | {"skip": SKIP[layout]}).get(piece, piece)
    if block in PARTS[layout]:
        return f"{side}.{PARTS[layout][block]}.{piece}"
    _, number, kind, *which = block.split(".")
    levels, blocks, resize = LEVELS[layout][side]
    if (side, layout) == ("decoder", "publisher"):
        number = str(last - int(number))
    return ".".join([side, levels, number, *([blocks, *which] if kind == "blocks" else [resize]), piece])


def _last(ours: State) -> int:
    """Number of the last level."""
    return max(int(key.split(".")[2]) for key in ours if key.startswith("encoder.levels."))


def _weights(state: State) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key not in CONSTANTS}


def _alone(state: State) -> State:
    """The autoencoder of a file that may hold a whole model, or what helped to train it."""
    inside = {key.removeprefix(WHOLE): value for key, value in state.items() if key.startswith(WHOLE)}
    return inside or {key: value for key, value in state.items() if not key.startswith(OTHERS)}


def _present(key: str) -> str:
    before, at, name = key.partition("attentions.0.")
    older, dot, kind = name.rpartition(".")
    return f"{before}{at}{OLDER.get(older, older)}{dot}{kind}" if at else key
