"""Runs on disk: a folder a checkpoint, written atomically, checked by hash when it is read; nothing is unpickled.

``step_00001000/`` holds safetensors files of tensors and ``state.json``: the numbers, and the SHA-256 of every file and
of itself. It is written under another name, forced to the disk and renamed: a kill at any moment leaves the old
checkpoints whole, and at most a folder whose name begins with a dot, which the next save removes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from flowlib.atomic import check_writable, force_names, write_at_once
from flowlib.errors import InputError
from flowlib.training.checkpoint import check_fit
from flowlib.training.distributed import everyone, rank
from flowlib.training.plan import Plan
from flowlib.training.run import Run

FORMAT = 1
KEPT = 2
STATE = "state.json"


def checkpoints(folder: str | Path) -> list[Path]:
    """Return the checkpoints of a run, the newest first."""
    return sorted(Path(folder).glob("step_????????"), reverse=True)


def save_run(folder: str | Path, run: Run, facts: dict[str, Any] | None = None) -> Path:
    """Write a checkpoint of ``run`` into ``folder``, and keep the two newest ones.

    Args:
        folder: of this run alone; it is made when missing.
        run: after any of its steps. Under torchrun every process calls this; the first one writes.
        facts: more to keep in state.json, in JSON's types.

    Returns:
        The checkpoint.

    Raises:
        InputError: it could not be written; the checkpoints that were there before still are.
    """
    folder = Path(folder)
    groups, numbers = run.state()
    failure: InputError | None = None
    path = folder / f"step_{run.n:08d}"
    if rank() == 0:
        try:
            check_writable(folder)
            _write(path, groups, numbers | {"plan": _plain(run.plan)} | (facts or {}))
            _tidy(folder)
        except InputError as error:
            failure = error
        except OSError as error:
            size = sum(v.nbytes for group in groups.values() for v in group.values())
            failure = InputError(
                "path",
                expected=f"room for a checkpoint of {size / 1e6:.1f} MB",
                got=f"{path} ({error.strerror or error})",
                cure="free some space, and the same command goes on from the checkpoint before",
            )
    if any(everyone(failure is not None)):
        raise failure or InputError("path", expected="a checkpoint", got="none, because the first process failed")
    return path


def load_run(folder: str | Path, run: Run, facts: dict[str, Any] | None = None) -> Path | None:
    """Bring ``run`` to its newest checkpoint in ``folder`` and return that, or None if there is none.

    Nothing of the run is changed when anything is wrong.

    Args:
        folder: where ``save_run`` wrote.
        run: the same recipe and plan; only the number of steps and of processes may differ.
        facts: what ``save_run`` was given, which must agree.

    Raises:
        InputError: a damaged checkpoint, one of another run, or one of a newer flowlib.
    """
    found = checkpoints(folder)
    if not found:
        return None
    path, older = found[0], found[1:]
    cure = f"remove that folder to go on from {older[0].name}" if older else "remove that folder to start again"
    groups, numbers = _read(path, cure)
    mine = _plain(run.plan) | (facts or {})
    theirs = numbers["plan"] | {k: numbers.get(k) for k in facts or {}}
    odd = [k for k in sorted(mine.keys() | theirs.keys()) if k != "steps" and mine.get(k) != theirs.get(k)]
    if odd:
        raise InputError(
            odd[0],
            expected=f"{theirs.get(odd[0])}, as in the run that {path} belongs to",
            got=mine.get(odd[0]),
            cure="give the same numbers, another --out, or --fresh to start again",
        )
    check_fit(path, groups["model"], run.model.state_dict())
    run.load_state(groups, numbers)
    return path


def _write(path: Path, groups: dict[str, dict[str, Tensor]], facts: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        hashes = {}
        for name, group in groups.items():
            content = save(group)
            hashes[f"{name}.safetensors"] = hashlib.sha256(content).hexdigest()
            write_at_once(temporary / f"{name}.safetensors", content)
        facts = {"format": FORMAT, "files": hashes} | facts
        write_at_once(temporary / STATE, json.dumps(facts | {"sha256": _hash(facts)}, indent=1).encode())
        force_names(temporary)
        if path.exists():  # a run that was started again from before this step
            path.rename(path.with_name(f".{path.name}.old"))
        temporary.rename(path)
        force_names(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _tidy(folder: Path) -> None:
    """Remove all but the newest checkpoints: first the name, in one step, then the files."""
    for path in checkpoints(folder)[KEPT:]:
        path.rename(path.with_name(f".{path.name}.old"))
    for path in [*folder.glob(".step_*.old"), *folder.glob(".step_*.part")]:
        shutil.rmtree(path, ignore_errors=True)


def _read(path: Path, cure: str) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Read and check a checkpoint; its files are hashed in memory, so that what was checked is what is used."""

    def damaged(what: str) -> InputError:
        return InputError("path", expected="a whole checkpoint", got=f"{path} ({what})", cure=cure)

    try:
        facts = json.loads((path / STATE).read_bytes())
        version = facts["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(f"no {STATE} that can be read") from error
    if isinstance(version, int) and version > FORMAT:
        raise InputError(
            "path",
            expected=f"a checkpoint of format {FORMAT} or older",
            got=f"{path} of format {version}",
            cure="read it with the newer flowlib that wrote it",
        )
    if facts.pop("sha256", None) != _hash(facts):
        raise damaged(f"{STATE} differs from its hash")
    groups = {}
    for name, expected in facts["files"].items():
        try:
            content = (path / name).read_bytes()
        except OSError as error:
            raise damaged(f"{name}: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != expected:
            raise damaged(f"{name} differs from its hash")
        groups[name.removesuffix(".safetensors")] = load(content)
    return groups, facts


def _hash(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _plain(plan: Plan) -> dict[str, Any]:
    """Return the plan as JSON gives it back: tuples as lists."""
    return json.loads(json.dumps(asdict(plan)))
