"""A field trained by flow matching as a probability model: regression to train, the verbs of a CNF to use."""

from __future__ import annotations

import torch
from torch import Tensor

from flowlib.densities import Density, Gaussian
from flowlib.errors import InputError
from flowlib.flows.continuous import CNF, Probe
from flowlib.paths import OT, Path
from flowlib.paths.path import Quantity
from flowlib.shapes import Batch, Field, PerSample
from flowlib.solvers import DOPRI5, Tableau


class MatchedFlow(CNF):
    """Flow-matching model: ``x_0 ~ N(0, sigma_0^2 I)`` moved by the velocity of a path from t = 0 to its end.

    Train the network with ``flow_matching(net, x_0, x_1, c, path=path, predict=predict)``; the loss reads no
    likelihood. The model has one all the same, that of a continuous flow with this base and this end::

        log p(x) = log N(x_0; 0, sigma_0^2 I) - int_0^end div v(x_t, t) dt

    It is a density of x at the end of the path: of data with ``sigma_1`` of noise (OT with sigma_min, VE), or at the
    last time where the velocity is finite (VP). Where alpha_0 > 0 (VP, VE) the base is an approximation of p_0.

    Args:
        v: the trained network, called as v(x, t, c).
        event_shape: shape of one sample.
        path: the path it was trained on; its schedule gives the base and the end.
        predict: what the network predicts; noise says no velocity where alpha_t = 0, data none where sigma_t = 0, so
            that a path which gets there (OT, at both ends) needs the velocity.
        method: solver; DOPRI5 chooses its steps.
        tolerance: relative and absolute tolerance of a solver that chooses its steps.
        steps: number of equal steps of a solver that does not.
        probe: None for the exact divergence, or the law of the probe of Hutchinson's estimate, one a sample and solve.
        base: law of x_0 at t = 0 where it is another one, such as the source of a transfer.

    Raises:
        InputError: a path that is none, samples of another shape, NaN, a probe of another name.

    Source: Lipman et al. 2023 (flow matching), theorems 1 and 2, and appendix C for the likelihood. Chapter 06.

    >>> MatchedFlow(lambda x, t, c: -x, (2,)).sample(3).shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        v: Field,
        event_shape: tuple[int, ...],
        path: Path = OT(),  # noqa: B008  frozen
        *,
        predict: Quantity = "velocity",
        method: Tableau = DOPRI5,
        tolerance: float = 1e-5,
        steps: int = 20,
        probe: Probe | None = None,
        base: Density | None = None,
    ) -> None:
        if not isinstance(path, Path):
            raise InputError("path", expected="a path, such as OT() or VP()", got=repr(path))
        sigma_0 = float(path.sigma(torch.zeros((), dtype=torch.float64)))
        if base is None and sigma_0 != 1:
            base = Gaussian(torch.zeros(event_shape), sigma_0**2)
        super().__init__(v, event_shape, method=method, tolerance=tolerance, steps=steps, probe=probe, base=base)
        self.path = path
        self.predict = predict
        self.end = path.end

    def velocity(self, x: Batch, t: PerSample, c: Tensor | None = None) -> Batch:
        """Velocity of the flow, (B, *event): the network's prediction, converted."""
        if self.predict == "velocity":
            return self.v(x, t, c)
        return self.path.field(self.v, have=self.predict)(x, t, c)
