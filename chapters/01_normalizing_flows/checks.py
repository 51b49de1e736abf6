"""Checks of the exercises of chapter 01: what was expected, what came, a hint."""

import math

import torch
from torch import nn

from flowlib.bijections import rational_quadratic
from flowlib.coursework.checks import check, expect_close, expect_true
from flowlib.flows import MAF, RealNVP


@check
def check_1_1(density, mass_below, mirrored):
    # x = exp(2 z + 1): f(x) = (ln x - 1) / 2, f'(x) = 1 / (2 x)
    hint = "f(x) = (ln x - 1) / 2; do not forget the slope of f"
    expect_close(
        density, math.exp(-0.5) / math.sqrt(2 * math.pi) / (2 * math.e**3), rtol=1e-3, name="density", hint=hint
    )
    expect_close(mass_below, 0.5, name="mass below e", hint="which z is sent to e?")
    hint = "f falls now, but a density is not negative: |f'|"
    expect_close(mirrored, 1 / math.sqrt(2 * math.pi), rtol=1e-3, name="density of exp(-z) at 1", hint=hint)


@check
def check_1_2(z, logdet, x, area):
    e = math.e
    expect_close(z, (1 + math.exp(-1 - e), 1 + e), name="z", hint="the second coupling is told by z_2, not by x_2")
    expect_close(logdet, -e, name="logdet", hint="the sum of the two scales, each at the point where it is applied")
    expect_close(x, (1, -2 / e), name="x", hint="undo the second coupling first: what told it is there to be read")
    hint = "logdet is the logarithm of the ratio of areas"
    expect_close(area, 0.01 * math.exp(-e), rtol=1e-2, atol=0, name="area", hint=hint)


@check
def check_1_3(coupling):
    generator = torch.Generator().manual_seed(0)
    for shape in ((6, 4), (3, 4, 2, 5)):
        x = torch.randn(shape, generator=generator)
        n_a = shape[1] // 2

        def net(a):
            return torch.tanh(a), a.flip(1) ** 2

        z, logdet = coupling(x, net)
        a, b = x[:, :n_a], x[:, n_a:]
        s, t = net(a)
        want = torch.cat([a, b * s.exp() + t], 1)
        expect_close(z, want, name=f"z of shape {shape}", hint="the first half stays, the second is b exp(s) + t")
        expect_close(
            logdet, s.flatten(1).sum(1), name=f"logdet for x of shape {shape}", hint="one number a sample: sum"
        )


@check
def check_1_4(planar_logdet):
    generator = torch.Generator().manual_seed(0)
    w, u = torch.tensor([1.0, -0.5, 2.0]), torch.tensor([0.3, 0.4, -0.6])
    for bias, scale in ((0.2, 1.0), (-0.5, 0.4), (0.1, 3.0)):  # at the last one the determinant is negative in places
        x = torch.randn(50, 3, generator=generator)
        J = torch.func.vmap(torch.func.jacrev(lambda x, k=scale, b=bias: x + k * u * torch.tanh(x @ w + b)))(x)
        want = torch.linalg.slogdet(J).logabsdet
        hint = "det(I + u v^T) = 1 + u.v with v = (1 - tanh^2) w; then the logarithm of its absolute value"
        expect_close(planar_logdet(x, w, scale * u, bias), want, rtol=1e-3, atol=1e-4, name="logdet", hint=hint)


@check
def check_1_5(one_bin):
    knots = torch.tensor([[-1.0, 2.0], [0.5, 1.5], [0.7, 2.0]])
    x = torch.linspace(-1, 2, 13)
    y, log_slope = rational_quadratic(x, knots)
    got = one_bin(x, (-1.0, 0.5), (2.0, 1.5), 0.7, 2.0)
    expect_true(isinstance(got, tuple) and len(got) == 2, f"expected y and its log-slope, got {type(got).__name__}")
    expect_close(got[0], y, name="y", hint="(1.8), with xi from 0 to 1 in the bin and s = h / w")
    expect_close(got[1], log_slope, name="log-slope", hint="the logarithm of (1.9): the slope by x, not by xi")


@check
def check_1_6(bits):
    log_q = torch.tensor([-3.0, 10.0, 0.0])
    want = -(log_q + 64 * math.log(1 / 8)) / (64 * math.log(2))
    expect_close(bits(log_q, 64, 17), want, name="bits for 64 pixels of 17 levels", hint="P = h^n q, then -log2 P / n")
    want = -(log_q + 3072 * math.log(2 / 255)) / (3072 * math.log(2))
    expect_close(bits(log_q, 3072, 256), want, name="bits for 3072 pixels of 256 levels", hint="h = 2 / (levels - 1)")


class _Counted(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner, self.calls = inner, 0

    def forward(self, *args):
        self.calls += 1
        return self.inner(*args)


@check
def check_1_7(count_calls):
    for flow, want in ((RealNVP(6, layers=3), (3, 3)), (MAF(6, layers=3), (3, 18)), (MAF(4, layers=2), (2, 8))):
        counted = [_Counted(p.conditioner) for p in flow.bijection.parts if hasattr(p, "conditioner")]
        for part, one in zip((p for p in flow.bijection.parts if hasattr(p, "conditioner")), counted, strict=True):
            part.conditioner = one
        flow.log_prob(torch.zeros(2, flow.event_shape[0]))
        forward = sum(one.calls for one in counted)
        flow.sample(2)
        backward = sum(one.calls for one in counted) - forward
        expect_true((forward, backward) == want, f"the check itself: {forward}, {backward}")
        name = f"passes of {type(flow).__name__} with {want[0]} layers in {flow.event_shape[0]} dimensions"
        for part, one in zip((p for p in flow.bijection.parts if hasattr(p, "conditioner")), counted, strict=True):
            part.conditioner = one.inner
        hint = "count every call of every conditioner: log_prob first, then sample, starting again from 0"
        expect_close(count_calls(flow), want, name=name, hint=hint)


@check
def check_1_8(least_steepness):
    for leak, gap in ((0.01, 2.4), (0.001, 0.1), (0.2, 5.0), (0.9, 1.0)):
        L = least_steepness(leak, gap)
        expect_true(math.isfinite(L) and L > 0, f"expected a positive number for a leak of {leak}, got {L}")
        got = math.erf(gap / (2 * L) / math.sqrt(2))  # 2 Phi(y) - 1 = erf(y / sqrt 2)
        hint = "solve (1.10) for L: the inverse of Phi is torch.special.ndtri"
        expect_close(
            got, leak, rtol=1e-3, name=f"mass that leaks through a gap of {gap} at steepness {L:.4g}", hint=hint
        )
