"""Distances of features: the closed form of Gaussians, scipy's matrix root, the definitions with their double sums."""

import math

import pytest
import torch
from scipy.linalg import sqrtm

from flowlib.errors import InputError
from flowlib.evaluation import frechet_distance, kernel_distance, precision_recall

pytestmark = pytest.mark.usefixtures("float64")


def features(n, d, generator, *, shift=0.0, rank=None):
    """Correlated features with a mean, of full rank or less."""
    x = torch.randn(n, rank or d, generator=generator)
    return x @ torch.randn(rank or d, d, generator=torch.Generator().manual_seed(1)) / math.sqrt(d) + shift


@pytest.mark.parametrize(("n", "d", "rank"), [(500, 1, None), (500, 7, None), (300, 20, 5), (10, 30, None)])
def test_frechet_against_scipys_root(n, d, rank, generator):
    """Also where the covariances are singular: fewer directions, or fewer samples, than features."""
    x, y = features(n, d, generator, rank=rank), 1.5 * features(2 * n, d, generator, shift=0.3)
    c_x, c_y = (u.T.cov().reshape(d, d) for u in (x, y))
    cross = torch.as_tensor(sqrtm((c_x @ c_y).numpy() + 1e-14 * torch.eye(d).numpy())).real.trace()
    expected = float((x.mean(0) - y.mean(0)).square().sum() + c_x.trace() + c_y.trace() - 2 * cross)
    assert frechet_distance(x, y).value == pytest.approx(expected, rel=1e-4)
    assert frechet_distance(y, x).value == pytest.approx(frechet_distance(x, y).value, rel=1e-8)


def test_frechet_of_known_gaussians(generator):
    """N(0, diag(a^2)) and N(m, diag(b^2)): |m|^2 + sum (a - b)^2, met exactly by samples with exactly these moments."""
    a, b, m = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([1.5, 0.0, 0.5]), torch.tensor([0.0, 1.0, -2.0])
    white = torch.randn(400, 3, generator=generator)
    white = white - white.mean(0)
    white = white @ torch.linalg.inv(torch.linalg.cholesky(white.T.cov())).T
    assert frechet_distance(a * white, m + b * white).value == pytest.approx(5 + 0.25 + 4, rel=1e-10)


def test_frechet_of_a_sample_with_itself_is_zero_and_of_a_shift_its_square(generator):
    x = features(200, 5, generator)
    assert frechet_distance(x, x).value == pytest.approx(0, abs=1e-10)
    assert frechet_distance(x, x + 2.0).value == pytest.approx(20)


def test_frechet_has_a_floor_that_falls_as_one_over_n(generator):
    """Two samples of N(0, I_d): 2 d / n of the means and d (d + 1) / (2 n) of the covariances, where n >> d."""
    d = 8
    for n in (200, 800):
        floor = frechet_distance(*torch.randn(2, 20 * n, d, generator=generator), blocks=20)
        assert floor.value == pytest.approx(d * (d + 5) / (2 * n), rel=0.08)
        assert floor.error < 0.1 * floor.value


@pytest.mark.parametrize("d", [1, 6])
def test_kernel_distance_is_its_definition(d, generator):
    x, y = features(13, d, generator), features(17, d, generator, shift=0.4)

    def k(a, b):
        return (float(a @ b) / d + 1) ** 3

    def within(u):
        return sum(k(u[i], u[j]) for i in range(len(u)) for j in range(len(u)) if i != j) / (len(u) * (len(u) - 1))

    expected = within(x) + within(y) - 2 * sum(k(a, b) for a in x for b in y) / (len(x) * len(y))
    assert kernel_distance(x, y).value == pytest.approx(expected, rel=1e-10)


def test_kernel_distance_is_unbiased_where_frechet_is_not(generator):
    x, y = torch.randn(2, 4000, 4, generator=generator)
    same = kernel_distance(x, y, blocks=100)
    assert abs(same.value) < 3 * same.error
    biased = frechet_distance(x, y, blocks=100)
    assert biased.value > 10 * biased.error


def test_precision_and_recall_are_their_definition(generator):
    real, generated, k = features(30, 2, generator), features(40, 2, generator, shift=0.5), 3

    def covered(x, centres):
        radius = [sorted(float((c - o).norm()) for o in centres)[k] for c in centres]  # the 0th is the centre itself
        return sum(any(float((u - c).norm()) <= r for c, r in zip(centres, radius, strict=True)) for u in x) / len(x)

    precision, recall = precision_recall(real, generated, k=k)
    assert precision.value == pytest.approx(covered(generated, real))
    assert recall.value == pytest.approx(covered(real, generated))
    assert precision.error == pytest.approx(math.sqrt(precision.value * (1 - precision.value) / 40))


def test_precision_sees_poor_samples_and_recall_missing_ones(generator):
    real = torch.cat([torch.randn(600, 2, generator=generator) + c for c in (torch.zeros(2), torch.tensor([20.0, 0]))])
    one_mode = torch.randn(600, 2, generator=generator)
    precision, recall = precision_recall(real, one_mode)
    assert precision.value > 0.9
    assert recall.value == pytest.approx(0.5, abs=0.05)
    with_rubbish = torch.cat([real[:600] + 0.01, torch.full((600, 2), 50.0) + one_mode])
    precision, recall = precision_recall(real, with_rubbish)
    assert precision.value == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("measure", [frechet_distance, kernel_distance, precision_recall])
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.zeros(4, 3), torch.zeros(4, 2), r"y: expected features \(M, 3\), as x has, got shapes \(4, 3\) and"),
        (torch.zeros(4, 1, 8, 8), torch.zeros(4, 1, 8, 8), r"x.flatten\(1\) makes features of pictures"),
        (torch.full((4, 3), torch.nan), torch.zeros(4, 3), "x: expected finite numbers"),
        (torch.zeros(1, 3), torch.zeros(4, 3), "blocks: expected 1 to 0"),
    ],
)
def test_bad_features(measure, x, y, message, unchecked):
    with pytest.raises(InputError, match=message):
        measure(x, y)


def test_bad_k(unchecked):
    with pytest.raises(InputError, match="k: expected 1 to 3, neighbours within each set, got 4"):
        precision_recall(torch.zeros(4, 2), torch.zeros(9, 2), k=4)
