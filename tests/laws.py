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
