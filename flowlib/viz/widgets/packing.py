"""Paths and fields in few bytes: 16-bit knots of a cubic, and the sum that the browser computes from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from flowlib.errors import InputError
from flowlib.shapes import Field
from flowlib.viz.arrays import Limits, evaluate

KNOTS = (2, 3, 5, 9, 17, 33)  # straight lines need two, an ordinary flow nine or seventeen
STEPS = 65535  # of a 16-bit integer
CELLS, TIMES = 15, 12  # a field is kept on that many cells a side, at that many times


@dataclass(frozen=True)
class Packed:
    """The paths of N particles from t = 0 to 1 as K evenly spaced knots.

    Attributes:
        code: (K, N, 2) integers; ``low + code * (high - low) / 65535`` are coordinates.
        low: the lowest coordinate of all.
        high: the highest.
    """

    code: np.ndarray
    low: float
    high: float

    def at(self, t: float) -> np.ndarray:
        """Return where the particles are at time t, (N, 2): the formula of ``explorer.js``, for tests and stills."""
        index, weight = weights(t, len(self.code))
        mixed = np.einsum("k,knd->nd", weight, self.code[index].astype(float))
        return self.low + mixed * (self.high - self.low) / STEPS


def weights(t: float, knots: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the four knots around time t, and their weights in Catmull and Rom's cubic, one-sided at the ends.

    Between knots k and k + 1, with ``u = t (K - 1) - k``, it is the cubic with the values of both knots and the slopes
    ``m_k = (p_{k+1} - p_{k-1}) / 2``; at an end, where there is no neighbour, the slope to the only one. So two knots
    make a straight line at constant speed.

    Source: E. Catmull, R. Rom, *A class of local interpolating splines*, 1974.
    """
    s = t * (knots - 1)
    k = min(int(s), knots - 2)
    u = s - k
    h01, h10, h11 = u * u * (3 - 2 * u), u * (1 - u) ** 2, u * u * (u - 1)
    weight = np.array([0.0, 1 - h01, h01, 0.0])
    weight += h10 * (np.array([0, -1, 1, 0]) if k == 0 else np.array([-0.5, 0, 0.5, 0]))
    weight += h11 * (np.array([0, -1, 1, 0]) if k + 2 == knots else np.array([0, -0.5, 0, 0.5]))
    return np.clip(np.arange(k - 1, k + 3), 0, knots - 1), weight


def pack(x: np.ndarray, times: np.ndarray, most_bytes: int, tolerance: float) -> Packed:
    """Return the shortest packing of ``x`` of shape (T, N, 2) that is nowhere wrong by more than ``tolerance``.

    Where no number of knots within ``most_bytes`` is that good, the largest one that fits is taken.
    """
    t = (times - times[0]) / (times[-1] - times[0])
    low, high = float(x.min()), float(x.max())
    fitting = [knots for knots in KNOTS if 4 * knots * x.shape[1] <= most_bytes]
    if not fitting:
        most = most_bytes // (4 * KNOTS[0])
        raise InputError("trajectories", expected=f"at most {most} particles a panel", got=x.shape[1])
    for knots in fitting:
        values = np.stack([_between(x, t, s) for s in np.linspace(0, 1, knots)])
        code = np.round((values - low) / ((high - low) or 1.0) * STEPS).astype("<u2")
        packed = Packed(code, low, high)
        if max(np.abs(packed.at(s) - known).max() for s, known in zip(t, x, strict=True)) < tolerance:
            break
    return packed


def _between(x: np.ndarray, t: np.ndarray, s: float) -> np.ndarray:
    k = int(np.clip(np.searchsorted(t, s, side="right") - 1, 0, len(t) - 2))
    u = (s - t[k]) / (t[k + 1] - t[k])
    return (1 - u) * x[k] + u * x[k + 1]


def pack_field(v: Field, limits: Limits) -> tuple[np.ndarray, float, float]:
    """Return ``v`` on the grid as 16-bit integers (TIMES, CELLS, CELLS, 2), their unit, and the speed of a long arrow.

    The times are the middles of equal intervals: many a field cannot be asked at the very ends.
    """
    values = np.stack([_velocity(v, (j + 0.5) / TIMES, limits) for j in range(TIMES)])
    values = np.nan_to_num(values, posinf=0.0, neginf=0.0)
    unit = float(np.abs(values).max()) / 32767 or 1.0
    # a field is fastest where nobody is: the arrows of the slower nine tenths tell their speeds apart
    top = float(np.quantile(np.linalg.norm(values, axis=-1), 0.9)) or 1.0
    return np.round(values / unit).astype("<i2"), unit, top


def _velocity(v: Field, t: float, limits: Limits) -> np.ndarray:
    return evaluate("v(x, t)", lambda x: v(x, torch.full_like(x[:, 0], t)), limits, CELLS, "N 2")
