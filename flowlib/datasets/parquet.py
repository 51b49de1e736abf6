"""Pictures from parquet files: decoded once, kept as bytes beside a hash, read back in a moment."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from flowlib.atomic import write_at_once
from flowlib.datasets.sources import Source, decoded_folders
from flowlib.errors import InputError


class Decoded(NamedTuple):
    """One split of a set, as bytes.

    Attributes:
        x: grey levels, uint8 (N, C, H, W).
        c: classes, int64 (N,).
        exact: whether the pixels are the published ones; a copy may mark a picture that went through a lossy format.
    """

    x: Tensor
    c: Tensor
    exact: Tensor


def load(source: Source, split: str) -> Decoded:
    """Return one split of a set: from the decoded copy of these very files where there is one, else decoded and kept.

    Raises:
        InputError: a missing, truncated or damaged file, too few pictures, a wrong ``FLOWLIB_DATA``.
    """
    paths = source.parquet(split)
    key = _key(paths)
    for folder in decoded_folders():
        found = _read_decoded(folder / f"{source.name}-{split}.safetensors", key)
        if found is not None:
            return found
    decoded = decode(source, split)
    _keep(decoded, f"{source.name}-{split}.safetensors", key)
    return decoded


def decode(source: Source, split: str) -> Decoded:
    """Read every picture of a split from its parquet files, without the decoded copy."""
    n = source.rows[split]
    x = torch.zeros(n, *source.shape, dtype=torch.uint8)
    c, exact = torch.zeros(n, dtype=torch.int64), torch.ones(n, dtype=torch.bool)
    seen = 0
    for seen, (picture, label) in enumerate(rows(source, split, source.columns), start=1):
        if seen <= n:
            x[seen - 1], c[seen - 1] = pixels(source, picture), label
            exact[seen - 1] = "_lossy" not in (picture["path"] or "")
    if seen != n:
        where = source.parquet(split)
        raise InputError(
            source.name,
            expected=f"{n} pictures in the split {split}",
            got=f"{seen} in {len(where)} files of {where[0].parent}",
            cure=source.cure,
        )
    return Decoded(x, c, exact)


def rows(source: Source, split: str, columns: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield the named columns of a split, row by row, with a bar of progress.

    Raises:
        InputError: a file that is truncated, damaged, or has other columns.
    """
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    with tqdm(total=source.rows[split], unit="picture", desc=f"{source.name} {split}", leave=False) as bar:
        for path in source.parquet(split):
            try:
                file = ParquetFile(path)
                missing = set(columns) - set(file.schema_arrow.names)
                if missing:
                    raise InputError(
                        source.name,
                        expected=f"the columns {', '.join(columns)}",
                        got=f"{path} without {', '.join(sorted(missing))}",
                        cure=source.cure,
                    )
                for group in file.iter_batches(1000, columns=list(columns)):
                    yield from zip(*(group.column(name).to_pylist() for name in columns), strict=True)
                    bar.update(len(group))
            except (ArrowException, OSError) as error:
                raise InputError(
                    source.name,
                    expected="whole parquet files",
                    got=f"{path} ({str(error).splitlines()[0][:100]})",
                    cure=f"delete it; {source.cure}",
                ) from error


def pixels(source: Source, picture: dict[str, Any]) -> Tensor:
    """Decode one picture to uint8 (C, H, W).

    Raises:
        InputError: bytes that are no picture, or one of another size.
    """
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    channels, height, width = source.shape
    try:
        image = Image.open(io.BytesIO(picture["bytes"])).convert("L" if channels == 1 else "RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, TypeError) as error:  # what PIL says of damaged files
        raise InputError(
            source.name,
            expected="pictures that can be decoded",
            got=f"{picture['path']} ({error})",
            cure=f"flowlib data verify {source.name}; {source.cure}",
        ) from error
    if image.size != (width, height):
        raise InputError(
            source.name,
            expected=f"pictures of {width} x {height} pixels",
            got=f"{picture['path']} with {image.size[0]} x {image.size[1]}",
            cure=source.cure,
        )
    return torch.from_numpy(np.array(image)).reshape(height, width, channels).permute(2, 0, 1)


def content_hash(decoded: Decoded) -> str:
    """SHA-256 of the classes and pixels of a split, whatever the order of its rows."""
    table = torch.cat([decoded.c[:, None].to(torch.uint8), decoded.x.flatten(1)], 1).numpy()
    return hashlib.sha256(b"".join(sorted(row.tobytes() for row in table))).hexdigest()


def _key(paths: list[Path]) -> str:
    """What tells these files from others and from their own earlier selves, without reading them."""
    return json.dumps([[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in paths])


def _sha256(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(tensors[name].numpy().data)
    return digest.hexdigest()


def _read_decoded(path: Path, key: str) -> Decoded | None:
    """Read a decoded copy; None unless it is there, was made from these files, and is undamaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "pt") as file:
            facts = file.metadata() or {}
            if facts.get("key") != key:
                return None
            tensors = {name: file.get_tensor(name) for name in Decoded._fields}
    except (OSError, SafetensorError):
        return None
    return Decoded(**tensors) if _sha256(tensors) == facts.get("sha256") else None


def _keep(decoded: Decoded, name: str, key: str) -> None:
    """Write a decoded copy where it can be written; where it cannot, say so and go on without."""
    from safetensors.torch import save

    tensors = decoded._asdict()
    facts = {"key": key, "sha256": _sha256(tensors)}
    reasons = []
    for folder in decoded_folders():
        try:
            write_at_once(folder / name, save(tensors, facts))
            return
        except OSError as error:
            reasons.append(f"{folder}: {error.strerror}")
    warnings.warn(f"the decoded set is not kept, and will be decoded again ({'; '.join(reasons)})", stacklevel=2)
