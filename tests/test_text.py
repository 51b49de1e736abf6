"""Captions as a condition: numbers in, one interface out, dropped sample by sample, guided away from nothing."""

import pytest
import torch
from laws import reaches_every_parameter
from torch import nn

from flowlib.errors import InputError
from flowlib.models import Text, TextEncoder, TextToImage
from flowlib.objectives import flow_matching, guidance_distillation
from flowlib.paths import OT
from flowlib.sampling import guide


class Told(nn.Module):
    """A picture that shows what was told: the first number of the pooled vector times a gain, plus w."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(2.0))

    def forward(self, x, t, c: Text, *, w=0.0):
        strength = torch.as_tensor(w).expand(len(x))
        return x + self.gain * (c.pooled[:, 0] + strength)[:, None, None, None]


def model(dropout=0.1):
    torch.manual_seed(0)
    return TextToImage(TextEncoder(9, 8, length=5), Told(), dropout)


def numbers(n, generator):
    return torch.randint(1, 9, (n, 5), generator=generator)


def test_an_encoder_sees_all_words_both_ways_and_their_order(float64, generator):
    encoder = TextEncoder(9, 8, length=5).eval()
    ids = numbers(1, generator)
    tokens, pooled, mask = encoder(ids)
    assert (tokens.shape, pooled.shape, mask) == ((1, 5, 8), (1, 8), None)
    torch.testing.assert_close(pooled, tokens.mean(1))
    for place in range(5):
        other = ids.clone()
        other[0, place] = ids[0, place] % 8 + 1
        moved = (encoder(other).tokens - tokens).abs().amax(-1)[0].detach()
        assert float(moved.min()) > 1e-6  # every token hears of it
    assert not torch.allclose(encoder(ids.flip(1)).pooled, pooled)
    reaches_every_parameter(encoder(torch.arange(10).reshape(2, 5) % 9).tokens.pow(3).sum(), encoder)


def test_order_is_heard_as_loudly_as_words(generator):
    """Else a caption begins as a bag of words, and which of two shapes is red is learned last."""
    torch.manual_seed(0)
    encoder = TextEncoder(50, 64, length=10)
    heard = encoder.positions(encoder.words(torch.full((1, 10), 7)))[0]
    other = encoder.positions(encoder.words(torch.randperm(49, generator=generator)[None, :10] + 1))[0]
    places, words = (u.var(0).mean() for u in (heard, other - encoder.positions.table))
    assert 0.5 < float((places / words).detach()) < 2


def test_the_velocity_leads_to_the_picture_that_is_expected(float64, generator):
    """As the conversion of chapter 08 has it, up to the last twentieth of the way, and finite at the end."""
    net, c, t = model().eval(), numbers(4, generator), torch.tensor([0.0, 0.3, 0.9, 1.0])
    x = torch.randn(4, 1, 2, 2, generator=generator)
    picture, v = net.net(x, t, net.encoder(c)), net(x, t, c)
    want = OT().convert(picture[:3], x[:3], t[:3], have="data", want="velocity")
    torch.testing.assert_close(v[:3], want, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(v[3], (picture[3] - x[3]) / 0.05)


def test_captions_are_dropped_one_by_one_in_training_alone(generator):
    net = model(0.3)
    c = numbers(4000, generator)
    told = net.drop(c, generator)
    dropped = (told == 0).all(1)
    assert abs(float(dropped.float().mean()) - 0.3) < 0.03
    assert torch.equal(told[~dropped], c[~dropped])  # the whole caption, or nothing of it
    x, t = torch.zeros(4000, 1, 1, 1), torch.zeros(4000)
    quiet = net.eval()(x, t, c)
    assert torch.equal(net(x, t, c), quiet)
    loud = net.train()(x, t, c)
    changed = (loud != quiet).flatten()
    assert abs(float(changed.float().mean()) - 0.3) < 0.03
    empty = net.eval()(x[:1], t[:1], torch.zeros(1, 5).long())
    torch.testing.assert_close(loud[changed], empty.expand(int(changed.sum()), 1, 1, 1))


def test_guidance_starts_from_the_empty_caption_or_from_a_negative_one(generator):
    net = model().eval()
    x, t, c = torch.randn(3, 1, 2, 2, generator=generator), torch.rand(3), numbers(3, generator)
    for null in (0, torch.zeros(1, 5).long(), torch.zeros(3, 5).long()):
        want = net(x, t, c * 0) + 3 * (net(x, t, c) - net(x, t, c * 0))
        torch.testing.assert_close(guide(net, 3.0, null=null)(x, t, c), want)
    negative = torch.tensor([[4, 4, 1, 0, 0]])
    away = net(x, t, negative.expand(3, 5))
    torch.testing.assert_close(guide(net, 3.0, null=negative)(x, t, c), away + 3 * (net(x, t, c) - away))


def test_flow_matching_takes_captions(generator):
    net = model().eval()
    x_0, x_1 = torch.randn(2, 4, 1, 2, 2, generator=generator)
    losses = [
        flow_matching(net, x_0, x_1, c, generator=torch.Generator().manual_seed(0))
        for c in numbers(8, generator).split(4)
    ]
    assert losses[0] != losses[1]


# ---------------------------------------------------------------- guidance as an input


def teacher(x, t, c):
    return x * (1 + c)[:, None] + t[:, None]


def student_of(f):
    return lambda x, t, c, w: f(x, t, c, w[:, None])


def test_the_student_of_guidance_is_right_only_where_it_is_guided(float64, generator):
    """The loss is zero at v_u + w (v_c - v_u), here x (1 + w c) + t, and nowhere near."""
    x_0, x_1 = torch.randn(2, 50, 3, generator=generator)
    c = torch.randint(1, 4, (50,), generator=generator).double()
    right = student_of(lambda x, t, c, w: x * (1 + w * c[:, None]) + t[:, None])
    other = student_of(lambda x, t, c, w: x * (1 + (1 + w) * c[:, None]) + t[:, None])
    arguments = {"teacher": teacher, "null": torch.zeros(50), "weights": (1.0, 4.0)}
    assert float(guidance_distillation(right, x_0, x_1, c, **arguments, generator=generator)) < 1e-24
    assert float(guidance_distillation(other, x_0, x_1, c, **arguments, generator=generator)) > 0.1


def test_the_student_is_asked_on_the_path_with_strengths_between(float64, generator):
    seen = []

    def spy(x, t, c, w):
        seen.append((x, t, w))
        return 0 * x

    x_0, x_1 = torch.zeros(2000, 1), torch.ones(2000, 1)
    one, null = torch.ones(2000), torch.zeros(2000)
    guidance_distillation(spy, x_0, x_1, one, teacher=teacher, null=null, weights=(2.0, 6.0), generator=generator)
    x, t, w = seen[0]
    torch.testing.assert_close(x[:, 0], t)
    assert 2 <= float(w.min()) < 2.1
    assert 5.9 < float(w.max()) <= 6
    assert abs(float(w.mean()) - 4) < 0.1
    assert abs(float(torch.corrcoef(torch.stack([t, w]))[0, 1])) < 0.1


def test_the_teacher_learns_nothing(generator):
    strong, weak = model(0.0), model(0.0)
    c = numbers(4, generator)
    x_0, x_1 = torch.randn(2, 4, 1, 2, 2, generator=generator)
    guidance_distillation(weak, x_0, x_1, c, teacher=strong, null=0 * c).backward()
    assert all(p.grad is None for p in strong.parameters())
    assert weak.net.gain.grad is not None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: TextEncoder(9, 8)(c.float()), "c: expected integers of shape .B, M."),
        (lambda c: TextEncoder(9, 8)(["red"]), "got list"),
        (lambda c: TextEncoder(5, 8)(c), "c: .*0 .nothing. to 4, got 1 to 8"),
        (lambda c: TextEncoder(9, 8, length=4)(c), "at most 4 tokens"),
        (
            lambda c: guidance_distillation(
                teacher, c.float(), c.float(), c, teacher=teacher, null=0 * c, weights=(3.0, 1.0)
            ),
            "weights: expected two numbers",
        ),
        (
            lambda c: guidance_distillation(teacher, c.float(), c.float(), c, teacher=teacher, null=c[:1]),
            "null: expected the shape of c",
        ),
    ],
)
def test_bad_input(call, message, unchecked):
    with pytest.raises(InputError, match=message):
        call(torch.arange(1, 9).reshape(2, 4).repeat(1, 2)[:, :5])
