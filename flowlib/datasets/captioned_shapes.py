"""Coloured shapes with captions, made on the fly: a caption is true of its picture exactly, and that can be counted."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from flowlib.errors import InputError
from flowlib.shapes import Batch

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


def captioned_shapes(n: int, seed: int = 0, *, side: int = 32, most: int = 3) -> CaptionedShapes:
    """Make ``n`` pictures of 1 to ``most`` shapes; the first of them do not depend on how many follow.

    Args:
        n: how many.
        seed: of the scenes; held-out pictures are those of another seed.
        side: height and width in pixels, 32 to 64.
        most: the largest number of shapes in a scene, 1 to 3.

    Raises:
        InputError: numbers outside these ranges.
    """
    for name, value, low, high in (("n", n, 1, 10**9), ("side", side, 32, 64), ("most", most, 1, 3)):
        if not low <= value <= high:
            raise InputError(name, expected=f"{low} to {high}", got=value)
    numbers = random.Random(seed)
    scenes = tuple(draw_scene(numbers, most) for _ in range(n))
    x = torch.stack([render(scene, side) for scene in scenes])
    return CaptionedShapes(x, tuple(scene.caption for scene in scenes), scenes)


def draw_scene(numbers: random.Random, most: int = 3) -> Scene:
    """Draw 1 to ``most`` shapes of different colours, none touching another."""
    kinds = [
        (numbers.choice(KINDS), colour, numbers.choice(list(SIZES)))
        for colour in numbers.sample(list(COLOURS), numbers.randint(1, most))
    ]
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
    axis = (torch.arange(side * SIDE) + 0.5) / (side * SIDE)
    picture = torch.tensor(BACKGROUND)[:, None, None].expand(3, side * SIDE, side * SIDE)
    for shape in scene.shapes:
        inside = _inside(shape, axis[None, :] - shape.x, axis[:, None] - shape.y)
        picture = torch.where(inside, torch.tensor(COLOURS[shape.colour])[:, None, None], picture)
    return 2 * torch.nn.functional.avg_pool2d(picture, SIDE) - 1


def _inside(shape: Shape, dx: Tensor, dy: Tensor) -> Tensor:
    r = SIZES[shape.size]
    if shape.kind == "circle":
        return dx.square() + dy.square() <= r**2
    box = (dx.abs() <= r) & (dy.abs() <= r)
    # The triangle stands on its base: its sides run from the top of the box to the two lower corners.
    return box if shape.kind == "square" else box & (dx.abs() <= (dy + r) / 2)
