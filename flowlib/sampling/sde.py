"""From noise to data with fresh noise on the way: the same marginals as the ODE, other trajectories."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from flowlib.errors import InputError
from flowlib.paths import VP, Path
from flowlib.shapes import Batch, Field, PerSample
from flowlib.tensors import per_sample, randn


@torch.no_grad()
def sample_sde(
    v: Field,
    x_0: Batch,
    c: Any = None,
    *,
    path: Path = VP(),  # noqa: B008  frozen
    w: Callable[[PerSample], PerSample] | None = None,
    steps: int = 100,
    generator: torch.Generator | None = None,
) -> Batch:
    """Carry noise to data by ``dx = (v + w_t score) dt + sqrt(2 w_t) dW`` in equal steps of Euler-Maruyama.

    Every w_t >= 0 gives the marginals p_t of the path: the score pulls together what the noise spreads. No noise is
    added in the last step, which would stay in the sample. With ``w = 0`` this is Euler's method for the ODE.

    Args:
        v: velocity field of the path, v(x, t, c); the score is computed from it.
        x_0: standard normal noise, (B, *event).
        c: condition, one a sample.
        path: the path that v belongs to.
        w: (B,) times to (B,) coefficients; ``path.diffusion`` when left out, that of the diffusion that is reversed.
        steps: number of equal steps, one evaluation each.
        generator: randomness of dW.

    Raises:
        InputError: no step, or a coefficient that is negative or infinite.

    Source: Song et al. 2021 (score SDE), equation 6; Albergo et al. 2023 (stochastic interpolants), corollary 18;
    Ma et al. 2024 (SiT), section 2.4. Chapter 03.
    """
    if steps < 1:
        raise InputError("steps", expected="at least 1", got=steps)
    x, times = path.source(x_0), torch.linspace(0, path.end, steps + 1, dtype=x_0.dtype, device=x_0.device)
    for k, dt in enumerate(times.diff()):
        t = times[k].expand(len(x))
        w_t = (w or path.diffusion)(t)
        if not bool((torch.isfinite(w_t) & (w_t >= 0)).all()):
            raise InputError(
                "w",
                expected=f"finite coefficients, none negative, at t = {float(times[k]):g}",
                got=float(w_t[0]),
                cure="path.diffusion is infinite where alpha_t = 0: give another w there",
            )
        velocity = v(x, t, c)
        score = path.convert(velocity, x, t, have="velocity", want="score")
        x = x + (velocity + per_sample(w_t, x) * score) * dt
        if k < steps - 1:
            x = x + (2 * per_sample(w_t, x) * dt).sqrt() * randn(x.shape, like=x, generator=generator)
    return x
