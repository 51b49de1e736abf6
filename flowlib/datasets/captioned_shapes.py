"""Coloured shapes with captions, made on the fly: a caption is true of its picture exactly, and that can be counted."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Int
from torch import Tensor

from flowlib.datasets.stream import Stream
from flowlib.datasets.words import Words
from flowlib.errors import InputError
from flowlib.shapes import Batch
from flowlib.tensors import randn

KINDS = ("circle", "square", "triangle")
SIZES = {"small": 0.09, "large": 0.16}  # half of the width, where the picture has width 1
COLOURS = {
    "red": (0.9, 0.1, 0.1),
    "green": (0.1, 0.7, 0.2),
    "blue": (0.15, 0.25, 0.95),
    "yellow": (0.95, 0.85, 0.1),
    "purple": (0.6, 0.1, 0.8),
    "orange": (1.0, 0.5, 0.0),
}
BACKGROUND = (0.95, 0.95, 0.95)
RELATIONS = ("left of", "right of", "above", "below")
HELD_OUT = {("red", "triangle"), ("green", "square"), ("blue", "circle")}  # of 18: each colour and kind is still seen
Pairs = Literal["all", "seen", "held out"]
LONGEST = 10  # words of a caption of two shapes; a third brings five more
SIDE = 4  # points a side at which the colour of a pixel is averaged
GAP = 0.03  # between two shapes, and to the edge of the picture


@dataclass(frozen=True)
class Shape:
    """One object of a scene.

    Attributes:
        kind: circle, square or triangle.
        colour: one of ``COLOURS``.
        size: small or large.
        x: of the centre, from 0 (left) to 1.
        y: of the centre, from 0 (top) to 1.
    """

    kind: str
    colour: str
    size: str
    x: float
    y: float

    @property
    def name(self) -> str:
        """What a caption calls it."""
        return f"a {self.size} {self.colour} {self.kind}"


@dataclass(frozen=True)
class Scene:
    """One to three shapes of different colours, none touching another."""

    shapes: tuple[Shape, ...]

    @property
    def relation(self) -> str:
        """Where the first shape lies, seen from the second, along the axis on which they differ more; empty for one."""
        if len(self.shapes) < 2:
            return ""
        a, b = self.shapes[:2]
        if abs(a.x - b.x) > abs(a.y - b.y):
            return "left of" if a.x < b.x else "right of"
        return "above" if a.y < b.y else "below"

    @property
    def caption(self) -> str:
        """Sentence that names every shape, and the relation of the first two.

        >>> circle = Shape("circle", "red", "small", 0.2, 0.5)
        >>> square = Shape("square", "blue", "large", 0.7, 0.6)
        >>> Scene((circle, square)).caption
        'a small red circle left of a large blue square'
        """
        first, *others = [shape.name for shape in self.shapes]
        if not others:
            return first
        return " and ".join([f"{first} {self.relation} {others[0]}", *others[1:]])


@lru_cache
def vocabulary(length: int = LONGEST) -> Words:
    """Every word that a caption may hold, for captions of at most ``length`` words."""
    relations = dict.fromkeys(word for relation in RELATIONS for word in relation.split())
    return Words(("a", "and", *SIZES, *COLOURS, *KINDS, *relations), length)


def tokenize(captions: Sequence[str], length: int = LONGEST) -> Int[Tensor, "B M"]:
    """Numbers of the words of captions, (B, length); 0 fills up, and the empty caption is all 0.

    Raises:
        InputError: a word that no caption of the set holds, a caption that is longer.

    >>> tokenize(["a small red circle", ""], length=5).tolist()
    [[1, 3, 5, 11, 0], [0, 0, 0, 0, 0]]
    """
    return vocabulary(length)(captions)


class CaptionedShapes(NamedTuple):
    """Pictures, what is said of them, and what is there.

    Attributes:
        x: float32 (N, 3, side, side) in [-1, 1].
        captions: a sentence for each.
        scenes: the exact scene of each, from which picture and caption are made.
    """

    x: Batch
    captions: tuple[str, ...]
    scenes: tuple[Scene, ...]


def captioned_shapes(n: int, seed: int = 0, *, side: int = 32, most: int = 3, pairs: Pairs = "all") -> CaptionedShapes:
    """Make ``n`` pictures of 1 to ``most`` shapes; the first of them do not depend on how many follow.

    Args:
        n: how many.
        seed: of the scenes; held-out pictures are those of another seed.
        side: height and width in pixels, 32 to 64.
        most: the largest number of shapes in a scene, 1 to 3.
        pairs: "seen" leaves out every scene with one of the pairs of colour and kind in ``HELD_OUT``, "held out" keeps
            those alone: whether a network has learned words, or only their pairs, is seen on them.

    Raises:
        InputError: numbers outside these ranges, another word for ``pairs``.
    """
    for name, value, low, high in (("n", n, 1, 10**9), ("side", side, 32, 64), ("most", most, 1, 3)):
        if not low <= value <= high:
            raise InputError(name, expected=f"{low} to {high}", got=value)
    if pairs not in get_args(Pairs):
        raise InputError("pairs", expected=", ".join(get_args(Pairs)), got=pairs)
    numbers = random.Random(seed)
    scenes = tuple(draw_scene(numbers, most, pairs) for _ in range(n))
    x = torch.cat([render_all(scenes[i : i + 500], side) for i in range(0, n, 500)])
    return CaptionedShapes(x, tuple(scene.caption for scene in scenes), scenes)


def told_shapes(
    batch_size: int, generator: torch.Generator, *, side: int = 32, most: int = 2, pairs: Pairs = "seen"
) -> Stream:
    """Yield batches (x_0, x_1, c) for ever: noise, pictures that were never shown before, and their captions' numbers.

    Args:
        batch_size: samples a batch.
        generator: of everything.
        side: height and width in pixels.
        most: the largest number of shapes in a scene.
        pairs: as in ``captioned_shapes``.
    """
    length = 5 * most if most > 1 else 4

    def draw() -> tuple[Batch, Batch, Tensor]:
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        data = captioned_shapes(batch_size, seed, side=side, most=most, pairs=pairs)
        x_1 = data.x.to(generator.device)
        return randn(x_1.shape, like=x_1, generator=generator), x_1, tokenize(data.captions, length).to(x_1.device)

    return Stream(draw, generator)


def draw_scene(numbers: random.Random, most: int = 3, pairs: Pairs = "all") -> Scene:
    """Draw 1 to ``most`` shapes of different colours, none touching another."""
    while True:
        kinds = [
            (numbers.choice(KINDS), colour, numbers.choice(list(SIZES)))
            for colour in numbers.sample(list(COLOURS), numbers.randint(1, most))
        ]
        held_out = any((colour, kind) in HELD_OUT for kind, colour, _ in kinds)
        if pairs == "all" or held_out == (pairs == "held out"):
            break
    while True:  # until all have found a place: those before may leave the last one none
        shapes: list[Shape] = []
        for kind, colour, size in kinds:
            edge = SIZES[size] + GAP
            shape = Shape(kind, colour, size, numbers.uniform(edge, 1 - edge), numbers.uniform(edge, 1 - edge))
            if all(_apart(shape, other) for other in shapes):
                shapes.append(shape)
        if len(shapes) == len(kinds):
            return Scene(tuple(shapes))


def _apart(a: Shape, b: Shape) -> bool:
    """Whether the boxes leave a gap on the axis along which the centres differ more: relations hold for each pixel."""
    return max(abs(a.x - b.x), abs(a.y - b.y)) > SIZES[a.size] + SIZES[b.size] + GAP


def render(scene: Scene, side: int = 32) -> Tensor:
    """Draw a scene, (3, side, side) in [-1, 1]: each pixel is the mean of 4 x 4 points."""
    return render_all([scene], side)[0]


def render_all(scenes: Sequence[Scene], side: int = 32) -> Batch:
    """Draw scenes, (B, 3, side, side): each shape covers a share of each pixel, and no two cover the same point."""
    x = torch.tensor(BACKGROUND)[:, None, None].repeat(len(scenes), 1, side, side)
    for b, scene in enumerate(scenes):
        for shape in scene.shapes:
            ink = torch.tensor(COLOURS[shape.colour]) - torch.tensor(BACKGROUND)
            rows, columns = (_pixels(p, SIZES[shape.size], side) for p in (shape.y, shape.x))
            x[b, :, rows, columns] += ink[:, None, None] * _coverage(shape, rows, columns, side)
    return 2 * x - 1


def coverage(shape: Shape, side: int = 32) -> Tensor:
    """Share of each pixel that a shape covers, (side, side), in sixteenths."""
    return _coverage(shape, slice(0, side), slice(0, side), side)


def _pixels(p: float, r: float, side: int) -> slice:
    """Pixels of an axis that a shape around p may touch."""
    return slice(max(0, int((p - r) * side)), min(side, int((p + r) * side) + 1))


def _coverage(shape: Shape, rows: slice, columns: slice, side: int) -> Tensor:
    dy, dx = (
        (torch.arange(pixels.start * SIDE, pixels.stop * SIDE) + 0.5) / (side * SIDE) - p
        for pixels, p in ((rows, shape.y), (columns, shape.x))
    )
    inside = _inside(shape, dx[None, :], dy[:, None])
    return inside.float().unflatten(0, (-1, SIDE)).unflatten(2, (-1, SIDE)).mean((1, 3))


def _inside(shape: Shape, dx: Tensor, dy: Tensor) -> Tensor:
    r = SIZES[shape.size]
    if shape.kind == "circle":
        return dx.square() + dy.square() <= r**2
    box = (dx.abs() <= r) & (dy.abs() <= r)
    # The triangle stands on its base: its sides run from the top of the box to the two lower corners.
    return box if shape.kind == "square" else box & (dx.abs() <= (dy + r) / 2)
