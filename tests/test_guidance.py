"""Guidance by its definition, on every channel, and what commutes with conversion."""

import pytest
import torch

from flowlib.densities import Gaussian, GaussianMixture
from flowlib.errors import InputError
from flowlib.models import Text
from flowlib.paths import OT, VP, exact_velocity
from flowlib.sampling import guide, rescale, sample
from flowlib.solvers import RK4

WORDS = Text(torch.zeros(1, 3, 4), torch.zeros(1, 4))

pytestmark = pytest.mark.usefixtures("float64")


def labelled(x, t, c):
    """A field of four channels in which every one depends on the condition."""
    gain = torch.tensor([1.0, 2.0, -1.0, 0.5])[:, None, None]
    return x * (1 + c.to(x)[:, None, None, None]) * gain + t[:, None, None, None]


def test_guidance_is_linear_on_every_channel(generator):
    x, t, c = torch.randn(3, 4, 2, 2, generator=generator), torch.full((3,), 0.4), torch.tensor([0, 1, 2])
    v_c, v_u = labelled(x, t, c), labelled(x, t, torch.full((3,), 9))
    torch.testing.assert_close(guide(labelled, 1.0, null=9)(x, t, c), v_c)
    torch.testing.assert_close(guide(labelled, 0.0, null=9)(x, t, c), v_u)
    torch.testing.assert_close(guide(labelled, 3.5, null=9)(x, t, c), -2.5 * v_u + 3.5 * v_c)
    torch.testing.assert_close(guide(labelled, 3.5, null=torch.full((3,), 9))(x, t, c), -2.5 * v_u + 3.5 * v_c)


def test_guided_gaussians_have_the_power_of_their_width():
    """Of data N(c, s^2) with c ~ N(0, 1 - s^2), guided samples have deviation s^w; the tilted law has another."""
    s, w = 0.5, 3.0
    told, untold = (exact_velocity(OT(), Gaussian(torch.tensor([m]), k**2)) for m, k in ((1.5, s), (0.0, 1.0)))

    def v(x, t, c):
        return torch.where(c[:, None] == 0, told(x, t), untold(x, t))

    ends = sample(guide(v, w, null=1), torch.tensor([[0.0], [1.0]]), torch.zeros(2).long(), steps=400, method=RK4)
    slope = (ends[1] - ends[0]).item()  # the guided flow is affine: its slope is the deviation
    assert slope == pytest.approx(s**w, rel=1e-6)
    assert abs(slope - (w / s**2 + 1 - w) ** -0.5) > 0.1


def test_guidance_keeps_what_all_classes_share(generator):
    """If A x = 0 for all data, A v = -A x / (1 - t) for every class: guided on all channels too, but not on three."""
    points = torch.randn(2, 30, 3, generator=generator) + torch.tensor([1.0, -1.0])[:, None, None]
    points = torch.cat([points, points.mean(2, keepdim=True)], 2)
    one, both = (exact_velocity(OT(), GaussianMixture(y, 1e-20)) for y in (points[0], points.flatten(0, 1)))

    def v(x, t, c):
        return torch.where(c[:, None] == 0, one(x, t), both(x, t))

    x, t, c = torch.randn(50, 4, generator=generator), torch.full((50,), 0.3), torch.zeros(50).long()
    relation = torch.tensor([1.0, 1.0, 1.0, -3.0])
    guided = guide(v, 4.0, null=1)(x, t, c)
    torch.testing.assert_close(guided @ relation, -x @ relation / 0.7)
    on_three = torch.cat([guided[:, :3], v(x, t, c)[:, 3:]], 1)
    assert float((on_three @ relation + x @ relation / 0.7).abs().mean()) > 0.1


def test_guidance_in_an_interval_leaves_other_times_alone(generator):
    x, t, c = torch.randn(3, 4, 2, 2, generator=generator), torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0, 1, 2])
    everywhere, v_c = guide(labelled, 3.0, null=9)(x, t, c), labelled(x, t, c)
    inside = guide(labelled, 3.0, null=9, interval=(0.3, 0.5))(x, t, c)
    torch.testing.assert_close(inside, torch.stack([v_c[0], everywhere[1], v_c[2]]))


def test_guidance_costs_nothing_where_it_is_off():
    calls = []

    def v(x, t, c):
        calls.append(c)
        return x

    x, c = torch.zeros(2, 1), torch.zeros(2, dtype=torch.long)
    guide(v, 3.0, null=9, interval=(0.3, 0.5))(x, torch.full((2,), 0.9), c)
    assert len(calls) == 1
    guide(v, 3.0, null=9, interval=(0.3, 0.5))(x, torch.full((2,), 0.4), c)
    assert [u.tolist() for u in calls[1:]] == [[0, 0], [9, 9]]


def test_autoguidance_asks_the_weak_network_with_the_same_condition(generator):
    x, t, c = torch.randn(3, 4, 2, 2, generator=generator), torch.full((3,), 0.4), torch.tensor([0, 1, 2])

    def weak(x, t, c):
        return 0.5 * labelled(x, t, c)

    torch.testing.assert_close(guide(labelled, 2.0, weak=weak)(x, t, c), 1.5 * labelled(x, t, c))


def guidance_in_both_ways(path, x, t, join, generator):
    """``join(v_u, v_c)`` made on velocities, and made on noise and then converted."""
    v_u, v_c = torch.randn(2, *x.shape, generator=generator)
    eps_u, eps_c = (path.convert(v, x, t, have="velocity", want="noise") for v in (v_u, v_c))
    return join(v_u, v_c), path.convert(join(eps_u, eps_c), x, t, have="noise", want="velocity")


def test_guidance_commutes_with_conversion_and_rescale_does_not(generator):
    path, x, t = VP(), torch.randn(4, 3, 2, 2, generator=generator), torch.tensor([0.2, 0.4, 0.6, 0.8])

    def guided(u, c):
        return u + 3 * (c - u)

    one, other = guidance_in_both_ways(path, x, t, guided, generator)
    torch.testing.assert_close(one, other)
    one, other = guidance_in_both_ways(path, x, t, lambda u, c: rescale(guided(u, c), c), generator)
    assert float((one - other).abs().mean()) > 0.1


def test_rescale_restores_the_contrast_of_each_sample(generator):
    c, g = torch.randn(4, 3, 5, 5, generator=generator), 4 * torch.randn(4, 3, 5, 5, generator=generator)
    torch.testing.assert_close(rescale(g, c, 1.0).flatten(1).std(1), c.flatten(1).std(1))
    torch.testing.assert_close(rescale(g, c, 0.0), g)
    torch.testing.assert_close(rescale(g, c, 0.7), 0.7 * rescale(g, c, 1.0) + 0.3 * g)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: guide(labelled, 2.0), "null, weak: expected one of the two, got neither"),
        (lambda: guide(labelled, 2.0, null=9, weak=labelled), "got both"),
        (lambda: guide(labelled, 2.0, null=9, interval=(0.5, 0.2)), "interval: expected two times"),
        (lambda: guide(labelled, 2.0, null=9)(torch.zeros(1, 2), torch.zeros(1), None), "c: expected a condition"),
        (
            lambda: guide(lambda x, t, c: x, 2.0, null=9)(torch.zeros(1, 2), torch.zeros(1), WORDS),
            "null: expected a Text, like c, got 9",
        ),
        (lambda: rescale(torch.zeros(1, 2), torch.zeros(1, 2), 2.0), "phi: expected 0 to 1"),
    ],
)
def test_bad_input(call, message, unchecked):
    with pytest.raises(InputError, match=message):
        call()
