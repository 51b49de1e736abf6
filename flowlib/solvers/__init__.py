"""Solvers of ordinary differential equations: one stepper, methods as tables of numbers."""

from flowlib.solvers.adjoint import solve_adjoint
from flowlib.solvers.fixed import march, runge_kutta_step
from flowlib.solvers.solve import Solution, solve, solve_end
from flowlib.solvers.tableaus import DOPRI5, EULER, HEUN, MIDPOINT, RK4, Tableau

__all__ = [
    "DOPRI5",
    "EULER",
    "HEUN",
    "MIDPOINT",
    "RK4",
    "Solution",
    "Tableau",
    "march",
    "runge_kutta_step",
    "solve",
    "solve_adjoint",
    "solve_end",
]
