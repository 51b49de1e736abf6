"""The grader's side inside the student's kernel. The text of this file is sent there; it is not imported.

Nothing that the student's cells left behind is used but the values that a check is called with: the official checks,
and ``flowlib.coursework.checks`` beneath them, are built from text that the grader read before any submission ran.
"""

from __future__ import annotations

import sys
import types
from typing import Any


def limit_memory(size: int) -> None:
    """Let the process hold at most ``size`` bytes, where the platform knows such a limit."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (size, size))
    except (ImportError, ValueError, OSError):
        pass


def judge(student: dict[str, Any], call: str, modules: dict[str, tuple[str, str]], nonce: str) -> None:
    """Run ``call`` with the official check on the student's values; publish ``nonce`` where it ran to its end.

    ``modules`` gives name, path and text of the modules to build, the official checks last.
    """
    before = {name: sys.modules.get(name) for name in modules}
    official: dict[str, Any] = {}
    try:
        for name, (path, source) in modules.items():
            sys.modules[name] = module = types.ModuleType(name)
            module.__file__ = path
            official = vars(module)
            exec(compile(source, path, "exec"), official)
        checks = {name: value for name, value in official.items() if name.startswith("check_")}
        exec(compile(call, "<check>", "exec"), {**student, **checks})
    finally:
        for name, was in before.items():
            sys.modules.pop(name, None)
            if was is not None:
                sys.modules[name] = was
    # published, not printed: a student may have sent sys.stdout elsewhere
    from IPython.display import publish_display_data

    publish_display_data({"text/plain": nonce})
