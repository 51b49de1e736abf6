"""Runge-Kutta methods as what they are: tables of numbers (Butcher tableaus).

A step from x at time t over dt evaluates the field at s stages and adds them up::

    k_i = v(x + dt sum_j a_ij k_j, t + c_i dt),    x_next = x + dt sum_i b_i k_i

Source: Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, section II.1 and table II.5.2 (DOPRI5).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tableau:
    """One explicit Runge-Kutta method.

    Attributes:
        name: what the literature calls it.
        order: p, with a global error of O(dt^p).
        c: times of the stages within the step.
        a: lower triangle, row i has i entries.
        b: weights of the stages.
        error: weights of an estimate of the local error, for methods that choose their own steps.
        dense: coefficients of the interpolation inside a step: ``b_i(theta) = sum_j dense[i][j] theta^(j + 1)``.
    """

    name: str
    order: int
    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    error: tuple[float, ...] | None = None
    dense: tuple[tuple[float, ...], ...] | None = None

    @property
    def is_fsal(self) -> bool:
        """First same as last: the last stage is the first stage of the next step, and costs nothing there."""
        return self.a[-1] == self.b[:-1] and self.b[-1] == 0

    def __repr__(self) -> str:
        return self.name


EULER = Tableau("EULER", 1, c=(0,), a=((),), b=(1,))
MIDPOINT = Tableau("MIDPOINT", 2, c=(0, 1 / 2), a=((), (1 / 2,)), b=(0, 1))
HEUN = Tableau("HEUN", 2, c=(0, 1), a=((), (1,)), b=(1 / 2, 1 / 2))
RK4 = Tableau("RK4", 4, c=(0, 1 / 2, 1 / 2, 1), a=((), (1 / 2,), (0, 1 / 2), (0, 0, 1)), b=(1 / 6, 1 / 3, 1 / 3, 1 / 6))
DOPRI5 = Tableau(
    "DOPRI5",
    5,
    c=(0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1),
    a=(
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    b=(35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0),
    error=(71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
    # Shampine's fourth-order interpolation (1986), in powers of theta; scipy's RK45 uses the same.
    dense=(
        (1, -8048581381 / 2820520608, 8663915743 / 2820520608, -12715105075 / 11282082432),
        (0, 0, 0, 0),
        (0, 131558114200 / 32700410799, -68118460800 / 10900136933, 87487479700 / 32700410799),
        (0, -1754552775 / 470086768, 14199869525 / 1410260304, -10690763975 / 1880347072),
        (0, 127303824393 / 49829197408, -318862633887 / 49829197408, 701980252875 / 199316789632),
        (0, -282668133 / 205662961, 2019193451 / 616988883, -1453857185 / 822651844),
        (0, 40617522 / 29380423, -110615467 / 29380423, 69997945 / 29380423),
    ),
)
