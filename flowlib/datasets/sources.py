"""The sets that do not come with the package: what they are, where they lie, and what to do when they are missing.

A set is a folder of parquet files, one row a picture. It is looked for in the folder that ``FLOWLIB_DATA`` names, or in
``data/cache`` of the book; ``flowlib data get NAME`` puts it there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from flowlib.errors import InputError

VARIABLE = "FLOWLIB_DATA"
CACHE = Path(__file__).parents[2] / "data" / "cache"


@dataclass(frozen=True)
class Source:
    """A set of pictures in parquet files.

    Attributes:
        name: of its folder and of the function that loads it.
        what: one line about it.
        licence: of the pictures.
        megabytes: to download.
        shape: (C, H, W) of a picture.
        rows: number of pictures in each split.
        columns: of the picture, as encoded bytes, and of the class or the caption.
        repo: on the Hugging Face hub; empty for a set that is not there.
        revision: the commit of it that was looked at.
        files: paths in that commit and their SHA-256, empty where we know none.
        content: SHA-256 of the pictures and classes of a split, whatever the order of its rows (``content_hash``).
    """

    name: str
    what: str
    licence: str
    megabytes: int
    shape: tuple[int, int, int]
    rows: dict[str, int]
    columns: tuple[str, str]
    repo: str = ""
    revision: str = ""
    files: dict[str, str] = field(default_factory=dict)
    content: dict[str, str] = field(default_factory=dict)

    @property
    def cure(self) -> str:
        """What to do when the set is missing or damaged."""
        if self.repo:
            get = f"download its {self.megabytes} MB with flowlib data get {self.name}"
            return f"{get}, or set {VARIABLE} to a folder that has it"
        return f"set {VARIABLE} to the folder above {self.name}/; data/README.md says what the files hold"

    def folder(self) -> Path:
        """Folder of the set, whether it exists or not; ``fashion-mnist`` will do for ``fashion_mnist``.

        Raises:
            InputError: ``FLOWLIB_DATA`` names no folder.
        """
        spelt = root() / self.name.replace("_", "-")
        return spelt if spelt.is_dir() else root() / self.name

    def parquet(self, split: str) -> list[Path]:
        """Find the files of a split, in order, at any depth of the folder.

        Raises:
            InputError: a split of another name; no files; ``FLOWLIB_DATA`` names no folder.
        """
        if split not in self.rows:
            raise InputError("split", expected=" or ".join(f'"{name}"' for name in self.rows), got=repr(split))
        folder = self.folder()
        found = sorted(folder.rglob(f"{split}*.parquet"))
        if not found:
            raise InputError(self.name, expected=f"{split}*.parquet in {folder}", got="no such file", cure=self.cure)
        return found


def root() -> Path:
    """Folder of all sets: what ``FLOWLIB_DATA`` names, or ``data/cache`` of the book.

    Raises:
        InputError: ``FLOWLIB_DATA`` names no folder.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return CACHE
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise InputError(
            VARIABLE, expected="a folder", got=folder, cure="make it, correct it, or unset it to use data/cache"
        )
    return folder


def decoded_folders() -> list[Path]:
    """Where decoded sets may be kept, best first: beside the files, or in ``data/cache`` where those are read-only.

    The permission bits count for root too: a folder that nobody may write to is meant to stay as it is.
    """
    folders = [root()] if root().exists() and root().stat().st_mode & 0o222 and os.access(root(), os.W_OK) else []
    return [folder / "decoded" for folder in dict.fromkeys([*folders, CACHE])]


CIFAR10 = Source(
    name="cifar10",
    what="CIFAR-10: 50,000 + 10,000 colour photographs of 10 classes, 32 x 32",
    licence="none stated; photographs from the web (Krizhevsky 2009)",
    megabytes=144,
    shape=(3, 32, 32),
    rows={"train": 50_000, "test": 10_000},
    columns=("img", "label"),
    repo="uoft-cs/cifar10",
    revision="0b2714987fa478483af9968de7c934580d0bb9a2",
    files={
        "plain_text/train-00000-of-00001.parquet": "8428b53a88a11ac374111006708df51469e315a22ac6d66470afd9c78d2ae883",
        "plain_text/test-00000-of-00001.parquet": "841389e6f2d64f28bf17310e430aebac20ec3ba611a3c5e231dc93c645ce84de",
    },
)
FASHION_MNIST = Source(
    name="fashion_mnist",
    what="Fashion-MNIST: 60,000 + 10,000 grey pictures of 10 kinds of clothing, 28 x 28",
    licence="MIT, Zalando SE 2017",
    megabytes=36,
    shape=(1, 28, 28),
    rows={"train": 60_000, "test": 10_000},
    columns=("image", "label"),
    repo="zalando-datasets/fashion_mnist",
    revision="531be5e2ccc9dba0c201ad3ae567a4f3d16ecdd2",
    files={"fashion_mnist/train-00000-of-00001.parquet": "", "fashion_mnist/test-00000-of-00001.parquet": ""},
    content={
        "train": "56016b2341e99c383df5cc0ed736f4afb12a6c90855d9f3d69981b294a0159ad",
        "test": "b73438e78d64c9f337edad19c3eea888b49d646dbe27b46e4e3177218f3581e7",
    },
)
EMOJI = Source(
    name="emoji",
    what="1,632 emoji with their names, 64 x 64",
    licence="Apache-2.0 (pictures, Google), MIT (names)",
    megabytes=7,
    shape=(3, 64, 64),
    rows={"train": 1632},
    columns=("img", "caption"),
    files={"train.parquet": "d684a1fcc58419b4b6213e073f3d2137f4c714d89d6c146189828f86ec344168"},
)


def catalogue() -> tuple[Source, ...]:
    """All sets that have to be fetched or put in place."""
    return CIFAR10, FASHION_MNIST, EMOJI


def source(name: str) -> Source:
    """Find a set by its name.

    Raises:
        InputError: no set of that name.
    """
    known = {one.name: one for one in catalogue()}
    if name not in known:
        raise InputError("name", expected=f"one of {', '.join(known)}", got=repr(name))
    return known[name]
