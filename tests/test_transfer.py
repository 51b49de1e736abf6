"""Batches between two sets: each side is the set it should be, and classes meet where they are asked to."""

import itertools

import pytest
import torch

from flowlib.datasets import Labelled, between_sets, of_class
from flowlib.errors import InputError

SOURCE = Labelled(torch.arange(12.0).reshape(6, 1, 1, 2), torch.tensor([0, 1, 0, 1, 2, 2]))
TARGET = Labelled(100 + torch.arange(8.0).reshape(4, 1, 1, 2), torch.tensor([1, 0, 1, 0]))


def drawn(n, generator, **options):
    batches = itertools.islice(between_sets(SOURCE, TARGET, 4, generator, **options), n)
    return [torch.cat(parts) for parts in zip(*batches, strict=True)]


def test_each_side_is_its_set(generator):
    x_0, x_1 = drawn(300, generator)
    rows, counts = x_0.unique(dim=0, return_counts=True)
    torch.testing.assert_close(rows, SOURCE.x)
    assert bool(((counts / 1200 - 1 / 6).abs() < 0.05).all())
    torch.testing.assert_close(x_1[:4].sort(0).values, TARGET.x)  # one pass sees each once


def test_pairs_are_independent(generator):
    x_0, x_1 = drawn(1000, generator)
    table = torch.zeros(6, 4)
    table.index_put_(((x_0[:, 0, 0, 0] / 2).long(), (x_1[:, 0, 0, 0] / 2 - 50).long()), torch.ones(4000), True)
    assert bool(((table / 4000 - 1 / 24).abs() < 0.015).all())


def test_classes_meet(generator):
    x_0, x_1, c = drawn(200, generator, by_class=True)
    torch.testing.assert_close(TARGET.c[(x_1[:, 0, 0, 0] / 2 - 50).long()], c)
    torch.testing.assert_close(SOURCE.c[(x_0[:, 0, 0, 0] / 2).long()], c)
    assert set(x_0[c == 1][:, 0, 0, 0].tolist()) == {2.0, 6.0}


def test_blur_is_gaussian_of_its_width(generator):
    one = Labelled(torch.zeros(1, 1, 1, 2), torch.zeros(1, dtype=torch.long))
    stream = between_sets(one, Labelled(TARGET.x, TARGET.c), 4, generator, blur=0.1)
    x_0 = torch.cat([next(stream)[0] for _ in range(2000)])
    assert float(x_0.mean()) == pytest.approx(0, abs=0.005)
    assert float(x_0.std()) == pytest.approx(0.1, rel=0.03)


def test_of_class():
    torch.testing.assert_close(of_class(SOURCE, 1).x, SOURCE.x[[1, 3]])
    assert of_class(SOURCE, 1).c.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: of_class(SOURCE, 7), r"k: expected one of the classes \[0, 1, 2\], got 7"),
        (
            lambda g: between_sets(SOURCE, Labelled(torch.zeros(4, 3), TARGET.c), 2, g),
            r"source: expected events of shape \(3,\), got \(1, 1, 2\)",
        ),
        (
            lambda g: between_sets(TARGET, SOURCE, 2, g, by_class=True),
            r"source: expected every class of the target, got none of \[2\]",
        ),
    ],
)
def test_mistakes_are_told(unchecked, generator, call, message):
    with pytest.raises(InputError, match=message):
        call(generator)
