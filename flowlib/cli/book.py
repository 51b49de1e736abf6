"""Commands about the book: what is generated in it, and grading."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, subcommand

from flowlib.errors import InputError


@dataclass(kw_only=True)
class Notebooks:
    """Run every notebook and store its outputs."""


@dataclass(kw_only=True)
class Exercises:
    """Make exercises.ipynb from solutions.ipynb."""


@dataclass(kw_only=True)
class Readme:
    """Make the chapter tables."""


@dataclass(kw_only=True)
class Grade:
    """Grade a folder of submissions.

    Attributes:
        submissions: one notebook, or one folder, a student
        chapter: number of the chapter, such as 04
        out: folder for grades.csv and grades.md
    """

    submissions: Positional[Path]
    chapter: str
    out: Path = Path("grades")


@dataclass(kw_only=True)
class Chapters:
    """Make what is generated in chapters/, or grade submissions.

    Attributes:
        root: folder of the book
    """

    job: (
        Annotated[Notebooks, subcommand("notebooks")]
        | Annotated[Exercises, subcommand("exercises")]
        | Annotated[Readme, subcommand("readme")]
        | Annotated[Grade, subcommand("grade")]
    )
    root: Path = Path()

    def run(self) -> None:
        """Do the job."""
        from flowlib.coursework import book, exercises, grading

        folders = {chapter.number: chapter.notebook.parent for chapter in book.chapters(self.root)}
        if isinstance(self.job, Grade):
            if self.job.chapter not in folders:
                raise InputError("--chapter", expected=f"one of {', '.join(folders)}", got=self.job.chapter)
            grading.grade(folders[self.job.chapter], self.job.submissions, out=self.job.out)
            return
        if isinstance(self.job, Notebooks):
            pairs = [(folder / f"{folder.name}.ipynb", folder / "solutions.ipynb") for folder in folders.values()]
            written = [path for pair in pairs for path in pair if book.execute(path)]
        elif isinstance(self.job, Exercises):
            written = [folder / "exercises.ipynb" for folder in folders.values() if exercises.write(folder)]
        else:
            written = book.update_readmes(self.root)
        print("\n".join(map(str, written)) or "nothing has changed")
