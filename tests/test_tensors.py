"""Checks of batches: what is finite passes, however large, and what is not is named."""

import pytest
import torch

from flowlib.errors import InputError
from flowlib.tensors import check_finite, check_time


def test_a_sum_that_overflows_is_no_mistake():
    check_finite("x", torch.full((2, 2), 3e38))


@pytest.mark.parametrize(
    "bad", [[float("nan"), 0.0], [float("inf"), -float("inf")]], ids=["NaN", "infinities that cancel"]
)
def test_nan_and_infinity_are_counted(bad):
    with pytest.raises(InputError, match=f"x: expected finite numbers, got {2 if bad[1] else 1} NaN or infinite"):
        check_finite("x", torch.tensor([bad, [1.0, 2.0]]))


@pytest.mark.parametrize(
    ("t", "message"),
    [
        (torch.tensor([0, 1]), "t: expected floating-point numbers in .0, 1., got torch.int64"),
        (torch.tensor([0.5, 1.5]), "got values from 0.5 to 1.5"),
        (torch.tensor([0.5, float("nan")]), "got values from nan to nan"),
        (torch.zeros(2, 1), r"shape \(2,\), one time a sample, got shape \(2, 1\)"),
    ],
)
def test_times_are_floats_one_a_sample(t, message):
    with pytest.raises(InputError, match=message):
        check_time(t, torch.zeros(2, 3))
