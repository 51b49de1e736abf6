"""The command line: ``flowlib show | train | sample | evaluate | results | data | chapters``.

A command is a dataclass: its fields are the options, its docstring is the help, its method ``run`` does the work.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import tyro
from tyro.conf import DisallowNone, FlagCreatePairsOff, OmitArgPrefixes, OmitSubcommandPrefixes, subcommand

from flowlib.cli.book import Chapters
from flowlib.cli.runs import Evaluate, Sample, Train
from flowlib.cli.sets import Data, Results
from flowlib.cli.show import Show
from flowlib.errors import InputError
from flowlib.training import NonFiniteLoss, Stopped

Command = (
    Annotated[Show, subcommand("show")]
    | Annotated[Train, subcommand("train")]
    | Annotated[Sample, subcommand("sample")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Results, subcommand("results")]
    | Annotated[Data, subcommand("data")]
    | Annotated[Chapters, subcommand("chapters")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 2 (with one line on stderr) for unusable input, 1 for a failed training."""
    command: Any = tyro.cli(
        Command,
        prog="flowlib",
        description="Train, sample and judge the models of the book.",
        args=arguments,
        config=(DisallowNone, FlagCreatePairsOff, OmitArgPrefixes, OmitSubcommandPrefixes),
    )
    try:
        command.run()
    except (InputError, NonFiniteLoss) as error:
        print(f"flowlib: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        print(f"flowlib: {error.filename or 'disk'}: expected room to write, got {error.strerror}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"flowlib: {error if isinstance(error, Stopped) else 'stopped'}", file=sys.stderr)
        return 128 + error.signal if isinstance(error, Stopped) else 130
    return 0
