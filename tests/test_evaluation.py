"""Distances and judges: exact where an answer is known, against POT, with standard errors that mean what they say."""

import math

import pytest
import torch

from flowlib.datasets import digits, grey_levels
from flowlib.densities import Gaussian, eight_gaussians
from flowlib.errors import InputError
from flowlib.estimates import Estimate
from flowlib.evaluation import (
    accuracy,
    mmd,
    nearest_distance,
    path_energy,
    sampling_floor,
    sliced_wasserstein,
    two_sample_accuracy,
    wasserstein,
)
from flowlib.models import Classifier
from flowlib.paths import OT, exact_velocity
from flowlib.rectify import straightness

pytestmark = pytest.mark.usefixtures("float64")


def test_wasserstein_against_pot(generator):
    ot = pytest.importorskip("ot")
    x, y = torch.randn(2, 300, 2, generator=generator)
    y = 2 * y + 1
    weights = torch.full((300,), 1 / 300)
    expected = math.sqrt(ot.emd2(weights.numpy(), weights.numpy(), torch.cdist(x, y).square().numpy()))
    assert wasserstein(x, y).value == pytest.approx(expected, rel=1e-9)


def test_wasserstein_of_a_shift_is_its_length(generator):
    x = torch.randn(200, 3, generator=generator)
    shift = torch.tensor([3.0, 0.0, 4.0])
    assert wasserstein(x, x + shift).value == pytest.approx(5)
    assert wasserstein(x, x[torch.randperm(200, generator=generator)]).value == pytest.approx(0, abs=1e-7)


def test_a_shift_adds_to_the_floor_in_quadrature(generator):
    """W^2 ~ floor^2 + shift^2: subtracting the floor linearly would understate the error by half."""
    p, n, blocks = eight_gaussians(5.0, 1.0), 500, 6
    floor = sampling_floor(p, n, blocks=blocks, generator=generator)
    x, y = p.sample(n * blocks, generator), p.sample(n * blocks, generator)
    shifted = wasserstein(x + torch.tensor([0.8, 0.0]), y, blocks=blocks)
    assert math.sqrt(shifted.value**2 - floor.value**2) == pytest.approx(0.8, abs=0.2)
    assert shifted.value - floor.value < 0.6


def test_error_over_blocks_predicts_the_spread(generator):
    """Ten estimates with five blocks each scatter as their standard errors say."""
    p = Gaussian(torch.zeros(2))
    estimates = [
        sliced_wasserstein(p.sample(1000, generator), p.sample(1000, generator) + 0.5, blocks=5, generator=generator)
        for _ in range(10)
    ]
    spread = float(torch.tensor([e.value for e in estimates]).std())
    stated = float(torch.tensor([e.error for e in estimates]).mean())
    assert 0.4 < spread / stated < 2.5


def test_sliced_wasserstein_of_a_shift(generator):
    """In d dimensions E (u . s)^2 = |s|^2 / d."""
    x = torch.randn(100, 4, generator=generator)
    sliced = sliced_wasserstein(x, x + 1, directions=20_000, generator=generator)
    assert sliced.value == pytest.approx(1, rel=0.02)


def test_mmd_of_gaussians_is_the_known_integral(generator):
    """For N(0, 1) and N(m, 1): MMD^2 = 2 k (1 - exp(-m^2 / (2 (h^2 + 2)))) with k = h / sqrt(h^2 + 2)."""
    n, m, h = 2000, 1.0, 1.5
    x, y = torch.randn(2, n, 1, generator=generator)
    expected = 2 * h / math.sqrt(h**2 + 2) * (1 - math.exp(-(m**2) / (2 * (h**2 + 2))))
    estimate = mmd(x, y + m, bandwidth=h, blocks=4)
    assert estimate.value == pytest.approx(expected, abs=4 * estimate.error)
    same = mmd(x, y, bandwidth=h, blocks=4)
    assert abs(same.value) < 4 * same.error


def test_straightness_and_energy_of_the_known_flow(generator):
    """N(0, 1) to N(2, 0.4^2), independent pairing: S = 0.1717, and energy = E|Z_1 - Z_0|^2 + S = W2^2 (1 + 0.0394)."""
    v = exact_velocity(OT(), Gaussian(torch.tensor([2.0]), 0.16))
    x_0 = torch.randn(20_000, 1, generator=generator)
    bend, energy = straightness(v, x_0), path_energy(v, x_0)
    assert bend.value == pytest.approx(0.1717, abs=4 * bend.error)
    assert energy.value == pytest.approx((4 + 0.36) * 1.0394, abs=4 * energy.error)


def test_straight_flows_have_no_bend(generator):
    x_0 = torch.randn(50, 1, 4, 4, generator=generator)
    assert straightness(lambda x, t: torch.ones_like(x), x_0).value == pytest.approx(0, abs=1e-20)


def test_two_samples_of_one_law_cannot_be_told_apart(generator):
    x, y = torch.randn(2, 400, 2, generator=generator)
    same = two_sample_accuracy(x, y)
    assert same.value == pytest.approx(0.5, abs=0.08)
    assert two_sample_accuracy(x, y + 3).value > 0.95


def test_nearest_distance_of_a_copy_is_zero(generator):
    x = torch.randn(20, 1, 8, 8, generator=generator)
    distance = nearest_distance(torch.cat([x[:3], x[:1] + 0.1]), x)
    torch.testing.assert_close(distance, torch.tensor([0, 0, 0, 0.8]), rtol=0, atol=1e-6)


def test_accuracy_counts():
    class Always(Classifier):
        def forward(self, x):
            return torch.tensor([[0.0, 1.0]]).expand(len(x), 2)

    estimate = accuracy(Always(num_classes=2), torch.zeros(4, 1, 8, 8), torch.tensor([1, 1, 1, 0]))
    assert estimate.value == 0.75
    assert estimate.error == pytest.approx(math.sqrt(0.75 * 0.25 / 4))


def test_estimate_of_draws():
    estimate = Estimate.of([1.0, 2.0, 3.0])
    assert estimate.value == 2
    assert estimate.error == pytest.approx(1 / math.sqrt(3))
    assert str(Estimate(0.30312, 0.0431)) == "0.303 +- 0.043"
    assert str(Estimate(2.9986, 0.0071)) == "2.9986 +- 0.0071"
    assert str(Estimate(134.2, 12.3)) == "134 +- 12"
    assert str(Estimate.of([0.5])) == "0.5"


def test_digits_are_what_they_say():
    train, test = digits("train"), digits("test")
    assert train.x.shape == (1437, 1, 8, 8)
    assert test.x.shape == (360, 1, 8, 8)
    assert train.x.dtype == torch.float32
    assert train.x.min() == -1
    assert train.x.max() == 1
    assert torch.equal(grey_levels(train.x), train.x)
    shares = torch.bincount(test.c, minlength=10)
    assert 33 <= int(shares.min()) <= int(shares.max()) <= 39
    assert float(nearest_distance(test.x, train.x).min()) > 0  # no picture lies in both parts


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wasserstein(torch.zeros(3, 2), torch.zeros(4, 2)), "x: expected the shape of y"),
        (lambda: wasserstein(torch.full((3, 2), torch.nan), torch.zeros(3, 2)), "x: expected finite numbers"),
        (lambda: wasserstein(torch.zeros(3, 2), torch.zeros(3, 2), blocks=2), "blocks: expected 1 to 1"),
        (lambda: wasserstein(torch.zeros(3, 2), torch.zeros(3, 2), blocks=0), "blocks: expected 1 to 1"),
        (lambda: two_sample_accuracy(torch.zeros(3, 2), torch.zeros(4, 2)), "generated: expected the shape of real"),
        (lambda: accuracy(Classifier(), torch.zeros(3, 1, 8, 8), torch.zeros(2, dtype=torch.long)), "c: expected one"),
        (lambda: digits("valid"), 'split: expected "train" or "test"'),
    ],
)
def test_bad_input(call, message, unchecked):
    with pytest.raises(InputError, match=message):
        call()
