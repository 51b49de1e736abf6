"""What the released layouts of transformers have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from flowlib.pretrained.files import State, check_keys

Net = TypeVar("Net", bound=nn.Module)


def put_into(model: Net, ours: State) -> Net:
    """Put weights under our names into a model, which may have been built without numbers, and return it for use.

    Raises:
        InputError: weights of another model or size.
    """
    check_keys(ours, model.state_dict(), f"weights of this {type(model).__name__}")
    model.load_state_dict(ours, assign=next(model.parameters()).is_meta)
    return model.eval()


def depth_of(state: State, blocks: str) -> int:
    """Number of blocks in weights whose keys read ``blocks.0...``, ``blocks.1...``."""
    return 1 + max((int(key.split(".")[1]) for key in state if key.startswith(f"{blocks}.")), default=-1)


def of_text(names: Mapping[str, str], image: str, text: str) -> dict[str, str]:
    """Names in the text's stream, ours and theirs, from those in the picture's: theirs have ``text`` for ``image``."""
    return {ours.replace("image", "text"): theirs.replace(image, text) for ours, theirs in names.items()}


def halves_swapped(state: State, *layers: str) -> dict[str, Tensor]:
    """Shift and scale of modulations without a gate in the other order; it is its own inverse."""
    keys = [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]
    return dict(state) | {key: torch.cat(state[key].chunk(2)[::-1]) for key in keys}
