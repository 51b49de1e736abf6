"""Small tables that the chapters show: one row a measurement, kept as soon as it is made.

A table is a text file of JSON lines. It can be stopped at any time and filled further by the same call, because a cell
that already has its row is skipped; so a table of many trainings needs neither one sitting nor one machine.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch

from flowlib.errors import InputError

RESULTS_FOLDER = Path(__file__).parents[2] / "data" / "results"  # committed with the book, not in the package
Row = dict[str, Any]


class Spread(NamedTuple):
    """Mean and sample standard deviation over seeds, as published tables print them; prints as ``0.303 +- 0.043 (5)``.

    Attributes:
        mean: over seeds.
        sd: of one seed, not of the mean; nan for one seed.
        n: number of seeds.
    """

    mean: float
    sd: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} +- {self.sd:.3f} ({self.n})" if self.n > 1 else f"{self.mean:.3f} ({self.n})"


def fill(
    path: str | Path, cells: Iterable[Mapping[str, Any]], measure: Callable[..., Mapping[str, float]]
) -> list[Row]:
    """Measure every cell that has no row yet, in order, and append each row at once.

    A row is the cell, what ``measure(**cell)`` returns, the seconds of it, and the versions that made it.

    Args:
        path: the table; made if missing, together with its folder.
        cells: what to measure, such as ``{"method": "OT-CFM", "data": "moons", "seed": 42}``.
        measure: from the fields of a cell to named numbers.

    Returns:
        All rows of the table, the old ones first.

    Raises:
        InputError: a line of the table that is no row; nothing is written then.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for cell in cells:
        if any(all(row.get(k) == v for k, v in cell.items()) for row in read(path)):
            continue
        start = time.perf_counter()
        row = dict(cell) | dict(measure(**cell))
        _append(path, row | {"seconds": round(time.perf_counter() - start, 1), "versions": _versions()})
    return read(path)


def rewrite(path: str | Path, rows: Iterable[Row], seeds: Sequence[int] = ()) -> list[Row]:
    """Write a table anew, for one that is gathered and not measured; return the rows that it has.

    Args:
        path: the table; made if missing, together with its folder.
        rows: what it will hold.
        seeds: rows of other seeds are left out; all are kept by default.
    """
    kept = [row for row in rows if not seeds or row["seed"] in seeds]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in kept))
    return kept


def read(path: str | Path) -> list[Row]:
    """Rows of a table, in the order they were measured; none if there is no file.

    A last line without an end is a row that a kill cut short: it does not count, and ``fill`` measures it again.

    Raises:
        InputError: any other line that is no JSON object.
    """
    path = Path(path)
    if not path.is_file():
        return []
    rows = []
    for number, line in enumerate(path.read_text().split("\n")[:-1], start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if not isinstance(row, dict):
            raise InputError("path", expected="a JSON object a line", got=f"line {number} of {path}: {line[:40]!r}")
        rows.append(row)
    return rows


def spread(rows: Sequence[Row], value: str, **where: Any) -> Spread | None:
    """Mean, standard deviation and number of ``value`` over the rows in which every field of ``where`` agrees.

    >>> spread([{"method": "FM", "W2": 0.3}, {"method": "FM", "W2": 0.5}, {"method": "RF", "W2": 9}], "W2", method="FM")
    Spread(mean=0.4, sd=0.14142135623730953, n=2)

    Returns:
        None when there is no such row.
    """
    found = [row[value] for row in rows if value in row and all(row.get(k) == v for k, v in where.items())]
    if not found:
        return None
    x = torch.tensor(found, dtype=torch.float64)
    return Spread(float(x.mean()), float(x.std()) if len(x) > 1 else float("nan"), len(x))


def _append(path: Path, row: Row) -> None:
    """Write one line with a single call, after cutting off what a kill left of the last one."""
    whole = path.read_bytes() if path.is_file() else b""
    torn = len(whole) - whole.rfind(b"\n") - 1
    with path.open("ab") as file:
        if torn:
            os.truncate(path, len(whole) - torn)
        file.write(json.dumps(row).encode() + b"\n")


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in ("torch", "scipy", "pot")}
