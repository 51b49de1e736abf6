"""DDPM and DDIM: steps that guess the data and the noise, and go to where they say the next point lies."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flowlib.errors import InputError
from flowlib.paths import VP, Path
from flowlib.paths.path import Quantity
from flowlib.shapes import Batch, Field
from flowlib.tensors import randn


@torch.no_grad()
def ddim(
    net: Field,
    x_0: Batch,
    c: Any = None,
    *,
    path: Path = VP(),  # noqa: B008  frozen
    have: Quantity = "noise",
    steps: int = 50,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
) -> Batch:
    """Carry noise to data by DDIM, or by DDPM's ancestral sampling with ``eta = 1``; the grid is even in t.

    Each step, from t to t', turns the prediction into estimates of data and noise and puts them together again::

        x_t' = alpha_t' x_1_hat + sqrt(sigma_t'^2 - eta^2 b) x_0_hat + eta sqrt(b) z,   z ~ N(0, I)

    with b the variance of ``posterior_variance``. Without noise (eta = 0) this is Euler's method for x / alpha in the
    variable sigma / alpha; on the straight path it is Euler's method for the velocity. The grid starts at t = 0, the
    noisiest time ("trailing" steps): a grid that starts later is fed noise which that time never sees.

    Args:
        net: a network net(x, t, c).
        x_0: standard normal noise, (B, *event).
        c: condition, one a sample.
        path: the path that the network was trained on.
        have: what it predicts: "noise", "data", "velocity" or "score".
        steps: number of equal steps, one evaluation each.
        eta: 0 is DDIM, 1 is DDPM.
        generator: randomness of z.

    Raises:
        InputError: no step, a negative eta or one above 1, a prediction that does not determine the data, such as
            noise at the start of a path without data.

    Source: Song et al. 2021 (DDIM), equation 12; Ho et al. 2020 (DDPM), algorithm 2; Lin et al. 2024, section 3.3, for
    the grid. Chapter 03.
    """
    if steps < 1:
        raise InputError("steps", expected="at least 1", got=steps)
    if not 0 <= eta <= 1:
        raise InputError("eta", expected="0 (DDIM) to 1 (DDPM)", got=eta)
    x, times = path.source(x_0), torch.linspace(0, 1, steps + 1, dtype=x_0.dtype, device=x_0.device)
    alpha, sigma, b = path.alpha(times), path.sigma(times), posterior_variance(path, times)
    for k in range(steps):
        t = times[k].expand(len(x))
        value = net(x, t, c)
        x_1, noise = (path.convert(value, x, t, have=have, want=want) for want in ("data", "noise"))
        x = alpha[k + 1] * x_1 + (sigma[k + 1] ** 2 - eta**2 * b[k]).clamp(min=0).sqrt() * noise
        if eta > 0:
            x = x + eta * b[k].sqrt() * randn(x.shape, like=x, generator=generator)
    return x


def posterior_variance(path: Path, times: Tensor) -> Tensor:
    """Variance of x_t' given x_t and x_1 for neighbours t < t', ``b = sigma_t'^2 (1 - snr_t / snr_t')``, (T - 1,).

    In DDPM's symbols ``beta_k (1 - abar_{k-1}) / (1 - abar_k)``. Source: Ho et al. 2020, equation 7.
    """
    snr, sigma = path.snr(times), path.sigma(times)
    return sigma[1:] ** 2 * (1 - snr[:-1] / snr[1:])
