"""A run that survives: the loop, with checkpoints at intervals, on a signal and at the end."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from flowlib.atomic import check_writable
from flowlib.errors import InputError
from flowlib.training.distributed import anywhere, everyone, rank
from flowlib.training.loop import NonFiniteLoss, Step
from flowlib.training.run import Run
from flowlib.training.snapshot import checkpoints, load_run, save_run


class Stopped(KeyboardInterrupt):
    """A signal ended the run after a whole step, and after a checkpoint of it.

    Attributes:
        signal: its number, such as 15 for SIGTERM.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


def kept(
    run: Run, folder: str | Path, *, every: int = 1000, fresh: bool = False, facts: dict[str, Any] | None = None
) -> Iterator[Step]:
    """Yield the steps of ``run``, from its newest checkpoint in ``folder`` on, and write new ones there.

    The steps that follow are those of a run that was never stopped, bit for bit on a CPU. A checkpoint is written every
    ``every`` steps, after the last one, and after the step in which SIGTERM or Ctrl-C came; a second Ctrl-C stops at
    once.

    Args:
        run: not started yet.
        folder: of this run alone.
        every: steps between checkpoints.
        fresh: whether to forget the checkpoints that are there.
        facts: what a checkpoint must agree in, such as the name of the recipe.

    Raises:
        Stopped: after a signal.
        NonFiniteLoss: with the step, the batch and the last good checkpoint.
        InputError: a folder that cannot be written to, a checkpoint that is damaged or of another run, a full disk.
    """
    folder = Path(folder)
    if every < 1:
        raise InputError("every", expected="at least 1 step", got=every)
    if rank() == 0:
        check_writable(folder)
        for path in checkpoints(folder) if fresh else []:
            shutil.rmtree(path)
    everyone(None)  # nobody reads before the first process has cleared
    load_run(folder, run, facts)
    if run.n > run.plan.steps:
        raise InputError("steps", expected=f"at least {run.n}, which the run has done", got=run.plan.steps)
    with _signals() as caught:
        try:
            for step in run.steps:
                yield step
                stop = anywhere(bool(caught))
                if stop or step.n % every == 0 or step.n == run.plan.steps:
                    save_run(folder, run, facts)
                    stop = stop or anywhere(bool(caught))  # a signal that came while saving counts, too
                if stop:
                    number = caught[0] if caught else signal.SIGTERM
                    again = "the same command without --fresh" if fresh else "the same command"
                    raise Stopped(f"stopped after step {step.n}; {again} goes on from there", number)
        except NonFiniteLoss as error:
            last = next(iter(checkpoints(folder)), "none")
            where = f"batch {run.n + 1} of seed {run.plan.seed}; last good checkpoint: {last}"
            raise NonFiniteLoss(f"{error}; {where}") from error


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT instead of dying of them in the middle of a step."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def note(number: int, frame: FrameType | None) -> None:
        if caught and number == signal.SIGINT:
            raise KeyboardInterrupt
        caught.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
