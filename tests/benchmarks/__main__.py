"""All pairs, one table: ``make bench``, or ``python tests/benchmarks matching flows`` for some of them.

The rows go to ``data/results/benchmarks.json``, which README.md shows; those of suites that did not run, or found
nothing to measure, stay.
"""

from __future__ import annotations

import importlib
import json
import platform
import re
import sys
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
import tyro
from compare import measure

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests"))  # for what the tests of the same models share
TABLE = ROOT / "data" / "results" / "benchmarks.json"
BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"
SUITES = (
    "matching",
    "pairings",
    "sampling",
    "likelihood",
    "flows",
    "networks",
    "pictures",
    "pipeline",
    "distances",
)
PEERS = (
    "torchcfm",
    "flow-matching",
    "torchdiffeq",
    "torchdyn",
    "zuko",
    "nflows",
    "normflows",
    "diffusers",
    "transformers",
    "pot",
    "datasets",
)


def main(suites: tyro.conf.Positional[tuple[str, ...]] = SUITES, /, rounds: int = 9, write: bool = True) -> None:
    """Measure flowlib against its peers on one thread.

    Args:
        suites: which ones; all if none is named.
        rounds: of each pair, in turn.
        write: keep the rows in the table, and show them in README.md.
    """
    torch.set_num_threads(1)
    table = json.loads(TABLE.read_text()) if TABLE.is_file() else {}
    for suite in suites:
        rows = []
        for pair in importlib.import_module(suite).pairs():
            rows.append(measure(pair, rounds))
            print(line(rows[-1]), flush=True)
        if not rows:  # what it needs is not here: the rows of a machine that has it stay
            continue
        table[suite] = {"machine": machine(), "date": str(date.today()), "versions": versions(), "rows": rows}
        if write:
            TABLE.write_text(json.dumps(table, indent=1) + "\n")
    if write:
        readme = ROOT / "README.md"
        readme.write_text(with_table(readme.read_text(), table))


def line(row: dict) -> str:
    """One row for the terminal."""
    mark = " " if row["ratio"] <= row["aim"] else "!"
    ours, theirs = row["milliseconds"]["flowlib"], row["milliseconds"][row["peer"]]
    return (
        f"{mark} {row['pair']:52s} {row['ratio']:5.2f} ({row['low']:.2f} to {row['high']:.2f})  aim {row['aim']:.2f}"
        f"  {ours:9.3f} ms, {row['peer']} {theirs:9.3f} ms"
    )


def machine() -> str:
    """The processor, where the system tells it, and how many threads worked."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", info.read_text()) if info.is_file() else []
    return f"{names[0] if names else platform.processor() or platform.machine()}, 1 thread"


def versions() -> dict[str, str]:
    """Of Python, torch and those peers that are installed."""
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for name in PEERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def with_table(text: str, table: dict) -> str:
    """README.md with the table between its marks."""
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n{markdown(table)}\n{END}{tail}"


def markdown(table: dict) -> str:
    """The table as it stands in README.md; a ratio above its aim is printed bold."""
    lines = ["| what | ours / fastest peer | aim | ours | the peer |", "|---|---|---|---|---|"]
    for suite in table.values():
        for row in suite["rows"]:
            ratio = f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
            ratio = ratio if row["ratio"] <= row["aim"] else f"**{ratio}**"
            ours, theirs = row["milliseconds"]["flowlib"], row["milliseconds"][row["peer"]]
            lines.append(
                f"| {row['pair']} | {ratio} | {row['aim']:.2f} | {ours:.3g} ms | {row['peer']} {theirs:.3g} ms |"
            )
    where = sorted({f"{suite['machine']}, {suite['date']}" for suite in table.values()})
    return "\n".join([*lines, "", f"Medians with quartiles, in time of the processor ({'; '.join(where)})."])


if __name__ == "__main__":
    tyro.cli(main)
