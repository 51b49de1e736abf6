"""Weights on disk: safetensors, written atomically, checked when they are read."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from flowlib.atomic import check_writable, write_at_once
from flowlib.errors import InputError

METADATA = "flowlib"  # where the facts stand in the file


def save_checkpoint(
    path: str | Path, model: nn.Module, metadata: dict[str, str] | None = None, *, half: bool = False
) -> None:
    """Write the model's state to ``path``; the file is either the old one or the whole new one, at any moment.

    Args:
        path: a .safetensors file; its folder is made when missing.
        model: whose state_dict is written.
        metadata: short facts to keep with it.
        half: whether numbers are rounded to float16, in half of the room; a model that loads them widens them again.

    Raises:
        InputError: the folder cannot be written to.
    """
    path = Path(path)
    # One entry, because safetensors writes several in random order: the same weights must give the same bytes.
    facts = {METADATA: json.dumps(metadata or {}, sort_keys=True)}
    state = {k: v.half() if half and v.is_floating_point() else v for k, v in model.state_dict().items()}
    content = save({k: v.contiguous() for k, v in state.items()}, facts)
    check_writable(path.parent)
    write_at_once(path, content)


def load_checkpoint(path: str | Path, model: nn.Module) -> dict[str, str]:
    """Read weights into ``model`` and return the metadata kept with them; nothing is loaded when anything is wrong.

    Raises:
        InputError: no such file, a truncated or damaged one, or one that belongs to another model.
    """
    path = Path(path)
    state, facts = _read(path)
    check_fit(path, state, model.state_dict(), facts)
    model.load_state_dict(state)
    return facts


def facts_of(path: str | Path) -> dict[str, str]:
    """Return the metadata kept with the weights at ``path``; {} where there is none.

    Raises:
        InputError: no such file, or a truncated or damaged one.
    """
    return _read(Path(path))[1]


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a file, by name, and its metadata."""
    if not path.is_file():
        raise InputError(
            "path", expected="a checkpoint", got=f"no file at {path}", cure="train it first, or look for a typo"
        )
    try:
        with safe_open(str(path), "pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  not a dict
            facts = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(
            "path", expected="a whole safetensors file", got=f"{path} ({error})", cure="copy or train it again"
        ) from error
    try:
        return state, json.loads(facts.get(METADATA, "{}"))
    except json.JSONDecodeError as error:
        raise InputError(
            "path", expected=f"JSON under {METADATA!r} in its metadata", got=f"{path} ({error})"
        ) from error


def check_fit(
    path: Path, state: dict[str, Tensor], wanted: dict[str, Tensor], facts: dict[str, str] | None = None
) -> None:
    """Raise ``InputError`` unless ``state``, read from ``path``, has the names and shapes of ``wanted``.

    The error tells the ``facts`` that stood beside ``state``.
    """
    odd = sorted(state.keys() ^ wanted.keys())
    odd += [k for k in state.keys() & wanted.keys() if state[k].shape != wanted[k].shape]
    if odd:
        of = "".join(f", {name} {value}" for name, value in (facts or {}).items())
        raise InputError(
            "path",
            expected="weights of this model",
            got=f"{path}{of}, which differs in {len(odd)} tensors, first {odd[0]}",
            cure="build the model with the sizes that the file was trained with",
        )
