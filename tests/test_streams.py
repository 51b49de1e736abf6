"""Streams of batches: what they draw, in which order, and that a saved position gives the very next batch."""

import pytest
import torch

from flowlib.datasets import Labelled, Stream, between, digits, epochs, flipped, from_noise
from flowlib.densities import Gaussian, eight_gaussians
from flowlib.errors import InputError

DATA = Labelled(torch.randn(23, 1, 4, 6, generator=torch.Generator().manual_seed(7)), torch.arange(23))
STREAMS = {
    "epochs": lambda g: epochs(DATA, 5, g),
    "flips": lambda g: epochs(DATA, 5, g, flip=True),
    "from_noise": lambda g: from_noise(DATA, 5, g),
    "mapped": lambda g: from_noise(DATA, 5, g).map(lambda x_0, x_1, c: (x_1 + torch.rand(x_1.shape, generator=g),)),
    "between": lambda g: between(Gaussian(torch.zeros(2)), eight_gaussians(), 5, g),
}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def same(a, b):
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 9])
def test_a_saved_position_gives_the_next_batches(name, n):
    """Before, inside, at the end of and after a pass of four batches; in a fresh stream, and in a used one."""
    stream = STREAMS[name](seeded(0))
    for _ in range(n):
        next(stream)
    position = stream.state_dict()
    expected = [next(stream) for _ in range(6)]
    for warm in (0, 2):
        other = STREAMS[name](seeded(99))
        for _ in range(warm):
            next(other)
        other.load_state_dict(position)
        assert all(same(batch, next(other)) for batch in expected)
    assert not same(expected[0], next(STREAMS[name](seeded(99))))


def test_a_pass_meets_every_sample_once():
    stream = epochs(DATA, 5, seeded(0))
    for _ in range(3):
        seen = torch.cat([next(stream)[1] for _ in range(4)])
        assert len(set(seen.tolist())) == 20


def test_passes_differ_and_a_seed_repeats_them():
    a, b = (epochs(DATA, 23, seeded(s)) for s in (1, 1))
    first, second = next(a), next(a)
    assert not same(first, second)
    assert same(first, next(b))


def test_classes_stay_with_their_pictures():
    for _, x_1, c in (next(from_noise(DATA, 23, seeded(s))) for s in range(3)):
        assert torch.equal(x_1, DATA.x[c])


def test_flips_mirror_half_of_the_pictures_left_to_right():
    x = torch.arange(4000 * 6.0).reshape(4000, 1, 2, 3)
    y = flipped(x, seeded(0))
    mirrored = (y == x.flip(-1)).flatten(1).all(1)
    assert bool((mirrored | (y == x).flatten(1).all(1)).all())
    assert 0.45 < float(mirrored.float().mean()) < 0.55


def test_the_digits_of_chapter_04_come_in_the_order_they_always_came():
    """The weights that the book ships were trained on this order: a change of it would be a change of the recipe."""
    x_0, x_1, c = next(from_noise(digits(), 8, seeded(0)))
    order = torch.randperm(1437, generator=(g := seeded(0)))[:8]
    assert torch.equal(c, digits().c[order])
    assert torch.equal(x_0, torch.randn(8, 1, 8, 8, generator=g))
    assert torch.equal(x_1, digits().x[order])


@pytest.mark.parametrize("make", [epochs, from_noise])
@pytest.mark.parametrize("batch_size", [0, 24])
def test_a_batch_fits_into_the_set(make, batch_size, unchecked):
    with pytest.raises(InputError, match=r"batch_size: expected 1 to 23, the size of the set, got"):
        make(DATA, batch_size, seeded(0))


def test_a_stream_is_an_iterator():
    stream = Stream(lambda: (torch.zeros(1),), seeded(0))
    assert iter(stream) is stream
