"""DiT: released weights into our modules and back, in the layout of the paper's code and in that of diffusers.

What is released predicts DDPM's noise, at steps k = 0 .. 999 with k = 999 nearly noise. Read as our ``net(x, s, c)``
with ``s = k / 1000`` it is the same network; ``velocity`` makes a field of it in our time. Its head has twice the
channels: the second half is a variance, which no flow uses, and is left behind here.

Source: Peebles and Xie 2023, their code; Chapter 11 loads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from flowlib.errors import InputError
from flowlib.layers import sinusoidal_2d
from flowlib.models import DiT
from flowlib.models.dit import SIZES
from flowlib.paths import VP
from flowlib.paths import Path as ProbabilityPath
from flowlib.paths.conventions import from_ddpm, linear_betas
from flowlib.pretrained.files import State, check_keys, download, read_weights
from flowlib.pretrained.layouts import depth_of, put_into
from flowlib.shapes import Field

WHAT = "the keys of a released DiT"
# ours: theirs, without the .weight or .bias that follows; first what a model has once, then what each block has
RELEASED = {
    "embed_patch": "x_embedder.proj",
    "embed_time.0": "t_embedder.mlp.0",
    "embed_time.2": "t_embedder.mlp.2",
    "embed_class.table": "y_embedder.embedding_table",
    "modulation.linear": "final_layer.adaLN_modulation.1",
    "head": "final_layer.linear",
}
RELEASED_BLOCK = {
    "modulation.linear": "adaLN_modulation.1",
    "attention.qkv": "attn.qkv",
    "attention.out": "attn.proj",
    "mlp.0": "mlp.fc1",
    "mlp.2": "mlp.fc2",
}
DIFFUSERS = {"embed_patch": "pos_embed.proj", "modulation.linear": "proj_out_1", "head": "proj_out_2"}
DIFFUSERS_BLOCK = {
    "modulation.linear": "norm1.linear",
    "attention.qkv": "attn1.qkv",  # and then three: to_q, to_k, to_v
    "attention.out": "attn1.to_out.0",
    "mlp.0": "ff.net.0.proj",
    "mlp.2": "ff.net.2",
}
DIFFUSERS_COPIED = {  # one embedding of time and class, of which each block holds a copy
    "embed_time.0": "norm1.emb.timestep_embedder.linear_1",
    "embed_time.2": "norm1.emb.timestep_embedder.linear_2",
    "embed_class.table": "norm1.emb.class_embedder.embedding_table",
}


class Release(NamedTuple):
    """One commit of a model on the hub, and the hash of its transformer."""

    repo: str
    revision: str
    sha256: str


RELEASES = {  # side of the pictures: DiT-XL/2 in diffusers' layout, 3.0 GB in float32, under CC BY-NC 4.0
    256: Release(
        "facebook/DiT-XL-2-256",
        "eab87f77abd5aef071a632f08807fbaab0b704d0",
        "e592d64df5a579691e65d2b245641a00bb070b652e2c5ca775cce20a729ce9d9",
    ),
    512: Release(
        "facebook/DiT-XL-2-512",
        "101a3d462b22d64c4afdd4d0c8c59a2c0b961b99",
        "b00d4be3612dd89bda715ffdcd9efe1635605f52d292ddd6f600dd0c8097517a",
    ),
}


def download_dit(side: int = 256) -> Path:
    """Fetch the released DiT-XL/2 for ImageNet pictures of ``side`` pixels, and check its hash; for ``load_dit``.

    Raises:
        InputError: a side that was not released; a file with another hash.
    """
    if side not in RELEASES:
        raise InputError("side", expected=" or ".join(map(str, RELEASES)), got=side)
    repo, revision, sha256 = RELEASES[side]
    return download(repo, "transformer/diffusion_pytorch_model.bin", revision=revision, sha256=sha256)


def load_dit(path: str | Path, model: DiT | None = None, *, heads: int | None = None) -> DiT:
    """Read released weights, in either layout, into a DiT; it then predicts noise, see ``velocity``.

    Args:
        path: a .safetensors file, or one that torch.save wrote.
        model: which it goes into; by default one of the size that the file tells.
        heads: of a size that is not published; a file does not tell them.

    Raises:
        InputError: no such file, another layout, a missing or unexpected key, a checkpoint of another size.
    """
    state = read_weights(path)
    if "x_embedder.proj.weight" in state:
        ours = from_released(state)
    elif "pos_embed.proj.weight" in state:
        ours = from_diffusers(state)
    else:
        first = next(iter(state), "nothing")
        raise InputError("path", expected="DiT's own keys, or those of diffusers", got=f"{path}, which begins {first}")
    if model is None:
        model = _empty(state, ours, heads)
    return put_into(model, ours)


def velocity(net: Field, path: ProbabilityPath = VP()) -> Field:  # noqa: B008  frozen
    """Velocity field v(x, t, c) on ``path`` of a released DiT, whose net(x, k / 1000, c) predicts DDPM's noise.

    Args:
        net: from ``load_dit``.
        path: ours; VP is the one that DDPM's steps are points of, and its velocity exists at t = 0, where a noise
            predictor tells nothing on a path that starts in pure noise.
    """
    return from_ddpm(lambda x, k, c: net(x, k / 1000, c), linear_betas(), path)


def from_released(state: State) -> dict[str, Tensor]:
    """Our state of one in the layout of the paper's code.

    Raises:
        InputError: a key that is missing or unexpected, positions that are not the sinusoids of a square.
    """
    depth = depth_of(state, "blocks")
    ours = _renamed(state, _names(RELEASED, RELEASED_BLOCK, "blocks", depth), {"pos_embed"})
    theirs = state["pos_embed"].float()
    side = round(theirs.shape[-2] ** 0.5)
    sinusoids = _positions(side, ours)
    if theirs.shape != sinusoids.shape or not torch.allclose(theirs, sinusoids, atol=1e-4):
        got = f"other numbers, of shape {tuple(theirs.shape)}"
        raise InputError("pos_embed", expected=f"sinusoids of {side} x {side} places", got=got)
    return _patches_in(ours)


def to_released(state: State, *, patch: int, side: int) -> dict[str, Tensor]:
    """The layout of the paper's code, of our state; ``side`` is that of the grid of positions, which it stores."""
    names = _names(RELEASED, RELEASED_BLOCK, "blocks", depth_of(state, "blocks"))
    theirs = {_swap(key, names): value for key, value in _patches_out(state, patch).items()}
    return theirs | {"pos_embed": _positions(side, state)}


def from_diffusers(state: State) -> dict[str, Tensor]:
    """Our state of one in diffusers' layout, from which the copies of the embeddings are dropped.

    Raises:
        InputError: a key that is missing or unexpected, copies that differ.
    """
    depth = depth_of(state, "transformer_blocks")
    state = dict(state)
    for i in range(depth):
        for kind in ("weight", "bias"):
            parts = [f"transformer_blocks.{i}.attn1.to_{letter}.{kind}" for letter in "qkv"]
            absent = [part for part in parts if part not in state]
            if absent:
                raise InputError("state", expected=WHAT, got=f"{absent[0]} is missing")
            state[f"transformer_blocks.{i}.attn1.qkv.{kind}"] = torch.cat([state.pop(part) for part in parts])
    for key in [key for key in state if ".norm1.emb." in key and not key.startswith("transformer_blocks.0.")]:
        first = "transformer_blocks.0.norm1.emb." + key.partition(".norm1.emb.")[2]
        if first in state and not torch.equal(state.pop(key), state[first]):
            raise InputError("state", expected="one embedding, copied to each block", got=f"{key} unlike {first}")
    return _patches_in(_renamed(state, _diffusers_names(depth)))


def to_diffusers(state: State, *, patch: int) -> dict[str, Tensor]:
    """Diffusers' layout of our state; its model wants ``norm_eps=1e-6``, and divides the frequencies of time by 127."""
    depth = depth_of(state, "blocks")
    names = _diffusers_names(depth)
    theirs = {_swap(key, names): value for key, value in _patches_out(state, patch).items()}
    for key in [key for key in theirs if ".attn1.qkv." in key]:
        parts = theirs.pop(key).chunk(3)
        theirs |= {key.replace(".qkv.", f".to_{letter}."): part for letter, part in zip("qkv", parts, strict=True)}
    for key in [key for key in theirs if ".norm1.emb." in key]:
        theirs |= {key.replace("blocks.0.", f"blocks.{i}."): theirs[key].clone() for i in range(1, depth)}
    return theirs


def _names(once: Mapping[str, str], block: Mapping[str, str], blocks: str, depth: int) -> dict[str, str]:
    of_blocks = {f"blocks.{i}.{ours}": f"{blocks}.{i}.{theirs}" for i in range(depth) for ours, theirs in block.items()}
    return dict(once) | of_blocks


def _diffusers_names(depth: int) -> dict[str, str]:
    copied = {ours: f"transformer_blocks.0.{theirs}" for ours, theirs in DIFFUSERS_COPIED.items()}
    return _names(DIFFUSERS | copied, DIFFUSERS_BLOCK, "transformer_blocks", depth)


def _swap(key: str, names: Mapping[str, str]) -> str:
    layer, _, kind = key.rpartition(".")
    return f"{names[layer]}.{kind}"


def _renamed(
    state: State, names: Mapping[str, str], others: frozenset[str] | set[str] = frozenset()
) -> dict[str, Tensor]:
    """Our names for theirs; every one of them must be there, and nothing else but ``others``."""
    keys = {
        f"{theirs}.{kind}": f"{ours}.{kind}"
        for ours, theirs in names.items()
        for kind in (("weight",) if ours == "embed_class.table" else ("weight", "bias"))
    }
    check_keys(state, {key: state.get(key, torch.empty(0)) for key in [*keys, *others]}, WHAT)
    return {ours: state[theirs] for theirs, ours in keys.items()}


def _patches_in(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A convolution over patches as our linear map of (p q c), and the head without the rows of a variance."""
    convolution = state["embed_patch.weight"]
    channels, patch = convolution.shape[1:3]
    state["embed_patch.weight"] = rearrange(convolution, "d c p q -> d (p q c)")
    for kind in ("weight", "bias"):
        rows = rearrange(state[f"head.{kind}"], "(p q c) ... -> p q c ...", p=patch, q=patch)
        state[f"head.{kind}"] = rearrange(rows[:, :, :channels], "p q c ... -> (p q c) ...").contiguous()
    return state


def _patches_out(state: State, patch: int) -> dict[str, Tensor]:
    linear = rearrange(state["embed_patch.weight"], "d (p q c) -> d c p q", p=patch, q=patch).contiguous()
    return dict(state) | {"embed_patch.weight": linear}


def _positions(side: int, state: State) -> Tensor:
    places = torch.arange(side)
    return sinusoidal_2d(places, places, state["head.weight"].shape[1]).float()[None]


def _empty(state: State, ours: State, heads: int | None) -> DiT:
    """A DiT without numbers, of the size of the weights ``ours``, whose file had the tensors ``state``."""
    patch = next(value.shape[-1] for value in state.values() if value.ndim == 4)
    width, features = ours["embed_patch.weight"].shape
    depth = depth_of(ours, "blocks")
    published = {(d, w): h for d, w, h in SIZES.values()}
    if heads is None and (depth, width) not in published:
        raise InputError("heads", expected="their number, for a size that is not published", got=None)
    with torch.device("meta"):
        return DiT(
            features // patch**2,
            len(ours["embed_class.table.weight"]) - 1,
            patch=patch,
            width=width,
            depth=depth,
            heads=heads or published[depth, width],
        )
