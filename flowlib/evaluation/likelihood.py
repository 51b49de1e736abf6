"""How well a model predicts held-out data: nats a sample, bits a dimension, each with a standard error."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from flowlib.errors import InputError
from flowlib.estimates import Estimate
from flowlib.flows import CNF, Flow
from flowlib.objectives import dequantise
from flowlib.shapes import Batch


@torch.no_grad()
def nats(
    model: Flow,
    x: Batch,
    c: Tensor | None = None,
    *,
    generator: torch.Generator | None = None,
    batch_size: int = 1000,
) -> Estimate:
    """Negative log-likelihood ``-E log p(x | c)`` in nats a sample; the error is that of the mean over samples.

    Args:
        model: with ``log_prob(x, c)``.
        x: held-out data, (N, *event).
        c: condition, one a sample.
        generator: randomness of the probe of a continuous flow that has one.
        batch_size: samples evaluated at a time.
    """
    return Estimate.of(-_log_prob(model, x, c, generator, batch_size))


@torch.no_grad()
def bits_per_dim(
    model: Flow,
    x: Batch,
    c: Tensor | None = None,
    *,
    levels: int,
    samples: int = 1,
    generator: torch.Generator | None = None,
    batch_size: int = 1000,
) -> Estimate:
    """Bits a dimension of pictures with few grey levels, for a model trained on ``dequantise(x, levels)``.

    The model's probability of a picture is that of its bin, of side h = 2 / (levels - 1) in each of n dimensions::

        P(x) ~ h^n 1/K sum_j p(x + h (u_j - 1/2)),    bits/dim = -log2 P(x) / n

    So a density p costs ``-log p / (n ln 2) + log2((levels - 1) / 2)``: 3 bits are added for 17 levels, 6.994 for 256.
    (Where pictures are put on [-1, 1) as (k + u) / 128 - 1, the spacing is 1/128 and 7 bits are added.) The mean over
    K draws stands inside the logarithm: K draws give an upper bound on the bits, tighter the larger K.

    Args:
        model: with ``log_prob(x, c)``.
        x: held-out pictures with values -1, -1 + h .. 1, (N, C, H, W).
        c: condition, one a sample.
        levels: number of grey levels.
        samples: K, the draws of u a picture; state it beside the result.
        generator: randomness of u, and of the probe of a continuous flow that has one.
        batch_size: pictures evaluated at a time.

    Returns:
        Mean over pictures; the error is that of the mean over pictures.

    Raises:
        InputError: values between the levels, fewer than one draw.

    Source: Theis et al. 2016, section 3.1; Burda et al. 2016, section 3, for K draws.
    """
    if samples < 1:
        raise InputError("samples", expected="at least 1", got=samples)
    draws = (dequantise(x, levels, generator) for _ in range(samples))
    log_p = torch.stack([_log_prob(model, y, c, generator, batch_size) for y in draws])
    n = x[0].numel()
    log_mean = log_p.double().logsumexp(0) - math.log(samples)
    return Estimate.of(-log_mean / (n * math.log(2)) + math.log2((levels - 1) / 2))


def _log_prob(model: Flow, x: Tensor, c: Tensor | None, generator: torch.Generator | None, batch_size: int) -> Tensor:
    """Log-density of every sample, computed in evaluation mode ``batch_size`` at a time."""
    if c is not None and len(c) != len(x):
        raise InputError("c", expected=f"one condition a sample, {len(x)}", got=len(c))
    training = model.training
    model.eval()
    conditions = [None] * math.ceil(len(x) / batch_size) if c is None else c.split(batch_size)
    drawn = {"generator": generator} if isinstance(model, CNF) else {}  # a continuous flow alone may draw a probe
    log_p = torch.cat([model.log_prob(a, b, **drawn) for a, b in zip(x.split(batch_size), conditions, strict=True)])
    model.train(training)
    return log_p
