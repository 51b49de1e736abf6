"""What a run says of itself: a line of JSON a step, and TensorBoard where it is installed."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from flowlib.training.distributed import rank
from flowlib.training.loop import Step


class Journal:
    """The log of a run, ``log.jsonl``: one line a step, with every digit of the loss.

    A run that goes on from step ``done`` forgets the lines after it, which it is about to write again.

    Args:
        folder: of the run; it exists.
        done: steps whose lines are kept.
        batch_size: samples a step, for the rate.
    """

    def __init__(self, folder: str | Path, done: int, batch_size: int) -> None:
        self._path, self._batch_size = Path(folder) / "log.jsonl", batch_size
        self._silent = rank() > 0
        self._last = 0.0
        if self._silent:
            return
        kept = [row for row in read_log(folder) if row["n"] <= done]
        part = self._path.with_suffix(".part")
        part.write_text("".join(json.dumps(row) + "\n" for row in kept))
        part.replace(self._path)
        self._file = self._path.open("a", buffering=1)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._board = None
        else:
            self._board = SummaryWriter(str(folder), purge_step=done + 1)

    def write(self, step: Step) -> None:
        """Add one step."""
        if self._silent:
            return
        rate = self._batch_size / max(step.seconds - self._last, 1e-9)
        self._last = step.seconds
        row = {"n": step.n, "loss": step.loss, "grad_norm": step.grad_norm, "lr": step.lr, "samples_per_second": rate}
        self._file.write(json.dumps(row | {"samples_per_second": round(rate, 1)}) + "\n")
        if self._board is not None:
            for name in ("loss", "grad_norm", "lr", "samples_per_second"):
                self._board.add_scalar(name, row[name], step.n)

    def close(self) -> None:
        """Close the files."""
        if not self._silent:
            self._file.close()
            if self._board is not None:
                self._board.close()


def read_log(folder: str | Path) -> list[dict[str, Any]]:
    """Return the lines of a run's log, in order; a line that a kill or a power cut spoilt does not count."""
    path = Path(folder) / "log.jsonl"
    if not path.is_file():
        return []
    lines = []
    for line in path.read_text(errors="replace").split("\n")[:-1]:
        with suppress(json.JSONDecodeError):
            lines.append(json.loads(line))
    return lines
