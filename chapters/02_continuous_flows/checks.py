"""Checks of the exercises of chapter 02: what was expected, what came, a hint."""

import math

import torch

from flowlib.coursework.checks import check, expect_close, expect_true
from flowlib.densities import Gaussian
from flowlib.flows import CNF
from flowlib.solvers import RK4

SHAPES = ((2,), (3,), (2, 3, 2))  # of an event; the last is a small picture


def twist(shape, generator):
    """A field on events of a shape: it mixes all coordinates of a sample and no samples; and its Jacobian."""
    n = math.prod(shape)
    a = torch.randn(n, n, generator=generator)

    def f(x):
        return (x.flatten(1) @ a.T).sin().reshape(x.shape)

    def jacobian(x):
        return (x.flatten(1) @ a.T).cos()[:, :, None] * a

    return f, jacobian


@check
def check_2_1(end, integral, log_p):
    expect_close(end, math.e, rtol=1e-3, name="end", hint="dx/x = 2t dt: integrate both sides")
    expect_close(integral, 1.0, rtol=1e-3, name="integral", hint="in one dimension div v is the derivative by x")
    want = Gaussian(torch.zeros(1), math.e**2).log_prob(torch.tensor([[math.e]]))
    expect_close(log_p, want, rtol=2e-3, name="log_p", hint="(2.6): log p_0 at the start, minus the integral")


@check
def check_2_2(exact_divergence):
    generator = torch.Generator().manual_seed(0)
    for shape in SHAPES:
        f, jacobian = twist(shape, generator)
        x = torch.randn(5, *shape, generator=generator)
        want = torch.stack([j.trace() for j in jacobian(x)])
        hint = "sum output i over the batch, differentiate by x, keep coordinate i, both flattened"
        expect_close(exact_divergence(f, x), want, name=f"divergence of events {shape}", hint=hint)


@check
def check_2_3(one_pass):
    generator = torch.Generator().manual_seed(0)
    passes = 0

    def count(gradient):
        nonlocal passes
        passes += 1

    for shape in SHAPES:
        f, jacobian = twist(shape, generator)
        x, eps = torch.randn(2, 5, *shape, generator=generator)

        def counted(x, f=f):
            value = f(x)
            if value.requires_grad:  # forward mode leaves nothing to hook
                value.register_hook(count)
            return value

        want = torch.einsum("bi,bij,bj->b", eps.flatten(1), jacobian(x), eps.flatten(1))
        passes = 0
        hint = "autograd.grad(f(x), x, eps) is the row eps^T J; a product with eps, summed over the event, is left"
        expect_close(one_pass(counted, x, eps), want, rtol=1e-3, name=f"estimate for events {shape}", hint=hint)
        expect_true(passes == 1, f"expected one backward pass, got {passes}", "give eps to autograd.grad at once")


@check
def check_2_4(mean, variance_signs, variance_gaussian, exact):
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(400_000, 2, generator=generator)
    jacobian = torch.tensor([[1.0, 4.0], [0.0, 2.0]])
    expect_close(mean, 3, name="mean", hint="(2.7)")
    for name, eps, got in (
        ("variance for signs", normal.sign(), variance_signs),
        ("variance for Gaussian numbers", normal, variance_gaussian),
    ):
        want = ((eps @ jacobian) * eps).sum(1).var()
        hint = "the formulas are for S = (J + J^T)/2, not for J"
        expect_close(got, want, rtol=0.02, name=f"{name} (measured)", hint=hint)
    words = {"diagonal": True, "symmetric": False, "antisymmetric": True, "triangular": False}
    expect_true(set(exact) == set(words), f"expected an answer for each of {list(words)}, got {list(exact)}")
    for word, is_exact in words.items():
        hint = "by (2.8) it is exact if S has nothing off the diagonal: what is S?"
        expect_true(bool(exact[word]) == is_exact, f"{word}: expected {is_exact}, got {exact[word]}", hint)


@check
def check_2_5(linear_adjoint):
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(3, 3, generator=generator).requires_grad_()
    x_0 = torch.randn(3, generator=generator).requires_grad_()
    x_1 = torch.linalg.matrix_exp(matrix) @ x_0
    (0.5 * x_1.square().sum()).backward()
    by_start, by_matrix = linear_adjoint(matrix.detach(), x_1.detach())
    close = {"rtol": 0.01, "atol": 0.01 * float(matrix.grad.abs().max())}
    hint = "da/dt = -A^T a, and time runs backward, so a step adds A^T a dt; a_1 is the gradient of the loss"
    expect_close(by_start, x_0.grad, name="gradient by x_0", hint=hint, **close)
    hint = "the entry i, j of a^T dv/dA is a_i x_j; x and a at the same time"
    expect_close(by_matrix, matrix.grad, name="gradient by A", hint=hint, **close)


@check
def check_2_6(two_means):
    matrix = torch.tensor([[0.2, 0.7], [0.5, -0.6]])
    model = CNF(lambda x, t, c=None: x @ matrix.T, (2,), method=RK4, steps=10, probe="rademacher")
    x = torch.tensor([0.3, 0.8])
    e = torch.linalg.matrix_exp(matrix)
    log_p = torch.distributions.MultivariateNormal(torch.zeros(2), e @ e.T).log_prob(x)
    log_means = two_means(model, x, 20_000, torch.Generator().manual_seed(0))
    expect_true(len(log_means) == 2, f"expected two numbers, got {len(log_means)}")
    hint = "a batch of n copies of x gets n probes; one copy gets one"
    expect_close(log_means[0], log_p, rtol=0, atol=0.05, name="mean of log p", hint=hint)
    want = log_p + math.log(math.cosh(1.2))  # the estimate is log p +- (A_12 + A_21)
    hint = "the logarithm of the mean of exp(log p): by Jensen it is larger than the mean of the logarithms"
    expect_close(log_means[1], want, rtol=0, atol=0.05, name="log of the mean of p", hint=hint)


@check
def check_2_7(only_map):
    x_0 = torch.tensor([-3.0, -1.5, -0.5, -0.05, 0.05, 0.8, 2.5])
    x_1 = only_map(x_0)
    hint = "quantiles go to quantiles: the distribution functions of x_0 and of x_1 must agree"
    expect_close(torch.as_tensor(x_1).diff().sign(), torch.ones(6), name="sign of the differences", hint="it increases")
    normal = torch.distributions.Normal(0.0, 1.0)
    reached = (normal.cdf((x_1 + 2) / 0.5) + normal.cdf((x_1 - 2) / 0.5)) / 2
    expect_close(reached, normal.cdf(x_0), rtol=1e-3, atol=1e-4, name="distribution function at the end", hint=hint)
    hint = "between the components the density is small, not zero: the map is steep there, and does not jump"
    middle = only_map(torch.tensor([-3e-4, 0.0, 3e-4]))
    expect_close(middle, (-0.2556, 0.0, 0.2556), rtol=0, atol=0.05, name="end points of x_0 near 0", hint=hint)
