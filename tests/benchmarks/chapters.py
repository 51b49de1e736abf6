"""Wall time of every chapter, run from top to bottom at laptop scale in a kernel of its own, and of the import.

    python tests/benchmarks/chapters.py [04 06 ...]

At most 90 seconds a chapter and 20 minutes together, on two quiet cores; ``import flowlib`` at most 1.3 times torch.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]


def chapter(path: Path) -> float:
    """Seconds from starting the kernel to the last cell; the notebook on disk stays as it is."""
    notebook = nbformat.read(path, as_version=4)
    start = time.perf_counter()
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    return time.perf_counter() - start


def imported(name: str) -> float:
    """Seconds of a fresh process that imports one package, the median of five after one."""
    times = []
    for _ in range(6):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import {name}"], check=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> None:
    torch, flowlib = imported("torch"), imported("flowlib")
    print(f"import flowlib {flowlib:.2f} s, import torch {torch:.2f} s: {flowlib / torch:.2f} times (at most 1.3)")
    total = 0.0
    for folder in sorted((ROOT / "chapters").glob("[0-9][0-9]_*")):
        if len(sys.argv) == 1 or folder.name[:2] in sys.argv[1:]:
            total += (taken := chapter(folder / f"{folder.name}.ipynb"))
            print(f"{folder.name:28s} {taken:6.1f} s{'' if taken <= 90 else '   more than 90'}", flush=True)
    print(f"{'together':28s} {total / 60:6.1f} min (at most 20)")


if __name__ == "__main__":
    main()
