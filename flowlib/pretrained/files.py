"""Files of released weights: read from disk, or fetched from the Hugging Face hub at one commit."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from flowlib.errors import InputError

State = Mapping[str, Tensor]


def read_weights(path: str | Path, *, cure: str = "download it first") -> dict[str, Tensor]:
    """Read tensors by name from a .safetensors file, or from what ``torch.save`` wrote, without running code in it.

    A training checkpoint that holds averaged weights under "ema" gives those, else what it holds under "state_dict".

    Args:
        path: of the file.
        cure: what to do when there is none, such as what to fetch and how much that is.

    Raises:
        InputError: no such file, a damaged one, or one that holds no tensors by name.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("path", expected="a file of weights", got=f"no file at {path}", cure=cure)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, LookupError, RuntimeError, OSError, EOFError) as error:
        line = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            "path", expected="a whole file of weights", got=f"{path} ({line})", cure="fetch it again"
        ) from error
    content = content.get("ema", content.get("state_dict", content)) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError("path", expected="tensors by name", got=f"{path}, which holds something else")
    return content


def download(repo: str, path: str, *, revision: str, sha256: str | None = None) -> Path:
    """Fetch one file of a model on the Hugging Face hub, at one commit, into the hub's cache, and check its hash.

    Args:
        repo: such as "facebook/DiT-XL-2-256".
        path: of the file in it.
        revision: the commit, 40 hexadecimal digits: a branch may change between two runs.
        sha256: of the file; without it, what the hub says of that commit is compared.

    Returns:
        Where the file lies; nothing is fetched twice.

    Raises:
        InputError: a branch instead of a commit, no hash to compare with, or a file that has another, which is deleted.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    if not re.fullmatch("[0-9a-f]{40}", revision):
        raise InputError(
            "revision",
            expected="a commit, 40 hexadecimal digits",
            got=repr(revision),
            cure="the history of the repository on the hub lists them",
        )
    wanted = sha256 or str(get_hf_file_metadata(hf_hub_url(repo, path, revision=revision)).etag)
    if not re.fullmatch("[0-9a-f]{64}", wanted):
        raise InputError("sha256", expected="64 hexadecimal digits", got=repr(wanted), cure="give the hash of the file")
    file = Path(hf_hub_download(repo, path, revision=revision))
    found = _sha256(file)
    if found != wanted:
        file.resolve().unlink()
        raise InputError("path", expected=f"a file with hash {wanted}", got=f"{found} at {file}", cure="fetch it again")
    return file


def check_keys(state: State, wanted: State, what: str) -> None:
    """Raise ``InputError`` unless ``state`` has the keys and shapes of ``wanted``; three odd ones are named."""
    missing = [f"{key} is missing" for key in wanted if key not in state]
    unexpected = [f"{key} is unexpected" for key in state if key not in wanted]
    shapes = [
        f"{key} has shape {tuple(state[key].shape)}, not {tuple(value.shape)}"
        for key, value in wanted.items()
        if key in state and state[key].shape != value.shape
    ]
    odd = missing + unexpected + shapes
    if odd:
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        raise InputError(
            "state",
            expected=what,
            got="; ".join(odd[:3]) + more,
            cure="it may be the file of another model, or of another size",
        )


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
