"""Bijections: both directions and the log-determinant of every one, deep stacks, first batches, bad input."""

import pytest
import torch
from laws import is_inverse, logdet_matches, reaches_every_parameter
from torch import nn

from flowlib.bijections import (
    Affine,
    AffineCoupling,
    Autoregressive,
    Compose,
    Coupling,
    Inverse,
    InvertibleLinear,
    Permutation,
    RationalQuadraticSpline,
    ScaleShift,
    Split,
    Squeeze,
)
from flowlib.errors import InputError
from flowlib.flows import MAF, Glow, RealNVP, SplineFlow
from flowlib.layers import MADE, ConditionedMLP

pytestmark = pytest.mark.usefixtures("float64")
SPLINE = RationalQuadraticSpline(bins=5, bound=2.0)


class Pixels(nn.Module):
    """A conditioner of pictures that knows no condition."""

    def __init__(self, channels, out):
        super().__init__()
        self.net = nn.Conv2d(channels, out, 3, padding=1)

    def forward(self, x, c=None):
        return self.net(x)


# Each takes the number of features of the condition. The spline's bound of 2 leaves part of the samples in the tails.
CONDITIONED = {
    "affine coupling": (lambda k: AffineCoupling(ConditionedMLP(3, 4, width=16, condition=k)), (5,)),
    "affine coupling, swapped": (
        lambda k: AffineCoupling(ConditionedMLP(2, 6, width=16, condition=k), swap=True),
        (5,),
    ),
    "spline coupling": (lambda k: Coupling(ConditionedMLP(2, 28, width=16, condition=k), SPLINE), (4,)),
    "autoregressive affine": (lambda k: Autoregressive(MADE(4, 2, width=16, condition=k), ScaleShift()), (4,)),
    "autoregressive spline": (lambda k: Autoregressive(MADE(4, 14, width=16, condition=k), SPLINE), (4,)),
    "autoregressive picture": (lambda k: Autoregressive(MADE(12, 2, width=24, condition=k), ScaleShift()), (1, 3, 4)),
    "inverse autoregressive": (lambda k: Inverse(Autoregressive(MADE(3, 14, width=16, condition=k), SPLINE)), (3,)),
    "RealNVP": (lambda k: RealNVP(3, layers=4, width=16, condition=k).bijection, (3,)),
    "MAF": (lambda k: MAF(3, layers=3, width=16, condition=k).bijection, (3,)),
    "spline flow": (lambda k: SplineFlow(3, layers=3, width=16, condition=k).bijection, (3,)),
    "autoregressive spline flow": (
        lambda k: SplineFlow(3, layers=3, autoregressive=True, width=16, condition=k).bijection,
        (3,),
    ),
    "Glow": (lambda k: Glow((1, 4, 8), levels=2, steps=1, width=8, condition=k).bijection, (1, 4, 8)),
}
PLAIN = {
    "affine": (lambda k: Affine(3), (3,)),
    "affine picture": (lambda k: Affine(2), (2, 3, 4)),
    "permutation": (lambda k: Permutation([2, 0, 3, 1]), (4,)),
    "permuted channels": (lambda k: Permutation([1, 2, 0]), (3, 2, 4)),
    "linear": (lambda k: InvertibleLinear(4), (4,)),
    "1x1 convolution": (lambda k: InvertibleLinear(3), (3, 2, 4)),
    "picture coupling": (lambda k: AffineCoupling(Pixels(2, 4)), (4, 2, 3)),
    "picture coupling, swapped": (lambda k: AffineCoupling(Pixels(1, 4), swap=True), (3, 2, 3)),
    "picture spline": (lambda k: Coupling(Pixels(1, 14), SPLINE), (2, 2, 3)),
    "squeeze": (lambda k: Squeeze(), (2, 2, 4)),
    "split": (lambda k: Split(InvertibleLinear(2)), (4, 2, 3)),
    "composition": (
        lambda k: Compose([Squeeze(), InvertibleLinear(4), Split(Affine(2)), Inverse(Squeeze())]),
        (1, 2, 4),
    ),
}
FIXED = ("permutation", "permuted channels", "squeeze")  # nothing to learn
by_bijection = pytest.mark.parametrize("name", [*PLAIN, *CONDITIONED])
by_learned = pytest.mark.parametrize("name", [name for name in (*PLAIN, *CONDITIONED) if name not in FIXED])
by_conditioned = pytest.mark.parametrize("name", CONDITIONED)


def made(name, condition=0):
    """The bijection with random parameters (at their start many are the identity), a batch on each side of it."""
    make, event = (PLAIN | CONDITIONED)[name]
    torch.manual_seed(1)
    bijection = make(condition)
    for parameter in bijection.parameters():
        nn.init.normal_(parameter, std=0.3)
    x = torch.randn(4, *event)
    return bijection, x, torch.randn_like(bijection(x, features(4) if condition else None)[0])


def features(n):
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(2))


@by_bijection
def test_both_directions_undo_each_other(name):
    bijection, x, z = made(name)
    is_inverse(bijection, x, z)


@by_conditioned
@pytest.mark.parametrize("c", [features(4), torch.tensor([0, 2, 1, 2])], ids=["features", "labels"])
def test_both_directions_undo_each_other_under_a_condition(name, c):
    bijection, x, z = made(name, condition=3)
    is_inverse(bijection, x, z, c)


@by_bijection
def test_logdet_is_that_of_the_jacobian(name):
    bijection, x, z = made(name)
    logdet_matches(bijection.forward, x)
    logdet_matches(bijection.inverse, z)


@by_conditioned
def test_logdet_is_that_of_the_jacobian_under_a_condition(name):
    bijection, x, z = made(name, condition=3)
    logdet_matches(bijection.forward, x, features(4))
    logdet_matches(bijection.inverse, z, features(4))


@by_learned
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_gradients_reach_every_parameter(name, direction):
    bijection, x, z = made(name)
    y, logdet = getattr(bijection, direction)(x if direction == "forward" else z)
    reaches_every_parameter(y.square().sum() + logdet.sum(), bijection)


@by_conditioned
def test_gradients_reach_every_parameter_and_the_condition(name):
    bijection, x, _ = made(name, condition=3)
    c = features(4).requires_grad_()
    z, logdet = bijection(x, c)
    loss = z.square().sum() + logdet.sum()
    (gradient,) = torch.autograd.grad(loss, c, retain_graph=True)
    reaches_every_parameter(loss, bijection)
    assert bool((gradient != 0).any(1).all())


@by_conditioned
def test_a_label_is_one_of_its_features(name):
    bijection, x, _ = made(name, condition=3)
    c = torch.tensor([0, 2, 1, 2])
    torch.testing.assert_close(bijection(x, c), bijection(x, nn.functional.one_hot(c, 3).to(x)))


@by_bijection
def test_samples_do_not_mix(name):
    bijection, x, _ = made(name)
    z, logdet = bijection(x)
    z_0, logdet_0 = bijection(x[:1])
    torch.testing.assert_close(z[:1], z_0)
    torch.testing.assert_close(logdet[:1], logdet_0)


@by_bijection
def test_keeps_single_precision(name):
    bijection, x, _ = made(name)
    for y in bijection.float()(x.float()):
        assert y.dtype == torch.float32


@pytest.mark.parametrize("name", [n for n in CONDITIONED if n != "Glow"])
def test_starts_as_the_identity(name, generator):
    make, event = CONDITIONED[name]
    x = torch.randn(4, *event, generator=generator)
    z, logdet = make(0)(x)
    torch.testing.assert_close(z, x)
    torch.testing.assert_close(logdet, torch.zeros(4), rtol=0, atol=1e-12)


def test_inverse_autoregressive_flow_is_the_other_way_round(generator):
    """IAF samples in one pass what MAF evaluates in one pass."""
    calls = []
    conditioner = MADE(4, 2, width=16)
    conditioner.register_forward_hook(lambda *_: calls.append(1))
    maf = Autoregressive(conditioner, ScaleShift())
    x = torch.randn(3, 4, generator=generator)
    for step, passes in ((maf.forward, 1), (maf.inverse, 4), (Inverse(maf).forward, 4), (Inverse(maf).inverse, 1)):
        calls.clear()
        step(x)
        assert len(calls) == passes
    torch.testing.assert_close(Inverse(maf).inverse(x), maf.forward(x))


@pytest.mark.parametrize(
    "flow",
    [
        lambda: RealNVP(4, layers=32, width=32),
        lambda: MAF(4, layers=32, width=32),
        lambda: SplineFlow(4, layers=32, width=32),
        lambda: SplineFlow(4, layers=32, width=32, autoregressive=True),
        lambda: Glow((3, 4, 8), levels=1, steps=32, width=16),
    ],
    ids=["RealNVP", "MAF", "spline", "autoregressive spline", "Glow"],
)
def test_a_deep_stack_inverts_in_single_precision(flow):
    torch.manual_seed(0)
    model = flow()
    for name, parameter in model.named_parameters():
        if "conditioner" in name:
            nn.init.normal_(parameter, std=0.5 / parameter[0].numel() ** 0.5 if parameter.ndim > 1 else 0.1)
    bijection, x = model.bijection.float(), torch.randn(256, *model.event_shape, dtype=torch.float32)
    with torch.no_grad():
        z, _ = bijection(x)
        assert float((z - x).abs().max()) > 0.1  # it does something
        is_inverse(bijection, x, z, atol=1e-3)


# --- what a batch of data decides


@pytest.mark.parametrize("event", [(3,), (3, 4, 6)])
def test_actnorm_standardises_its_first_batch(event, generator):
    affine = Affine(3)
    x = 5 * torch.randn(64, *event, generator=generator) + 2
    z = affine.initialise(x).transpose(0, 1).flatten(1)
    torch.testing.assert_close(z.mean(1), torch.zeros(3), rtol=0, atol=1e-10)
    torch.testing.assert_close(z.std(1), torch.ones(3))


def test_every_actnorm_of_a_composition_is_initialised(generator):
    glow = Glow((1, 4, 8), levels=2, steps=2, width=8)
    x = 3 * torch.randn(64, 1, 4, 8, generator=generator) + 1
    glow.initialise(x)
    seen = []
    for part in glow.bijection.modules():
        if isinstance(part, Affine):
            part.register_forward_hook(lambda part, args, out: seen.append(out[0]))
    glow.bijection(x)
    assert len(seen) == 4
    for z in seen:
        torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(z.shape[1]), rtol=0, atol=1e-10)


def test_loaded_weights_stay_as_they_are(generator):
    """A layer that initialised itself at its first call would forget them."""
    trained, loaded = Affine(3), Affine(3)
    trained.initialise(torch.randn(8, 3, generator=generator))
    loaded.load_state_dict(trained.state_dict())
    x = torch.randn(8, 3, generator=generator)
    torch.testing.assert_close(loaded.train()(x), trained(x))


def test_linear_starts_at_a_rotation_or_at_what_it_is_given(generator):
    w = torch.randn(4, 4, generator=generator)
    x = torch.randn(5, 4, generator=generator)
    z, logdet = InvertibleLinear(4, w)(x)
    torch.testing.assert_close(z, x @ w.T)
    torch.testing.assert_close(logdet, w.slogdet().logabsdet.expand(5))
    z, logdet = InvertibleLinear(4)(x)
    torch.testing.assert_close(z.norm(dim=1), x.norm(dim=1))
    torch.testing.assert_close(logdet, torch.zeros(5), rtol=0, atol=1e-12)


# --- bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Affine(3)(torch.zeros(2, 4)), r"x: expected shape \(B, 3, ...\), got shape \(2, 4\)"),
        (lambda: Affine(2).initialise(torch.ones(4, 2)), "channels that vary over the batch, got 2 constant"),
        (lambda: Affine(1).initialise(torch.full((4, 1), torch.nan)), "x: expected finite numbers, got 4 NaN"),
        (lambda: Permutation([0, 2]), "order: expected each of 0 .. 1 once"),
        (lambda: Permutation([1, 0])(torch.zeros(2, 3)), "x: expected shape"),
        (lambda: InvertibleLinear(2)(torch.zeros(2, 3)), "x: expected shape"),
        (lambda: InvertibleLinear(2, torch.ones(2, 2)), "start: expected an invertible matrix"),
        (lambda: InvertibleLinear(2, torch.full((2, 2), torch.nan)), "start: expected an invertible matrix"),
        (lambda: InvertibleLinear(2, torch.eye(3)), r"start: expected shape \(2, 2\)"),
        (lambda: Squeeze()(torch.zeros(2, 1, 3, 4)), r"even height and width, got shape \(2, 1, 3, 4\)"),
        (lambda: Squeeze().inverse(torch.zeros(2, 3, 2, 2)), r"images \(B, 4 C, H, W\)"),
        (lambda: Split(Affine(1))(torch.zeros(2, 3)), "an even number of channels"),
        (lambda: AffineCoupling(ConditionedMLP(1, 2))(torch.zeros(2, 1)), "at least two coordinates"),
        (lambda: AffineCoupling(ConditionedMLP(1, 3))(torch.zeros(2, 2)), r"conditioner: expected an output of shape"),
        (lambda: AffineCoupling(ConditionedMLP(2, 2))(torch.zeros(2, 2)), r"x: expected shape \(B, 2\)"),
        (lambda: Autoregressive(MADE(2, 3), ScaleShift())(torch.zeros(2, 2)), "conditioner: expected an output"),
        (lambda: Compose([]), "parts: expected at least one"),
    ],
)
def test_bad_input(call, message, unchecked):
    with pytest.raises(InputError, match=message):
        call()
