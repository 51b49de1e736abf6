"""The reader of captioned shapes: right on what was drawn, and silent on what is no such scene."""

import random
from itertools import permutations

import pytest
import torch

from flowlib.datasets import Scene, Shape, captioned_shapes
from flowlib.datasets.captioned_shapes import COLOURS, KINDS, SIZES, draw_scene, render, render_all
from flowlib.errors import InputError
from flowlib.evaluation import caption_accuracy, holds, read_scene


@pytest.mark.parametrize(("most", "side"), [(1, 32), (2, 32), (3, 32), (3, 48)])
def test_ground_truth_is_read(most, side):
    """At least 99.5 %: what fails are relations of shapes that lie on a diagonal, within a fraction of a pixel."""
    data = captioned_shapes(1000, seed=11, most=most, side=side)  # of 250, two misses would be too many
    read = read_scene(data.x)
    told = [holds(scene, caption) for scene, caption in zip(read, data.captions, strict=True)]
    share = {part: sum(t[part] for t in told) / len(told) for part in told[0]}
    assert share.pop("all") >= 0.995
    assert share.pop("relation") >= 0.995
    assert set(share.values()) == {1.0}
    for found, true in zip(read[:40], data.scenes, strict=False):  # within a tenth of a pixel on either axis
        for a, b in zip(found.shapes, sorted(true.shapes, key=lambda s: s.x), strict=True):
            assert max(abs(a.x - b.x), abs(a.y - b.y)) < 0.15 / side


@pytest.mark.parametrize(("noise", "least"), [(0.05, 0.99), (0.1, 0.98)])
def test_mild_noise_does_no_harm(noise, least, generator):
    data = captioned_shapes(200, seed=13, most=2)
    noisy = data.x + noise * torch.randn(data.x.shape, generator=generator)
    assert float(caption_accuracy(noisy, data.captions)) >= least


def scene(*shapes):
    return Scene(tuple(Shape(*shape) for shape in shapes))


PARTS = ("colours", "kinds", "sizes")
TWO = scene(("circle", "red", "small", 0.25, 0.5), ("square", "blue", "large", 0.7, 0.55))


@pytest.mark.parametrize(
    ("caption", "wrong"),
    [
        ("a small red circle left of a large blue square", set()),
        ("a large blue square right of a small red circle", set()),
        ("a small red circle right of a large blue square", {"relation"}),
        ("a small red circle above a large blue square", {"relation"}),
        ("a large red circle left of a large blue square", {"sizes"}),
        ("a small red square left of a large blue square", {"kinds"}),
        ("a small blue circle left of a large red square", {"kinds", "sizes", "relation"}),
        ("a small green circle left of a large blue square", {"relation", *PARTS}),
        ("a small red circle", {"count", "colours"}),
        (
            "a small red circle left of a large blue square and a small green circle",
            {"count", "colours", "kinds", "sizes"},
        ),
    ],
)
def test_each_part_of_a_caption_is_told(caption, wrong):
    """One word changed is one part wrong (or those that hang on it), and then the whole."""
    parts = holds(read_scene(render(TWO)[None])[0], caption)
    assert {name for name, true in parts.items() if not true} == (wrong | {"all"} if wrong else set())


def test_shapes_have_no_order():
    numbers = random.Random(5)
    for _ in range(20):
        drawn = draw_scene(numbers, 3)
        (read,) = read_scene(render(drawn)[None])
        assert sum(holds(read, Scene(order).caption)["all"] for order in permutations(drawn.shapes)) == len(
            list(permutations(drawn.shapes))
        )


def unreadable():
    """Pictures that are no scene, by name."""
    one = render(scene(("square", "red", "large", 0.5, 0.5)))
    paper = render(Scene(()))
    half = one.clone()
    half[:, 14:] = paper[:, 14:]
    pink, faint = paper.clone(), 0.6 * paper + 0.4 * one
    pink[:, 10:20, 10:20] = torch.tensor([1.0, 0.0, 0.6])[:, None, None]
    twins = render(scene(("circle", "red", "small", 0.2, 0.5), ("circle", "red", "small", 0.8, 0.5)))
    tall = paper.clone()
    tall[:, 4:28, 14:18] = one[:, 16:17, 16:17]
    return {
        "paper": paper,
        "noise": torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(0)),
        "half a square": half,
        "no ink of ours": pink,
        "faint": faint,
        "two of one colour": twins,
        "a bar": tall,
        "four": (render_all([TWO])[0] + render(scene(("circle", "green", "small", 0.3, 0.2))) - paper)
        + render(scene(("circle", "orange", "small", 0.3, 0.85)))
        - paper,
    }


@pytest.mark.parametrize("name", unreadable())
def test_other_pictures_are_not_read(name):
    assert read_scene(unreadable()[name][None]) == [None]
    assert not any(holds(None, TWO.caption).values())


def test_every_shape_is_told_from_every_other():
    drawn = [scene((k, c, z, 0.41, 0.57)) for k in KINDS for c in COLOURS for z in SIZES]
    read = read_scene(render_all(drawn))
    assert [s.caption for s in read] == [s.caption for s in drawn]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: read_scene(torch.zeros(1, 1, 32, 32)), "x: expected pictures of shape .B, 3, side, side."),
        (lambda: caption_accuracy(torch.zeros(2, 3, 32, 32), ["a small red circle"]), "captions: expected 2"),
        (lambda: holds(None, "red circle"), "caption: expected one that captioned_shapes could have written"),
        (lambda: holds(None, "a small red circle near a small blue circle"), "got 'a small red circle near"),
    ],
)
def test_bad_input(call, message, unchecked):
    with pytest.raises(InputError, match=message):
        call()
