"""The table of grades: one row a student, as CSV for a spreadsheet and as Markdown for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from flowlib.coursework.exercises import Exercise


@dataclass(frozen=True)
class Row:
    """One student's line in the table of grades."""

    student: str
    points: dict[str, int]  # what the checks gave, for every exercise that has a check
    of: int
    to_read: dict[str, int]  # the points that wait for a reader, for every exercise answered in words
    remarks: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """The points that the checks gave; what waits for a reader is not among them."""
        return sum(self.points.values())


def as_csv(rows: Sequence[Row], exercises: Sequence[Exercise]) -> str:
    """Return ``grades.csv``: student, one column an exercise, total, of, to_read, remarks."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(_header(exercises))
    writer.writerows(_line(row, exercises) for row in rows)
    return written.getvalue()


def as_markdown(rows: Sequence[Row], exercises: Sequence[Exercise]) -> str:
    """Return ``grades.md``: the same columns, and what they mean."""
    lines = [_header(exercises), ["---"] * len(_header(exercises)), *(_line(row, exercises) for row in rows)]
    table = "\n".join("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in lines)
    most = sum(exercise.points_to_read for exercise in exercises)
    note = f"\n\nAnswers in words wait for a reader, who gives up to {most} points more.\n" if most else "\n"
    return table + note


def _header(exercises: Sequence[Exercise]) -> list[str]:
    return ["student", *(exercise.number for exercise in exercises), "total", "of", "to_read", "remarks"]


def _line(row: Row, exercises: Sequence[Exercise]) -> list[str]:
    parts = [_part(row, exercise) for exercise in exercises]
    to_read = ", ".join(f"{number} ({points})" for number, points in row.to_read.items())
    return [row.student, *parts, str(row.total), str(row.of), to_read, "; ".join(row.remarks)]


def _part(row: Row, exercise: Exercise) -> str:
    if exercise.points:
        return str(row.points[exercise.number])
    return "to read" if exercise.number in row.to_read else "-"


def _plain(cell: str) -> str:
    return " ".join(cell.replace("|", "\\|").split())
