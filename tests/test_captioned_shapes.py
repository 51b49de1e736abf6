"""Captioned shapes: the caption is true of the pixels, and the same seed gives the same scenes."""

import random

import pytest
import torch

from flowlib.datasets import HELD_OUT, Scene, Shape, captioned_shapes, tokenize, told_shapes, vocabulary
from flowlib.datasets.captioned_shapes import BACKGROUND, COLOURS, KINDS, SIZES, draw_scene, render
from flowlib.errors import InputError

AREAS = {"circle": torch.pi, "square": 4.0, "triangle": 2.0}  # over r^2


def pixels_of(x, colour):
    """Pixels that are covered by a colour for the most part: an edge is a mixture, and red on white is not orange."""
    return (x - 2 * torch.tensor(COLOURS[colour])[:, None, None] + 1).abs().amax(0) < 0.3


@pytest.mark.parametrize("side", [32, 64])
def test_the_area_tells_sizes_and_kinds_apart(side):
    """The share of a pixel that is covered is its distance from the paper's colour, in units of the shape's."""
    paper = 2 * torch.tensor(BACKGROUND)[:, None, None] - 1
    data = captioned_shapes(40, seed=3, side=side, most=1)
    for x, scene in zip(data.x, data.scenes, strict=True):
        (shape,) = scene.shapes
        ink = 2 * torch.tensor(COLOURS[shape.colour])[:, None, None] - 1 - paper
        covered = float(((x - paper) * ink).sum(0).div(ink.square().sum()).sum())
        assert covered == pytest.approx(AREAS[shape.kind] * (SIZES[shape.size] * side) ** 2, rel=0.06)


@pytest.mark.parametrize("side", [32, 64])
def test_shapes_lie_where_the_scene_says(side):
    data = captioned_shapes(60, seed=3, side=side)
    assert data.x.shape == (60, 3, side, side)
    assert float(data.x.min()) >= -1
    assert float(data.x.max()) <= 1
    for x, scene in zip(data.x, data.scenes, strict=True):
        for shape in scene.shapes:
            rows, columns = pixels_of(x, shape.colour).nonzero().double().T
            assert float((columns.min() + columns.max() + 1) / (2 * side)) == pytest.approx(shape.x, abs=1 / side)
            top = 1.5 if shape.kind == "triangle" else 1  # its tip is thinner than a pixel
            assert float((rows.min() + rows.max() + 1) / (2 * side)) == pytest.approx(shape.y, abs=top / side)


def test_relations_are_true_of_every_pixel():
    sees = {
        "left of": lambda a, b: a[1].max() < b[1].min(),
        "right of": lambda a, b: a[1].min() > b[1].max(),
        "above": lambda a, b: a[0].max() < b[0].min(),
        "below": lambda a, b: a[0].min() > b[0].max(),
    }
    met = set()
    data = captioned_shapes(150, seed=5)
    for x, scene in zip(data.x, data.scenes, strict=True):
        if len(scene.shapes) > 1:
            a, b = (pixels_of(x, shape.colour).nonzero().T for shape in scene.shapes[:2])
            assert sees[scene.relation](a, b)
            met.add(scene.relation)
    assert met == set(sees)


def test_captions_name_every_shape_once():
    for caption, scene in zip(*captioned_shapes(100, seed=1)[1:], strict=True):
        for shape in scene.shapes:
            assert caption.count(shape.name) == 1
        assert caption.count(" a ") + caption.startswith("a ") == len(scene.shapes)
        assert scene.relation in caption
        assert len({shape.colour for shape in scene.shapes}) == len(scene.shapes)


def test_a_seed_is_a_set_and_its_beginning_does_not_depend_on_its_length():
    short, long, other = captioned_shapes(5, seed=7), captioned_shapes(20, seed=7), captioned_shapes(20, seed=8)
    assert torch.equal(short.x, long.x[:5])
    assert short.scenes == long.scenes[:5]
    assert not set(long.scenes) & set(other.scenes)


def test_scenes_have_all_sizes_kinds_and_numbers():
    numbers = random.Random(0)
    scenes = [draw_scene(numbers) for _ in range(600)]
    for n in (1, 2, 3):
        assert 150 < sum(len(scene.shapes) == n for scene in scenes) < 250
    shapes = [shape for scene in scenes for shape in scene.shapes]
    assert {(s.kind, s.colour, s.size) for s in shapes} == {(k, c, z) for k in KINDS for c in COLOURS for z in SIZES}
    assert all(SIZES[s.size] <= min(s.x, s.y, 1 - s.x, 1 - s.y) for s in shapes)


def test_a_circle_is_drawn_as_a_disc():
    x = render(Scene((Shape("circle", "red", "large", 0.5, 0.5),)), 64)
    row, column = torch.meshgrid(*2 * [(torch.arange(64) + 0.5) / 64 - 0.5], indexing="ij")
    inside = (row**2 + column**2).sqrt() < SIZES["large"] - 0.02
    outside = (row**2 + column**2).sqrt() > SIZES["large"] + 0.02
    red, paper = (2 * torch.tensor(c)[:, None] - 1 for c in (COLOURS["red"], BACKGROUND))
    torch.testing.assert_close(x[:, inside], red.expand(3, int(inside.sum())))
    torch.testing.assert_close(x[:, outside], paper.expand(3, int(outside.sum())))
    torch.testing.assert_close(x, x.flip(-1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n: expected 1 to"),
        ({"n": 1, "side": 16}, "side: expected 32 to 64, got 16"),
        ({"n": 1, "most": 4}, "most: expected 1 to 3, got 4"),
        ({"n": 1, "pairs": "new"}, "pairs: expected all, seen, held out, got new"),
    ],
)
def test_bad_input(arguments, message, unchecked):
    with pytest.raises(InputError, match=message):
        captioned_shapes(**arguments)


def test_a_triangle_stands_on_its_base():
    seen = pixels_of(render(Scene((Shape("triangle", "blue", "large", 0.5, 0.5),)), 64), "blue").sum(1)
    widths = seen[seen > 0].tolist()
    assert widths == sorted(widths)
    assert widths[-1] == pytest.approx(2 * SIZES["large"] * 64, abs=2)


def test_words_have_numbers_and_come_back():
    data = captioned_shapes(300, seed=2, most=3)
    words = vocabulary(15)
    ids = tokenize(data.captions, 15)
    assert words.read(ids) == list(data.captions)
    assert words.words[0] not in " ".join(data.captions)
    assert sorted(ids.unique().tolist()) == list(range(len(words)))  # none is never used
    assert tokenize([""]).tolist() == [[0] * 10]


@pytest.mark.parametrize(
    ("caption", "message"),
    [("a pink circle", "got 'a pink circle', with 'pink'"), ("a " * 11, "at most 10 of the words .* 11 words")],
)
def test_unknown_words_are_named(caption, message):
    with pytest.raises(InputError, match=message):
        tokenize([caption])


def test_pairs_are_held_out():
    """Seen scenes hold none of the pairs, the others at least one; every colour and kind is seen all the same."""
    told = {pairs: captioned_shapes(400, seed=4, most=2, pairs=pairs).scenes for pairs in ("seen", "held out")}
    odd = {name: [any((s.colour, s.kind) in HELD_OUT for s in scene.shapes) for scene in told[name]] for name in told}
    assert not any(odd["seen"])
    assert all(odd["held out"])
    shapes = [shape for scene in told["seen"] for shape in scene.shapes]
    assert {(s.colour, s.kind) for s in shapes} == {(c, k) for c in COLOURS for k in KINDS} - HELD_OUT


def test_told_shapes_go_on_where_they_were():
    stream = told_shapes(8, torch.Generator().manual_seed(3))
    next(stream)
    place = stream.state_dict()
    after = [next(stream) for _ in range(2)]
    again = told_shapes(8, torch.Generator())
    again.load_state_dict(place)
    for batch in after:
        assert all(torch.equal(a, b) for a, b in zip(batch, next(again), strict=True))
    x_0, x_1, c = after[0]
    assert not torch.equal(x_1, after[1][1])
    assert abs(float(x_0.std()) - 1) < 0.02
    assert c.shape == (8, 10)
