"""Guidance by its definition, on every channel, and what commutes with conversion."""

import pytest
import torch

from flowlib.errors import InputError
from flowlib.paths import VP
from flowlib.sampling import guide, rescale

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
        (lambda: rescale(torch.zeros(1, 2), torch.zeros(1, 2), 2.0), "phi: expected 0 to 1"),
    ],
)
def test_bad_input(call, message, unchecked):
    with pytest.raises(InputError, match=message):
        call()
