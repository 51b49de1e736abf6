"""Laws that families of objects obey, stated once."""

import math

import torch
from torch import Tensor

from flowlib.solvers import Tableau, solve


def derivative_matches(f, df, t: Tensor, h: float = 1e-6) -> None:
    """``df`` is the derivative of ``f``: central differences at ``t``."""
    torch.testing.assert_close(df(t), (f(t + h) - f(t - h)) / (2 * h), rtol=1e-6, atol=1e-6)


def measured_order(problem, method: Tableau, steps=(16, 32)) -> float:
    """Slope of log error against log dt on an ODE whose answer is known."""
    errors = []
    for n in steps:
        start, end = problem.span
        x = solve(problem.field, problem.x_0, torch.linspace(start, end, n + 1), method).x
        errors.append(float((x - problem.exact(end)).abs().max()))
    return math.log(errors[0] / errors[1]) / math.log(steps[1] / steps[0])


def jacobian_trace(f, x: Tensor) -> Tensor:
    """Divergence by the definition: the trace of the whole Jacobian, sample by sample."""
    return torch.stack([torch.func.jacrev(lambda y: f(y[None])[0].flatten())(x_b).flatten(1).trace() for x_b in x])


def is_inverse(bijection, x: Tensor, z: Tensor, c: Tensor | None = None, atol: float = 1e-10) -> None:
    """Both round trips return, and the log-determinants of a round trip add up to zero."""
    for there, back, start in ((bijection.forward, bijection.inverse, x), (bijection.inverse, bijection.forward, z)):
        end, logdet = there(start, c)
        returned, minus_logdet = back(end, c)
        torch.testing.assert_close(returned, start, rtol=0, atol=atol)
        torch.testing.assert_close(minus_logdet, -logdet, rtol=0, atol=1e2 * atol)


def logdet_matches(f, x: Tensor, c: Tensor | None = None) -> None:
    """The log-determinant of ``f(x, c) -> (z, logdet)`` is that of the Jacobian, sample by sample."""
    logdet = f(x, c)[1].detach()
    for b in range(len(x)):
        c_b = None if c is None else c[b : b + 1]
        jacobian = torch.autograd.functional.jacobian(lambda y, c_b=c_b: f(y[None], c_b)[0].flatten(), x[b]).flatten(1)
        assert abs(float(jacobian.slogdet().logabsdet - logdet[b])) < 1e-8


def reaches_every_parameter(loss: Tensor, module: torch.nn.Module) -> None:
    """No parameter is left without a gradient, and none gets zeros alone."""
    names, parameters = zip(*module.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    assert [n for n, g in zip(names, gradients, strict=True) if g is None or not bool(g.any())] == []
