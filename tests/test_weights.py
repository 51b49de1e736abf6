"""Weights: factors between the errors of the four predictions, and what papers state in them."""

import math

import pytest
import torch
from torch import nn

from flowlib.errors import InputError
from flowlib.objectives import (
    SD3_WEIGHTS,
    Uniform,
    error_ratio,
    flow_matching,
    min_snr,
    same_loss,
    truncated_snr,
    unified,
)
from flowlib.paths import OT, VE, VP, Cosine

pytestmark = pytest.mark.usefixtures("float64")
PATHS = (OT(), OT(0.1), VP(), VE(0.1, 10.0), Cosine())
QUANTITIES = ("velocity", "data", "noise", "score")
by_path = pytest.mark.parametrize("path", PATHS, ids=str)
T = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)


def factors(path, t):
    """|error|^2 of each quantity per |error|^2 of the data, from the determinant D: no conversion used."""
    alpha, sigma = path.alpha(t), path.sigma(t)
    det = path.d_alpha(t) * sigma - alpha * path.d_sigma(t)
    return {
        "data": torch.ones_like(t),
        "noise": (alpha / sigma) ** 2,
        "velocity": (det / sigma) ** 2,
        "score": alpha**2 / sigma**4,
    }


class Inside(Uniform):
    """Times away from the ends, where every conversion is well conditioned."""

    def sample(self, n, generator=None):
        return 0.05 + 0.9 * torch.rand(n, generator=generator)


def constant(x) -> None:
    torch.testing.assert_close(x, x[:1].expand_as(x), rtol=1e-9, atol=0)


@by_path
@pytest.mark.parametrize("have", QUANTITIES)
@pytest.mark.parametrize("want", QUANTITIES)
def test_error_ratio_is_that_of_the_determinants(path, have, want):
    expected = factors(path, T)[want] / factors(path, T)[have]
    torch.testing.assert_close(error_ratio(path, T, have=have, want=want), expected)


def test_error_ratio_on_the_straight_path():
    torch.testing.assert_close(error_ratio(OT(), T, have="data", want="velocity"), 1 / (1 - T) ** 2)
    torch.testing.assert_close(error_ratio(OT(), T, have="noise", want="velocity"), 1 / T**2)
    snr = OT().snr(T)
    torch.testing.assert_close(error_ratio(OT(), T, have="data", want="velocity"), (1 + snr.sqrt()) ** 2)


@by_path
@pytest.mark.parametrize("predict", ["data", "noise", "score"])
def test_predictions_share_a_gradient_under_the_matching_weight(path, predict, generator):
    """A velocity network and what it says of another quantity: the same loss, the same gradient."""
    x_0, x_1 = torch.randn(2, 64, 2, generator=generator)
    field = nn.Linear(3, 2)

    def v(x, t, c=None):
        return field(torch.cat([x, t[:, None]], 1))

    def other(x, t, c=None):
        return path.convert(v(x, t), x, t, have="velocity", want=predict)

    inside = Inside()
    losses = []
    for net, numbers in (
        (v, {}),
        (other, {"predict": predict, "weight": same_loss("velocity", predict=predict, path=path)}),
        (other, {"predict": predict}),
    ):
        seed = torch.Generator().manual_seed(1)
        loss = flow_matching(net, x_0, x_1, path=path, timesteps=inside, generator=seed, **numbers)
        losses.append((loss.detach(), *torch.autograd.grad(loss, tuple(field.parameters()))))
    for a, b in zip(losses[0], losses[1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-10)
    assert not torch.allclose(losses[0][0], losses[2][0], rtol=1e-2)


@by_path
@pytest.mark.parametrize("predict", QUANTITIES)
def test_min_snr_and_truncated_snr(path, predict):
    """In units of the data's error they are min(SNR, gamma) and max(SNR, 1), whatever is predicted."""
    ratio = factors(path, T)[predict]
    torch.testing.assert_close(min_snr(5.0, predict=predict, path=path)(T) * ratio, path.snr(T).clamp(max=5.0))
    torch.testing.assert_close(truncated_snr(predict=predict, path=path)(T) * ratio, path.snr(T).clamp(min=1.0))


def test_min_snr_of_each_prediction():
    """The published formulas, and the one of our velocity, which is not min / (SNR + 1)."""
    snr = OT().snr(T)
    low = snr.clamp(max=5.0)
    torch.testing.assert_close(min_snr(predict="data")(T), low)
    torch.testing.assert_close(min_snr(predict="noise")(T), low / snr)
    torch.testing.assert_close(min_snr(predict="velocity")(T), low / (1 + snr.sqrt()) ** 2)
    assert float((min_snr()(T) / (low / (snr + 1)) - 1).abs().max()) > 0.4


def test_v_prediction_is_another_velocity():
    """On the cosine path v = -(pi / 2)(alpha eps - sigma x_1): there min / (SNR + 1) holds, up to (2 / pi)^2."""
    snr = Cosine().snr(T)
    published = snr.clamp(max=5.0) / (snr + 1)
    torch.testing.assert_close(min_snr(path=Cosine())(T), (2 / math.pi) ** 2 * published)


@by_path
def test_the_snr_weight_is_the_noise_loss(path):
    torch.testing.assert_close(same_loss("noise", predict="data", path=path)(T), path.snr(T))


@by_path
@pytest.mark.parametrize("name", SD3_WEIGHTS)
def test_a_unified_loss_does_not_depend_on_the_path(path, name):
    """Where two paths have the same SNR, weight times d t / d lam is the same, for the error of the noise."""
    weight = unified(SD3_WEIGHTS[name], predict="noise", path=path)
    h, lam = 1e-5, path.snr(T).log()
    rate = (path.snr(T + h).log() - path.snr(T - h).log()) / (2 * h)
    torch.testing.assert_close(2 * weight(T) / rate, SD3_WEIGHTS[name](lam), rtol=1e-6, atol=0)


def test_sd3_table_up_to_constants():
    """Each row's w(lam), as derived from the loss that the paper trains with: a constant ratio, not an equal number."""
    velocity = unified(SD3_WEIGHTS["straight path, velocity loss"])(T)
    torch.testing.assert_close(velocity, torch.ones_like(T))  # the plain loss of rectified flow
    torch.testing.assert_close(
        unified(lambda lam: torch.exp(-0.5 * lam), predict="noise")(T),
        error_ratio(OT(), T, have="noise", want="velocity"),
    )
    constant(unified(SD3_WEIGHTS["cosine path, noise loss"], predict="noise", path=Cosine())(T))
    constant(unified(SD3_WEIGHTS["cosine path, v-prediction loss"], predict="velocity", path=Cosine())(T))


def test_sd3_table_printed_forms():
    """Equation by equation in s = 1 - t: w_RF = s / (1 - s)."""
    s, lam = 1 - T, OT().snr(T).log()
    torch.testing.assert_close(SD3_WEIGHTS["straight path, velocity loss"](lam), s / (1 - s))
    torch.testing.assert_close(
        SD3_WEIGHTS["cosine path, noise loss"](lam), 2 / (torch.exp(lam / 2) + torch.exp(-lam / 2))
    )


def test_elbo_weight_on_the_velocity():
    """formulas: the flow-matching loss times alpha / (sigma D), on the straight path t / (1 - t)."""
    torch.testing.assert_close(unified(SD3_WEIGHTS["elbo"])(T), T / (1 - T))


def test_edm_weight_is_edms_loss():
    """lambda(sigma) p(ln sigma) d ln sigma on the error of the data, lambda = (sigma^2 + .25) / (.5 sigma)^2."""
    sigma = (1 - T) / T
    density = torch.exp(-0.5 * ((sigma.log() + 1.2) / 1.2) ** 2) / (1.2 * math.sqrt(2 * math.pi))
    by_t = density / (T * (1 - T))  # |d ln sigma / dt| on the straight path
    edm = (sigma**2 + 0.25) / (0.5 * sigma) ** 2 * by_t
    constant(unified(SD3_WEIGHTS["edm"], predict="data")(T) / edm)


@by_path
@pytest.mark.parametrize("predict", QUANTITIES)
def test_weights_are_finite_at_the_ends(path, predict):
    """Zero over zero at t = 0 and t = 1 gave NaN in published code; here the weight a little inside is used."""
    ends = torch.tensor([0.0, 1.0])
    for weight in (same_loss("velocity", predict=predict, path=path), min_snr(predict=predict, path=path)):
        for dtype in (torch.float32, torch.float64):
            assert bool(weight(ends.to(dtype)).isfinite().all())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: min_snr(0.0), "gamma: expected a positive number, got 0.0"),
        (lambda: error_ratio(OT(), torch.tensor([0.0]), have="noise", want="data"), "t: expected t where noise"),
        (lambda: error_ratio(OT(), torch.tensor([0.5]), have="epsilon", want="data"), "have/want: expected velocity"),
    ],
)
def test_bad_input(call, message, unchecked):
    with pytest.raises(InputError, match=message):
        call()
