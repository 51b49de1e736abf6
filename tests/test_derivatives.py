"""Derivatives of fields: against the whole Jacobian, finite differences, and the variance that theory predicts."""

import pytest
import torch
from laws import jacobian_trace
from torch import nn

from flowlib.derivatives import divergence, hutchinson, jvp
from flowlib.errors import InputError

pytestmark = pytest.mark.usefixtures("float64")


def convolution(generator) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 3, 3, padding=1))


def test_divergence_is_the_trace_of_the_jacobian(generator):
    f, x = convolution(generator), torch.randn(2, 3, 4, 4, generator=generator)
    value, div = divergence(f, x)
    torch.testing.assert_close(value, f(x))
    torch.testing.assert_close(div, jacobian_trace(f, x))


def test_divergence_of_a_linear_field():
    a = torch.tensor([[1.0, 2.0], [3.0, -4.0]])
    _, div = divergence(lambda x: x @ a.T, torch.randn(5, 2))
    torch.testing.assert_close(div, torch.full((5,), -3.0))


def test_divergence_can_be_differentiated_again():
    scale = torch.tensor(2.0, requires_grad=True)
    _, div = divergence(lambda x: scale * x**2, torch.tensor([[1.0, 3.0]]))
    (gradient,) = torch.autograd.grad(div.sum(), scale)
    assert float(gradient) == 2 * (1 + 3)  # div = 2 scale (x + y)


def test_divergence_without_gradients_keeps_no_graph():
    with torch.no_grad():
        value, div = divergence(torch.sin, torch.randn(3, 2))
    assert not value.requires_grad
    assert not div.requires_grad


def test_hutchinson_is_unbiased_with_the_known_variance(generator):
    """On a linear field: mean = trace; variance 2 (|S|^2 - sum S_ii^2) for signs, 2 |S|^2 for Gaussian numbers."""
    a = torch.randn(6, 6, generator=generator)
    s = (a + a.T) / 2
    n = 40_000
    x = torch.zeros(n, 6)
    gaussian = torch.randn(n, 6, generator=generator)
    for eps, variance in (
        (gaussian.sign(), 2 * (s.square().sum() - s.diagonal().square().sum())),
        (gaussian, 2 * s.square().sum()),
    ):
        _, estimate = hutchinson(lambda x: x @ a.T, x, eps)
        assert float(estimate.mean()) == pytest.approx(float(a.trace()), abs=4 * float((variance / n).sqrt()))
        assert float(estimate.var()) == pytest.approx(float(variance), rel=0.1)


def test_jvp_is_the_directional_difference(generator):
    f = convolution(generator)
    x, dx = torch.randn(2, 2, 3, 4, 4, generator=generator)
    value, tangent = jvp(f, x, dx)
    h = 1e-6
    torch.testing.assert_close(value, f(x))
    torch.testing.assert_close(tangent, (f(x + h * dx) - f(x - h * dx)) / (2 * h), rtol=1e-6, atol=1e-8)


def test_bad_input(unchecked):
    with pytest.raises(InputError, match="dx: expected the shape of x"):
        jvp(torch.sin, torch.zeros(2, 2), torch.zeros(2, 1))
    with pytest.raises(InputError, match="eps: expected the shape of x"):
        hutchinson(torch.sin, torch.zeros(2, 2), torch.zeros(2, 1))
