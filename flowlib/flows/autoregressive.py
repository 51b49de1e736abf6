"""A picture as a product of flows: each patch is moved from noise by a field that is told the patches before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from flowlib.errors import InputError
from flowlib.flows.matched import MatchedFlow
from flowlib.flows.normalizing import Flow
from flowlib.layers import patch_grid, patchify, unpatchify
from flowlib.shapes import Batch, PerSample
from flowlib.solvers import DOPRI5, Tableau


class AutoregressiveFlow(Flow):
    """Autoregressive model with a flow head: ``log p(x) = sum_i log p(x_i | patches of earlier rounds)``.

    The law of one patch is that of a flow, ``x_i`` from noise by ``dx_i/dt = head(x_i, t, z_i)``, with the context z_i
    of the patch. Train it with ``token_matching``. Patches of one round are drawn at once, each as if it did not know
    of the others; ``log_prob`` is the log-density of what is drawn so.

    Args:
        model: the network, with ``context(tokens, rounds, c)``, ``head(x, t, z)`` and ``patch``, such as ``MAR``.
        event_shape: shape of one picture, (C, H, W).
        rounds: in which round each patch is drawn, (N,) integers; row by row, one a round, when left out.
        method: solver of the head; DOPRI5 chooses its steps.
        tolerance: relative and absolute tolerance of a solver that chooses its steps.
        steps: number of equal steps of a solver that does not.

    Raises:
        InputError: pictures of another shape, NaN, rounds that do not fit the patches.

    Source: Li et al. 2024 (MAR), section 3. Chapter 17.
    """

    rounds: Tensor

    def __init__(
        self,
        model: Any,
        event_shape: tuple[int, int, int],
        rounds: Int[Tensor, " N"] | None = None,
        *,
        method: Tableau = DOPRI5,
        tolerance: float = 1e-5,
        steps: int = 20,
    ) -> None:
        super().__init__(event_shape)
        self.model, self.patch = model, model.patch
        self.grid = patch_grid(torch.empty(0, *event_shape, device="meta"), model.patch)
        n = self.grid[0] * self.grid[1]
        rounds = torch.arange(n) if rounds is None else rounds
        if rounds.shape != (n,) or rounds.is_floating_point():
            got = f"{rounds.dtype} of shape {tuple(rounds.shape)}"
            raise InputError("rounds", expected=f"one integer a patch, ({n},)", got=got)
        self.register_buffer("rounds", rounds, persistent=False)
        self.method, self.tolerance, self.steps = method, tolerance, steps

    @property
    def token(self) -> MatchedFlow:
        """The flow of one patch. It is made when asked for: a module kept twice would be saved twice."""
        dim = self.event_shape[0] * self.patch**2
        return MatchedFlow(self.model.head, (dim,), method=self.method, tolerance=self.tolerance, steps=self.steps)

    def log_prob(self, x: Batch, c: Tensor | None = None) -> PerSample:
        """Log-density at pictures x, in nats, (B,): all patches in one pass, since all are known."""
        self.check(x)
        tokens = patchify(x, self.patch)
        z = self.model.context(tokens, self.rounds, c)
        return self.token.log_prob(tokens.flatten(0, 1), z.flatten(0, 1)).reshape(tokens.shape[:2]).sum(1)

    def sample(self, n: int, c: Tensor | None = None, generator: torch.Generator | None = None) -> Batch:
        """Draw ``n`` pictures, (n, C, H, W), one pass of the network a round; ``c`` holds n classes."""
        *_, x = self.draw(n, c, generator)
        return x

    @torch.no_grad()
    def draw(self, n: int, c: Tensor | None = None, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """Draw ``n`` pictures and yield them after each round; patches that are not yet drawn are 0."""
        like = next(self.parameters(), torch.empty(0))
        tokens = patchify(like.new_zeros(n, *self.event_shape), self.patch)
        for k in self.rounds.unique():
            now = self.rounds == k
            z = self.model.context(tokens, self.rounds, c)[:, now].flatten(0, 1)
            tokens[:, now] = self.token.sample(len(z), z, generator).reshape(n, -1, tokens.shape[2])
            yield unpatchify(tokens.clone(), self.patch, self.grid)
