"""Getting a set and checking it: the two jobs of ``flowlib data`` that touch the network or every byte."""

from __future__ import annotations

import hashlib
from pathlib import Path

from flowlib.datasets.parquet import Decoded, content_hash, decode, pixels, rows
from flowlib.datasets.sources import CACHE, Source, root, source
from flowlib.errors import InputError


def fetch(name: str) -> Path:
    """Download a set from the Hugging Face hub, at the revision that was looked at, and check it.

    Files that are there and right are left alone; others of the same name are replaced once the new ones are there.

    Args:
        name: of a set in ``catalogue()``.

    Returns:
        Its folder, below the one that ``FLOWLIB_DATA`` names, or below ``data/cache``.

    Raises:
        InputError: no set of that name, a set that is not on the hub, no network, a folder that cannot be written to,
            files that do not hold what they should.
    """
    from huggingface_hub import hf_hub_download

    one = source(name)
    if not one.repo:
        raise InputError("name", expected="a set that is on the hub", got=repr(name), cure=one.cure)
    if root() == CACHE:
        CACHE.mkdir(parents=True, exist_ok=True)
    folder = one.folder()
    for file, sha256 in one.files.items():
        if sha256 and (folder / file).is_file() and _sha256(folder / file) == sha256:
            continue
        here, before = folder / file, folder / f"{file}.before"
        try:
            if here.is_file():
                here.replace(before)  # the hub would take a damaged file for the right one
            hf_hub_download(one.repo, file, repo_type="dataset", revision=one.revision, local_dir=folder)
        except BaseException as error:  # a network fails in many ways, and a hand may stop it: what was here comes back
            if before.is_file():
                before.replace(here)
            if not isinstance(error, Exception):
                raise
            raise InputError(
                name,
                expected=f"to download {one.repo} at {one.revision[:7]} into {folder}",
                got=f"{type(error).__name__}: {str(error).splitlines()[0][:150] if str(error) else ''}",
                cure="look at the network and the folder; or copy the parquet files there from a machine that has them",
            ) from error
        before.unlink(missing_ok=True)
        if sha256 and (got := _sha256(folder / file)) != sha256:
            raise InputError(name, expected=f"{file} with SHA-256 {sha256}", got=got, cure="download it again")
    verify(name)
    return folder


def verify(name: str) -> str:
    """Decode every picture of a set from its files, and compare what they hold with the hashes that we know.

    Returns:
        One line a split: how many pictures, and whether they are known to be the published ones.

    Raises:
        InputError: a missing, truncated or damaged file, too few pictures, no set of that name.
    """
    one = source(name)
    return "\n".join(f"{name} {split}: {_verified(one, split)}" for split in one.rows)


def _verified(one: Source, split: str) -> str:
    paths = one.parquet(split)
    known = all(_sha256(path) in one.files.values() for path in paths)
    if one.columns[1] == "label":
        decoded = decode(one, split)
        known = known or content_hash(decoded) == one.content.get(split)
        count = f"{len(decoded.x)} pictures in {len(paths)} files, {_classes(decoded)}"
        lossy = int((~decoded.exact).sum())
    else:
        count, lossy = f"{_decodable(one, split)} pictures in {len(paths)} files", 0
    told = "as published" if known else "whole, but not a copy whose hash we know"
    return f"{count}, {told}" + (f"; {lossy} are marked as lossy" if lossy else "")


def _classes(decoded: Decoded) -> str:
    counts = decoded.c.bincount()
    return f"{len(counts)} classes of {int(counts.min())} to {int(counts.max())}"


def _decodable(one: Source, split: str) -> int:
    n = sum(pixels(one, picture) is not None for (picture,) in rows(one, split, one.columns[:1]))
    if n != one.rows[split]:
        raise InputError(one.name, expected=f"{one.rows[split]} pictures", got=n, cure=one.cure)
    return n


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
