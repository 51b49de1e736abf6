"""Read pictures of captioned shapes back into scenes, and count whether a caption holds: no judge is trained for it.

A pixel is paper, or paper mixed with one of six inks: with ``d = x - paper`` and the ink's direction u, the share a
that the ink covers is the least-squares one, ``a = d.u / u.u``, and the ink is the one that leaves the least. Pixels of
one ink that hang together are a shape; its place is their centre of mass, its kind and size are those whose drawing
covers the same pixels. Last, the scene is drawn: a picture that does not look like it has not been read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations

import torch
from torch import Tensor

from flowlib.datasets import Scene, Shape
from flowlib.datasets.captioned_shapes import (
    BACKGROUND,
    COLOURS,
    KINDS,
    RELATIONS,
    SIZES,
    coverage,
    render,
)
from flowlib.errors import InputError
from flowlib.estimates import Estimate
from flowlib.shapes import Batch

COVERED = 0.5  # a pixel belongs to a shape from this share on
FAINT = 0.25  # from this share on a pixel is looked at when the scene is compared
SPECK = 0.006  # of the picture: less than half of the smallest shape is dirt
ODD = 0.2  # a scene that leaves more than this unexplained, of what sets its pixels off from paper, was not drawn
LOW = {"circle": 0.0, "square": 0.0, "triangle": 1 / 3}  # centre of mass below the centre of the box, in half widths


def read_scene(x: Batch) -> list[Scene | None]:
    """Read pictures, (B, 3, H, W) in [-1, 1], as scenes, shapes from left to right; None for what is no such scene.

    A scene has one to three shapes of different colours, each of which covers the pixels that such a shape covers.

    Raises:
        InputError: no coloured square pictures.
    """
    if x.ndim != 4 or x.shape[1] != 3 or x.shape[2] != x.shape[3]:
        raise InputError("x", expected="pictures of shape (B, 3, side, side)", got=f"shape {tuple(x.shape)}")
    return [_read(picture) for picture in x.detach().cpu().float().clamp(-1, 1)]


def holds(scene: Scene | None, caption: str) -> dict[str, bool]:
    """Tell what of a caption is true of a scene: nothing, where there is none.

    Returns:
        ``count``: as many shapes; ``colours``: the same colours; ``kinds``, ``sizes``: and each colour on its kind, its
        size; ``relation``: the first two lie as is said; ``all``: the caption is one of the scene's.
    """
    told = _parse(caption)
    if scene is None:
        return dict.fromkeys(("count", "colours", "kinds", "sizes", "relation", "all"), False)
    there = {shape.colour: shape for shape in scene.shapes}
    known = [there.get(shape.colour) for shape in told]
    return {
        "count": len(scene.shapes) == len(told),
        "colours": set(there) == {shape.colour for shape in told},
        "kinds": all(b is not None and a.kind == b.kind for a, b in zip(told, known, strict=True)),
        "sizes": all(b is not None and a.size == b.size for a, b in zip(told, known, strict=True)),
        "relation": None not in known[:2] and Scene(tuple(s for s in known[:2] if s)).relation in caption,
        "all": any(Scene(order).caption == caption for order in permutations(scene.shapes)),
    }


def caption_accuracy(x: Batch, captions: Sequence[str], what: str = "all") -> Estimate:
    """Share of pictures that their captions are true of, with its standard error.

    Args:
        x: pictures, (B, 3, side, side).
        captions: one each, as ``captioned_shapes`` writes them.
        what: one of the parts that ``holds`` tells, "all" for the whole caption.

    Raises:
        InputError: another number of captions, a caption of another form.
    """
    if len(captions) != len(x):
        raise InputError("captions", expected=f"{len(x)}, one a picture", got=len(captions))
    told = [holds(scene, caption)[what] for scene, caption in zip(read_scene(x), captions, strict=True)]
    return Estimate.of(torch.tensor(told).double())


def _parse(caption: str) -> list[Shape]:
    """Shapes that a caption names, at no place."""
    words = [word for word in caption.split() if word in SIZES or word in COLOURS or word in KINDS]
    named = [words[i : i + 3] for i in range(0, len(words), 3)]
    shapes = [Shape(kind, colour, size, 0.5, 0.5) for size, colour, kind in (n for n in named if len(n) == 3)]
    phrases = [shape.name for shape in shapes]
    forms = [*phrases[:1]] if len(phrases) < 2 else [f"{phrases[0]} {r} {phrases[1]}" for r in RELATIONS]
    if caption not in [" and ".join([form, *phrases[2:]]) for form in forms]:
        raise InputError("caption", expected="one that captioned_shapes could have written", got=repr(caption))
    return shapes


def _read(picture: Tensor) -> Scene | None:
    from scipy.ndimage import label

    side = picture.shape[-1]
    share, ink = _inks(picture)
    shapes = []
    for i, colour in enumerate(COLOURS):
        mine = (ink == i) & (share > COVERED)
        if mine.sum() <= SPECK * side**2:
            continue
        parts, count = label(mine.numpy())
        areas = [int((parts == k).sum()) for k in range(1, count + 1)]
        if sum(area > SPECK * side**2 for area in areas) != 1:  # two of one colour, or crumbs alone
            return None
        whole = torch.from_numpy(parts == 1 + max(range(count), key=areas.__getitem__))
        shapes.append(_shape(colour, _grown(whole) * share * (ink == i)))
    if not 1 <= len(shapes) <= 3:
        return None
    scene = Scene(tuple(sorted(shapes, key=lambda shape: shape.x)))
    drawn, paper = render(scene, side), render(Scene(()), side)
    seen = (drawn != paper).any(0) | (share > FAINT)
    odd, ink_there = ((picture - other)[:, seen].square().sum() for other in (drawn, paper))
    return scene if odd < ODD * ink_there else None


def _inks(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Share of each pixel that is not paper, (H, W), and which ink that is, the one that explains the pixel best."""
    paper = torch.tensor(BACKGROUND)
    inks = torch.tensor(list(COLOURS.values())) - paper  # (6, 3)
    d = (picture + 1) / 2 - paper[:, None, None]
    share = (torch.einsum("kc,chw->khw", inks, d) / inks.square().sum(1)[:, None, None]).clamp(0, 1)
    left = (d[None] - share[:, None] * inks[:, :, None, None]).square().sum(1)
    best = left.argmin(0)
    return share.gather(0, best[None])[0], best


def _grown(mask: Tensor) -> Tensor:
    """A mask and the pixels beside it, where a shape's edge ends."""
    from scipy.ndimage import binary_dilation

    return torch.from_numpy(binary_dilation(mask.numpy(), structure=torch.ones(3, 3).numpy()))


def _shape(colour: str, share: Tensor) -> Shape:
    """The shape of this colour whose drawing covers the same shares of the same pixels, (side, side)."""
    side = len(share)
    axis = (torch.arange(side) + 0.5) / side
    x, y = float((share.sum(0) * axis).sum() / share.sum()), float((share.sum(1) * axis).sum() / share.sum())
    candidates = [Shape(kind, colour, size, x, y - LOW[kind] * SIZES[size]) for kind in KINDS for size in SIZES]
    misfit: Callable[[Shape], float] = lambda shape: float((coverage(shape, side) - share).square().sum())  # noqa: E731
    return min(candidates, key=misfit)
