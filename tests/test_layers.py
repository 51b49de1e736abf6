"""Leaves of conditioners: what a masked network sees, and conditions that do not fit."""

import pytest
import torch
from torch import nn

from flowlib.errors import InputError
from flowlib.layers import MADE, ConditionedMLP, MaskedLinear

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize(("n", "condition"), [(1, 2), (2, 0), (5, 0), (5, 2)])
def test_made_sees_what_came_before_and_the_condition(n, condition, generator):
    made = MADE(n, 3, width=16, condition=condition)
    first, middle, last = (layer.mask for layer in made.net if isinstance(layer, MaskedLinear))
    paths = last @ middle @ first  # from each input to each output
    expected = torch.cat([torch.ones(n, n).tril(-1), torch.ones(n, condition)], 1)
    assert torch.equal(paths > 0, expected.repeat(3, 1) > 0)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    x, c = torch.randn(1, n, generator=generator), torch.randn(1, condition, generator=generator)
    jacobian = torch.autograd.functional.jacobian(lambda x: made(x, c if condition else None), x).reshape(3, n, n)
    assert torch.equal(jacobian, jacobian.tril(-1))


@pytest.mark.parametrize(
    ("c", "message"),
    [
        (None, "c: expected 3 features, or a label of 3 classes, a sample, got None"),
        (torch.zeros(2, 4), r"c: expected shape \(2, 3\), or \(2,\) labels"),
        (torch.tensor([0, 3]), "c: expected labels 0 to 2, got 0 to 3"),
    ],
    ids=["missing", "another size", "a label too many"],
)
@pytest.mark.parametrize("make", [lambda: ConditionedMLP(2, 1, condition=3), lambda: MADE(2, 1, condition=3)])
def test_bad_condition(make, c, message):
    with pytest.raises(InputError, match=message):
        make()(torch.zeros(2, 2), c)


def test_condition_that_was_not_asked_for():
    with pytest.raises(InputError, match="c: expected no condition"):
        ConditionedMLP(2, 1)(torch.zeros(2, 2), torch.zeros(2, 1))
