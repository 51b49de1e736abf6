"""Sets on disk that were computed: shards that a killed run continues, and that are checked before they are read.

A folder holds ``index.json`` and ``NAME-00000.safetensors``, and so on. The index states the facts of the computation
(which weights, which solver, which seed), how many shards are wanted, and of each finished one its size and hash. What
one sample is belongs to the set: the pairs of a flow (``flowlib.rectify``) or latents (``flowlib.datasets.latents``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from safetensors.torch import load, save
from torch import Tensor
from tqdm import tqdm

from flowlib.atomic import write_at_once
from flowlib.datasets.stream import Stream
from flowlib.errors import InputError

INDEX = "index.json"
AGAIN = "run the generation again: it keeps the shards that are whole and makes the others"
T = TypeVar("T", bound=tuple)


@dataclass(frozen=True)
class Kind(Generic[T]):
    """What the shards of a set hold.

    Attributes:
        name: of the set, in the plural, and of its files.
        read: tensors by name to the parts of a sample, the first of which has a row for each.
    """

    name: str
    read: Callable[[dict[str, Tensor]], T]


@dataclass(frozen=True)
class Shards(Generic[T]):
    """A finished folder.

    Attributes:
        kind: what it holds.
        folder: where it is.
        facts: how it was computed.
        shards: of each file its name, the number of samples (under the name of the kind), bytes and SHA-256, and what
            was noted of it.
    """

    kind: Kind[T]
    folder: Path
    facts: dict[str, Any]
    shards: tuple[dict[str, Any], ...]

    def load(self, k: int) -> T:
        """Read shard k.

        Raises:
            InputError: the file is missing, truncated, or not the one that was written; the message names it.
        """
        return self.kind.read(load(_content(self.folder / self.shards[k]["file"], self.shards[k])))

    def batches(self, batch_size: int, generator: torch.Generator) -> Stream:
        """Yield batches of the parts that are there, for ever: shards in random order, samples shuffled within each.

        Samples are independent draws, so shuffling within a shard loses nothing, and one shard is in memory at a time.
        What is left of a shard after whole batches is dropped, as at the end of every pass.
        """
        return _ShardStream(self, batch_size, generator)


class _ShardStream(Stream):
    """A stream whose permutations keep to one shard after the other."""

    def __init__(self, shards: Shards, batch_size: int, generator: torch.Generator) -> None:
        self.sizes = [shard[shards.kind.name] for shard in shards.shards]
        if not 1 <= batch_size <= min(self.sizes):
            expected = f"1 to {min(self.sizes)}, the size of the smallest shard"
            raise InputError("batch_size", expected=expected, got=batch_size)
        ends = torch.tensor(self.sizes).cumsum(0)
        self.starts = ends - torch.tensor(self.sizes)
        loaded: dict[int, tuple] = {}

        def rows(index: Tensor) -> tuple[Tensor, ...]:
            k = int(torch.searchsorted(ends, index[0], right=True))
            if k not in loaded:
                loaded.clear()  # before the next is read: two would not fit where one barely does
                loaded[k] = shards.load(k)
            return tuple(u[index - self.starts[k]] for u in loaded[k] if u is not None)

        super().__init__(rows, generator, size=int(ends[-1]), batch_size=batch_size)

    def _permute(self) -> None:
        batches: list[Tensor] = []
        for k in torch.randperm(len(self.sizes), generator=self.generator).tolist():
            order = self.starts[k] + torch.randperm(self.sizes[k], generator=self.generator)
            batches += order[: len(order) // self.batch_size * self.batch_size].split(self.batch_size)
        self._order = tuple(batches)


def write_shards(
    folder: str | Path,
    make: Callable[[int], Mapping[str, Tensor]],
    kind: Kind[T],
    *,
    count: int,
    facts: Mapping[str, Any],
    note: Callable[[T], Mapping[str, Any]] | None = None,
) -> Shards[T]:
    """Write ``make(0) .. make(count - 1)`` to ``folder``, one shard each, except those that are there already.

    A shard is written whole or not at all, and then enters the index: a run can be killed at any moment, and the same
    call continues it. Shard k must depend on k and the facts alone, so that a continued run makes the same samples;
    seed a generator with both.

    Args:
        folder: made when missing.
        make: from the number of a shard to its tensors by name, with a row for each sample.
        kind: what they are.
        count: shards wanted; a later call may ask for more.
        facts: what the samples depend on, as JSON: weights, solver, seed, size of a shard.
        note: what the index keeps of a shard beside size and hash, as JSON.

    Raises:
        InputError: the folder holds samples made with other facts, or files that are not of this set.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{kind.name}-{k:05d}.safetensors" for k in range(count)]
    made_with: dict[str, Any] = json.loads(json.dumps(dict(facts)))
    index: dict[str, Any] = {"facts": made_with, "count": count, "shards": []}
    if (folder / INDEX).is_file():
        index = _read_index(folder, kind)
        _check_facts(folder, kind, index["facts"], made_with)
        # A damaged shard is made again: only its own entry is lost.
        index |= {"count": count, "shards": [s for s in index["shards"] if _is_whole(folder, s)]}
    done = {shard["file"] for shard in index["shards"]}
    _check_foreign(folder, done.union(names))  # a kill may have left a shard that the index does not list yet
    _write_index(folder, index)
    with tqdm(total=count, initial=len(done), unit="shard") as bar:
        for k, name in enumerate(names):
            if name in done:
                continue
            tensors = {key: value.cpu().contiguous() for key, value in make(k).items()}
            content = save(tensors)
            write_at_once(folder / name, content)
            size = {kind.name: len(next(iter(tensors.values()))), "bytes": len(content)}
            noted = dict(note(kind.read(tensors))) if note is not None else {}
            entry = {"file": name} | size | {"sha256": hashlib.sha256(content).hexdigest()} | noted
            index["shards"] = sorted([*index["shards"], entry], key=lambda shard: shard["file"])
            _write_index(folder, index)
            bar.update()
    return open_shards(folder, kind)


def open_shards(folder: str | Path, kind: Kind[T]) -> Shards[T]:
    """Open a folder: every shard of the index is there at its full size, and no other one is.

    Hashes are compared when a shard is loaded, which reads it anyway.

    Raises:
        InputError: no index, an unfinished set, a missing, truncated or foreign shard; the message names the file.
    """
    folder = Path(folder)
    index = _read_index(folder, kind)
    shards = index["shards"]
    _check_foreign(folder, {shard["file"] for shard in shards})
    for shard in shards:
        _check_size(folder / shard["file"], shard)
    if len(shards) < index["count"]:
        got = f"{len(shards)} in {folder}"
        raise InputError("folder", expected=f"{index['count']} shards", got=got, cure=AGAIN)
    return Shards(kind, folder, index["facts"], tuple(shards))


def _read_index(folder: Path, kind: Kind) -> dict[str, Any]:
    path, name = folder / INDEX, kind.name
    if not path.is_file():
        raise InputError("folder", expected=f"a folder of {name}", got=f"no {path}", cure=f"generate the {name} first")
    try:
        index = json.loads(path.read_text())
        _ = index["facts"], index["count"], [(s["file"], s[name], s["bytes"], s["sha256"]) for s in index["shards"]]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        got = f"{path} ({type(error).__name__})"
        raise InputError("folder", expected=f"an index of {name}", got=got, cure="delete the folder") from error
    return index


def _write_index(folder: Path, index: dict[str, Any]) -> None:
    write_at_once(folder / INDEX, json.dumps(index, indent=1).encode())


def _check_facts(folder: Path, kind: Kind, old: dict[str, Any], new: dict[str, Any]) -> None:
    odd = [f"{k} = {old.get(k)!r} there, {new.get(k)!r} now" for k in sorted(old.keys() | new.keys())
           if old.get(k) != new.get(k)]  # fmt: skip
    if odd:
        raise InputError(
            "folder",
            expected=f"an empty folder, or one with {kind.name} of this generation",
            got=f"{folder / INDEX}: {'; '.join(odd)}",
            cure="choose another folder",
        )


def _check_foreign(folder: Path, known: set[str]) -> None:
    for path in sorted(folder.glob("*.safetensors")):
        if path.name not in known:
            got, cure = f"a foreign file, {path}", "move it away"
            raise InputError("folder", expected="shards of one generation", got=got, cure=cure)


def _check_size(path: Path, shard: dict[str, Any]) -> None:
    if not path.is_file():
        raise InputError("folder", expected="every shard of the index", got=f"{path} is missing", cure=AGAIN)
    if path.stat().st_size != shard["bytes"]:
        got = f"{path} has {path.stat().st_size} of {shard['bytes']} bytes"
        raise InputError("folder", expected="whole shards", got=got, cure=AGAIN)


def _content(path: Path, shard: dict[str, Any]) -> bytes:
    _check_size(path, shard)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != shard["sha256"]:
        got = f"{path} with another content"
        raise InputError("folder", expected="the shard that was written", got=got, cure=AGAIN)
    return content


def _is_whole(folder: Path, shard: dict[str, Any]) -> bool:
    try:
        _content(folder / shard["file"], shard)
    except InputError:
        return False
    return True
