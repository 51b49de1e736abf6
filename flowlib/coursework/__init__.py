"""The book as coursework: exercises made from solutions, checks that explain themselves, grading, generated tables.

A side wing that reads floor 0 only; chapters and the command line import it.

- ``exercises``  reads a chapter's ``solutions.ipynb`` and makes its ``exercises.ipynb``
- ``checks``     what a chapter's ``checks.py`` is written with
- ``trial``      runs one answer against its check, without a kernel: how wrong answers are proven to fail
- ``grading``    runs a folder of submissions and writes the table of grades; ``kernel`` and ``judge`` are its two sides
- ``book``       the generated tables of chapters, and notebooks run with their outputs stored
- ``notebooks``  notebooks as files: read, one canonical text, replaced in one step
"""
