"""Maximum likelihood, for every model with a log_prob."""

from __future__ import annotations

import torch
from torch import Tensor

from flowlib.errors import InputError
from flowlib.flows import CNF, Flow
from flowlib.shapes import Batch, Scalar


def negative_log_likelihood(model: Flow, x: Batch, c: Tensor | None = None) -> Scalar:
    """Negative log-likelihood ``-E log p(x | c)`` in nats a sample.

    Its expectation is ``H(data) + KL(data || model)``: never less than the entropy of the data.

    Args:
        model: with ``log_prob(x, c)``.
        x: data, (B, *event).
        c: condition, one a sample.

    Chapter 01 trains with it.
    """
    return -model.log_prob(x, c).mean()


def regularised_likelihood(
    model: CNF, x: Batch, c: Tensor | None = None, *, kinetic: float = 0.01, jacobian: float = 0.01
) -> Scalar:
    """Negative log-likelihood of a CNF plus the costs that keep it easy to solve, in nats a sample::

        -E log p(x | c) + kinetic E int |v|^2 dt + jacobian E int |dv/dx|_F^2 dt

    Args:
        model: a continuous flow.
        x: data, (B, *event).
        c: condition, one a sample.
        kinetic: weight of the kinetic energy, which is least where paths are straight.
        jacobian: weight of the squared norm of the Jacobian, which is small where neighbours move alike.

    Source: RNODE (Finlay et al. 2020).
    """
    path = model.path_integrals(x, c)
    return -path.log_p.mean() + kinetic * path.kinetic.mean() + jacobian * path.jacobian.mean()


def dequantise(x: Batch, levels: int, generator: torch.Generator | None = None) -> Batch:
    """Spread grey levels evenly over the bins round them, ``x + h (u - 1/2)`` with ``u ~ U[0, 1)`` and h their spacing.

    A density on a finite set of values could be as high as one likes; on these bins it is bounded by the discrete
    model ``P(x) = E_u[h^n p(x + h (u - 1/2))]`` that it stands for.

    Args:
        x: pictures whose values are the ``levels`` equally spaced numbers -1, -1 + h .. 1, so h = 2 / (levels - 1).
        levels: how many, 256 for bytes and 17 for the digits of scikit-learn.
        generator: randomness of u.

    Raises:
        InputError: values between the levels, or outside them.

    Source: Theis et al. 2016, section 3.1.
    """
    if levels < 2:
        raise InputError("levels", expected="at least 2", got=levels)
    h = 2 / (levels - 1)
    k = (x + 1) / h
    if not bool(((k - k.round()).abs() < 0.01).all()) or not bool((x.abs() <= 1 + 0.01 * h).all()):
        raise InputError(
            "x",
            expected=f"{levels} equally spaced values from -1 to 1",
            got=f"other values, from {float(x.min()):g} to {float(x.max()):g}",
            cure="give the pictures before dequantisation, and the number of their grey levels",
        )
    device = generator.device if generator is not None else x.device
    u = torch.rand(x.shape, dtype=x.dtype, device=device, generator=generator).to(x.device)
    return x + h * (u - 0.5)
