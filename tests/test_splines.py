"""Rational-quadratic splines: smooth and increasing, the identity in the tails, safe in float32, zuko's, bad input."""

import pytest
import torch
from laws import derivative_matches

from flowlib.bijections import RationalQuadraticSpline, rational_quadratic, rational_quadratic_inverse
from flowlib.errors import InputError

pytestmark = pytest.mark.usefixtures("float64")
SPLINE = RationalQuadraticSpline(bins=5, bound=2.0)


def random_knots(generator, shape=(), bins=6):
    steps = torch.rand(2, bins + 1, *shape, generator=generator) + 0.05
    slopes = torch.rand(1, bins + 1, *shape, generator=generator) * 3 + 0.05
    return torch.cat([steps.cumsum(1) - 2, slopes])


def test_spline_is_a_smooth_increasing_map(generator):
    theta = torch.randn(SPLINE.num_params, 1, generator=generator)
    x = torch.linspace(-3, 3, 2001)
    theta = theta.expand(-1, len(x))
    z, _ = SPLINE.forward(x, theta)
    assert bool((z.diff() > 0).all())
    derivative_matches(lambda x: SPLINE.forward(x, theta)[0], lambda x: SPLINE.forward(x, theta)[1].exp(), x)
    # The derivative is continuous at the knots too, the ends among them.
    x_k = SPLINE.knots(theta)[0, :, 0]
    left, right = (SPLINE.forward(x_k + h, theta[:, : len(x_k)])[1] for h in (-1e-9, 1e-9))
    torch.testing.assert_close(left, right, rtol=0, atol=1e-5)


def test_spline_is_the_identity_beyond_its_ends(generator):
    x = torch.tensor([-1e6, -7.0, -2.0, 2.0, 2.0 + 1e-9, 7.0, 1e6])
    theta = torch.randn(SPLINE.num_params, len(x), generator=generator)
    for f in (SPLINE.forward, SPLINE.inverse):
        z, log_slope = f(x, theta)
        torch.testing.assert_close(z, x, rtol=0, atol=1e-12)
        torch.testing.assert_close(log_slope, torch.zeros_like(x), rtol=0, atol=1e-12)


def test_spline_goes_through_its_knots(generator):
    theta = torch.randn(SPLINE.num_params, 1, generator=generator)
    x_k, y_k, d_k = SPLINE.knots(theta)[..., 0]
    assert (float(x_k[0]), float(y_k[0]), float(d_k[0]), float(d_k[-1])) == (-2, -2, 1, 1)
    theta = theta.expand(-1, len(x_k))
    z, log_slope = SPLINE.forward(x_k, theta)
    torch.testing.assert_close(z, y_k)
    torch.testing.assert_close(log_slope.exp(), d_k)
    x, minus_log_slope = SPLINE.inverse(y_k, theta)
    torch.testing.assert_close(x, x_k)
    torch.testing.assert_close(minus_log_slope.exp(), 1 / d_k)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_spline_gradients_are_finite_at_knots_and_in_the_tails(direction, generator):
    theta = torch.randn(SPLINE.num_params, 1, generator=generator)
    inner = SPLINE.knots(theta)[int(direction == "inverse"), :, 0]
    x = torch.cat([inner, torch.tensor([-1e5, 1e5])]).requires_grad_()
    theta = theta.repeat(1, len(x)).requires_grad_()
    z, log_slope = getattr(SPLINE, direction)(x, theta)
    for gradient in torch.autograd.grad(z.sum() + log_slope.sum(), (x, theta)):
        assert bool(gradient.isfinite().all())


def test_spline_of_zeros_is_the_identity():
    x = torch.linspace(-3, 3, 50)
    z, log_slope = SPLINE.forward(x, torch.zeros(SPLINE.num_params, 50))
    torch.testing.assert_close(z, x)
    torch.testing.assert_close(log_slope, torch.zeros(50), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [1.0, 10.0, 1000.0])
def test_spline_survives_wild_parameters_in_single_precision(size, generator):
    """Where the slope is e^-l, the inverse is good to about e^l times the rounding of z; it is never NaN."""
    theta = size * torch.randn(SPLINE.num_params, 20_000, generator=generator, dtype=torch.float32)
    x = 2 * torch.rand(20_000, generator=generator, dtype=torch.float32) - 1
    z, log_slope = SPLINE.forward(x, theta)
    back, minus_log_slope = SPLINE.inverse(z, theta)
    for y in (z, log_slope, back, minus_log_slope):
        assert bool(y.isfinite().all())
    if size == 1.0:
        assert bool(((back - x).abs() < 1e-5 * (1 + (-log_slope).exp())).all())


def test_spline_is_zukos(generator):
    """The same knots in zuko: value, inverse and log-slope, in the tails too."""
    transforms = pytest.importorskip("zuko.transforms")
    widths, heights, slopes = torch.randn(23, 200, generator=generator).split([8, 8, 7])
    theirs = transforms.MonotonicRQSTransform(widths.T, heights.T, slopes.T, bound=3.0)
    knots = torch.stack([theirs.horizontal.T, theirs.vertical.T, theirs.derivatives.T])
    x = 2 * torch.randn(200, generator=generator)
    assert bool((x.abs() > 3).any())
    z, log_slope = rational_quadratic(x, knots)
    expected_z, expected_log_slope = theirs.call_and_ladj(x)
    torch.testing.assert_close(z, expected_z, rtol=0, atol=1e-10)
    torch.testing.assert_close(log_slope, expected_log_slope, rtol=0, atol=1e-9)
    back, _ = rational_quadratic_inverse(z, knots)
    torch.testing.assert_close(back, theirs.inv(z), rtol=0, atol=1e-9)


def test_spline_through_given_knots_goes_on_straight(generator):
    knots = random_knots(generator)
    x = torch.linspace(float(knots[0, 0]) - 1, float(knots[0, -1]) + 1, 301)
    z, log_slope = rational_quadratic(x, knots)
    torch.testing.assert_close(z[0], knots[1, 0] - knots[2, 0])
    torch.testing.assert_close(z[-1], knots[1, -1] + knots[2, -1])
    derivative_matches(lambda x: rational_quadratic(x, knots)[0], lambda x: rational_quadratic(x, knots)[1].exp(), x)
    back, minus_log_slope = rational_quadratic_inverse(z, knots)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-10)
    torch.testing.assert_close(minus_log_slope, -log_slope, rtol=0, atol=1e-8)


@pytest.mark.parametrize("f", [rational_quadratic, rational_quadratic_inverse])
def test_bad_knots(f, unchecked):
    good = torch.tensor([[0.0, 1.0, 2.0], [0.0, 2.0, 3.0], [1.0, 1.0, 1.0]])
    x = torch.zeros(4)
    f(x, good)
    for row in (0, 1):
        bad = good.clone()
        bad[row] = torch.tensor([0.0, 2.0, 1.0])
        with pytest.raises(InputError, match="knots: expected x_k and y_k that increase with k, got unsorted knots"):
            f(x, bad)
    bad = good.clone()
    bad[2, 1] = -1
    with pytest.raises(InputError, match="knots: expected positive slopes, got a slope of -1"):
        f(x, bad)
    with pytest.raises(InputError, match="knots: expected x_k and y_k that increase"):
        f(x, torch.full((3, 3), torch.nan))
    with pytest.raises(InputError, match=r"knots: expected shape \(3, K \+ 1\)"):
        f(x, good.T[None])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bins": 0}, "bins: expected 1 to 999"),
        ({"bins": 1000}, "bins: expected 1 to 999"),
        ({"bound": 0.0}, "bound: expected a positive number"),
    ],
)
def test_bad_spline(options, message):
    with pytest.raises(InputError, match=message):
        RationalQuadraticSpline(**options)


def test_one_bin_is_enough(generator):
    spline = RationalQuadraticSpline(bins=1, bound=2.0)
    x = torch.linspace(-3, 3, 7)
    torch.testing.assert_close(
        spline.forward(x, torch.randn(2, 7, generator=generator))[0], x
    )  # both ends and both slopes are fixed
