"""Derivatives of a field along a direction, and its divergence, for any event shape.

All of them assume what every field of this book satisfies: sample b of the output depends on sample b of the input
alone. (Batch normalisation breaks it.)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from flowlib.shapes import Batch, PerSample
from flowlib.tensors import check_same_shape, sum_event


def jvp(f: Callable[[Tensor], Tensor], x: Tensor, dx: Tensor) -> tuple[Tensor, Tensor]:
    """Value and directional derivative ``f(x), J_f(x) dx``, by forward-mode differentiation.

    >>> jvp(torch.sin, torch.zeros(2), torch.ones(2))[1]
    tensor([1., 1.])
    """
    check_same_shape("dx", dx, "x", x)
    result = torch.func.jvp(f, (x,), (dx,))
    return result[0], result[1]


def divergence(f: Callable[[Batch], Batch], x: Batch) -> tuple[Batch, PerSample]:
    """Value and exact divergence ``f(x), sum_i df_i/dx_i``, by one backward pass for each of the n coordinates.

    The result can be differentiated again when gradients are enabled around the call.

    Args:
        f: a field, (B, *event) to (B, *event), that treats the samples of a batch apart.
        x: where, (B, *event).

    Source: FFJORD (Grathwohl et al. 2019), section 3: the cost that Hutchinson's estimator avoids. Chapter 04 uses it
    for a first likelihood; chapter 02 derives it.
    """
    keep_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        x = x if keep_graph and x.requires_grad else x.detach().requires_grad_()
        value = f(x)
        rows = value.flatten(1)
        div = torch.zeros_like(rows[:, 0])
        for i in range(rows.shape[1]):
            e_i = torch.zeros_like(rows)
            e_i[:, i] = 1  # in every sample at once: they do not mix
            div = div + _row(rows, x, e_i, keep_graph).flatten(1)[:, i]
    return (value, div) if keep_graph else (value.detach(), div.detach())


def vjp(f: Callable[[Batch], Batch], x: Batch, eps: Batch) -> tuple[Batch, Batch]:
    """Value and a row of the Jacobian, ``f(x), eps^T J_f(x)``, by one backward pass.

    The result can be differentiated again when gradients are enabled around the call.
    """
    check_same_shape("eps", eps, "x", x)
    keep_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        x = x if keep_graph and x.requires_grad else x.detach().requires_grad_()
        value = f(x)
        row = _row(value, x, eps, keep_graph)
    return (value, row) if keep_graph else (value.detach(), row.detach())


def _row(value: Tensor, x: Tensor, eps: Tensor, keep_graph: bool) -> Tensor:
    """Row ``eps^T J`` of the Jacobian of ``value`` in x; zero where the value does not depend on x."""
    if not value.requires_grad:
        return torch.zeros_like(x)
    (row,) = torch.autograd.grad(
        value, x, eps, create_graph=keep_graph, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return row


def hutchinson(f: Callable[[Batch], Batch], x: Batch, eps: Batch) -> tuple[Batch, PerSample]:
    """Value and unbiased estimate of the divergence, ``f(x), eps^T J eps``, with E[eps eps^T] = I, in one pass.

    Keep one probe ``eps`` for a whole solve: redrawing it at each call makes the integrand rough, and an adaptive
    solver pays for that. Its variance for S = (J + J^T)/2 is 2 (|S|_F^2 - sum_i S_ii^2) with signs (Rademacher) and
    2 |S|_F^2 with Gaussian numbers.

    Source: Hutchinson (1989); FFJORD, equations 7 and 8.
    """
    value, row = vjp(f, x, eps)
    return value, sum_event(row * eps)
