"""Commands about sets and tables: data, results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg, subcommand

from flowlib.errors import InputError


@dataclass(kw_only=True)
class Results:
    """Fill one of the small tables in data/results, row by row; rows that are there are not measured again.

    Attributes:
        name: of the table
        seeds: of the runs; by default those of the book
        out: the file; by default data/results/NAME.jsonl
    """

    name: Positional[str]
    seeds: Annotated[tuple[int, ...], arg(help_behavior_hint="")] = ()
    out: Annotated[Path | None, arg(help_behavior_hint="")] = None

    def run(self) -> None:
        """Measure what is missing."""
        from flowlib.recipes import RESULTS
        from flowlib.recipes.results import RESULTS_FOLDER

        if self.name not in RESULTS:
            raise InputError("name", expected=f"one of {', '.join(sorted(RESULTS))}", got=repr(self.name))
        path = self.out or RESULTS_FOLDER / f"{self.name}.jsonl"
        RESULTS[self.name](path, *([self.seeds] if self.seeds else []))
        print(path)


@dataclass(kw_only=True)
class DataList:
    """List the sets that do not come with the package."""

    def run(self) -> None:
        """Print one line a set."""
        from flowlib.datasets import catalogue

        for one in catalogue():
            place = one.folder()
            print(f"{one.name:15s} {one.megabytes:5d} MB  {one.what}; licence: {one.licence}")
            print(f"{'':25s} {place if place.is_dir() else 'not here: ' + one.cure}")


@dataclass(kw_only=True)
class DataGet:
    """Download a set into the folder that FLOWLIB_DATA names, or into data/cache.

    Attributes:
        name: of the set
    """

    name: Positional[str]

    def run(self) -> None:
        """Download, and say where it is."""
        from flowlib.datasets import fetch

        print(fetch(self.name))


@dataclass(kw_only=True)
class DataVerify:
    """Check a set against the hashes that the book knows.

    Attributes:
        name: of the set
    """

    name: Positional[str]

    def run(self) -> None:
        """Check, and say what was checked."""
        from flowlib.datasets import verify

        print(verify(self.name))


@dataclass(kw_only=True)
class Data:
    """List, fetch and check sets of pictures."""

    job: (
        Annotated[DataList, subcommand("list")]
        | Annotated[DataGet, subcommand("get")]
        | Annotated[DataVerify, subcommand("verify")]
    )

    def run(self) -> None:
        """Do the job."""
        self.job.run()
