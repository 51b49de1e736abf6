"""One student's kernel: a process of its own in a folder of its own, cells run one by one, each within its limits."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import site
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowlib.coursework.notebooks import load

SECONDS_TO_START = 60
SECONDS_TO_OBEY = 5  # after an interrupt; a kernel that has not stopped by then is killed
MOST_OUTPUT = 20_000_000  # characters that one cell may print and display; a picture is about 100 000
# what Python needs to start and flowlib to find its data; all else, tokens and passwords among it, stays outside
PASSED_ON = (
    *("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SYSTEMROOT", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV"),
    *("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "FLOWLIB_SCALE", "FLOWLIB_DATA"),
)


@dataclass(frozen=True)
class Reply:
    """What became of a cell: whether it ran to its end, what stopped it, whether the kernel is still of use."""

    finished: bool
    stopped: str = ""  # in words, for the table of grades; empty for an ordinary exception
    alive: bool = True
    shown: tuple[str, ...] = ()  # the plain texts that it displayed


class Kernel:
    """A context: the kernel process starts in ``folder / "work"`` and is killed with all its children at the end."""

    def __init__(self, folder: Path) -> None:
        quiet = logging.getLogger("flowlib.coursework.kernel")
        quiet.setLevel(logging.CRITICAL)  # a hanging or dying kernel is a line in the table, no alarm
        self._client = load("nbclient").NotebookClient(
            load("nbformat").v4.new_notebook(),
            log=quiet,
            kernel_name="python3",
            allow_errors=True,
            interrupt_on_timeout=True,
            error_on_timeout={"ename": "OutOfTime", "evalue": "", "traceback": []},
            iopub_timeout=SECONDS_TO_OBEY,
            raise_on_iopub_timeout=True,
            record_timing=False,
            store_widget_state=False,
            startup_timeout=SECONDS_TO_START,
            shutdown_kernel="immediate",
            on_cell_executed=self._executed,
        )
        self._receive = self._client.process_message
        self._client.process_message = self._received
        self._reply: dict[str, Any] = {}
        self._printed = 0
        home, work = folder / "home", folder / "work"
        home.mkdir(exist_ok=True)
        work.mkdir(exist_ok=True)
        nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._session = self._client.setup_kernel(cwd=str(work), env=_environment(home), **nowhere)
        self._group: int | None = None

    def __enter__(self) -> Kernel:
        """Start the process."""
        self._session.__enter__()
        self._group = getattr(self._client.km.provisioner, "pgid", None)
        return self

    def __exit__(self, *error: object) -> None:
        """Kill the process, and what it started even where it is dead already."""
        self._session.__exit__(None, None, None)
        if self._group and self._group != os.getpgrp():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, signal.SIGKILL)

    def run(self, source: str, seconds: int, *, history: bool = True) -> Reply:
        """Run one cell for at most ``seconds``; without ``history`` the kernel does not keep its text."""
        exceptions = load("nbclient.exceptions")
        self._reply, self._printed, self._client.timeout = {}, 0, seconds
        cell = load("nbformat").v4.new_code_cell(source)
        self._client.nb.cells = [cell]
        try:
            self._client.execute_cell(cell, 0, store_history=history)
        except exceptions.DeadKernelError:
            return Reply(False, "ended the process", alive=False)
        except exceptions.CellTimeoutError:
            return Reply(False, self._overrun(seconds), alive=False)
        return self._read_reply(cell, seconds)

    def _read_reply(self, cell: Any, seconds: int) -> Reply:
        finished, error = self._reply.get("status") == "ok", self._reply.get("ename")
        shown = tuple(out.data.get("text/plain", "") for out in cell.outputs if out.output_type == "display_data")
        if any(payload.get("source") == "ask_exit" for payload in self._reply.get("payload", [])):
            return Reply(finished, "called exit()", alive=False, shown=shown)  # it ends a moment after its reply
        if error == "OutOfTime" or self._printed > MOST_OUTPUT:
            return Reply(finished, self._overrun(seconds), shown=shown)
        return Reply(finished, "called sys.exit()" if error == "SystemExit" else "", shown=shown)

    def _overrun(self, seconds: int) -> str:
        return "printed without end" if self._printed > MOST_OUTPUT else f"ran longer than {seconds} s"

    def _executed(self, cell: Any, cell_index: int, execute_reply: dict[str, Any]) -> None:
        self._reply = execute_reply["content"]

    def _received(self, message: dict[str, Any], cell: Any, cell_index: int) -> Any:
        """Keep a cell's output only up to its limit and interrupt the cell there: it would fill the grader's memory."""
        if message["msg_type"] not in ("stream", "display_data", "execute_result", "update_display_data"):
            return self._receive(message, cell, cell_index)
        content, before = message["content"], self._printed
        self._printed += sum(len(str(part)) for part in (content.get("text", ""), *content.get("data", {}).values()))
        if self._printed <= MOST_OUTPUT:
            return self._receive(message, cell, cell_index)
        if before <= MOST_OUTPUT:
            self._interrupt = asyncio.ensure_future(self._client.km.interrupt_kernel())
        return None


def _environment(home: Path) -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    own = {"HOME": str(home), "USERPROFILE": str(home), "TMPDIR": str(home), "TEMP": str(home)}
    # a home of its own hides packages that were installed with pip --user: say where they are
    return passed_on | own | {"PYTHONUSERBASE": site.getuserbase() or str(home)}
