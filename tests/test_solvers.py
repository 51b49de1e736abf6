"""Solvers: order of convergence, tolerance, dense output, agreement with scipy and torchdiffeq, and bad input."""

import numpy as np
import pytest
import torch
from laws import measured_order
from problems import PROBLEMS, decay, driven_rotation
from scipy.integrate import RK45, solve_ivp

from flowlib.errors import InputError
from flowlib.solvers import DOPRI5, EULER, HEUN, MIDPOINT, RK4, Tableau, solve
from flowlib.solvers.fixed import march

pytestmark = pytest.mark.usefixtures("float64")
METHODS = (EULER, MIDPOINT, HEUN, RK4, DOPRI5)


def fixed(method: Tableau) -> Tableau:
    """The same method without its error estimate: it then steps from time to time."""
    return Tableau(method.name, method.order, method.c, method.a, method.b)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_tableau_is_consistent(method):
    for c_i, a_i in zip(method.c, method.a, strict=True):
        assert sum(a_i) == pytest.approx(c_i)
    assert sum(method.b) == pytest.approx(1)
    if method.error:
        assert sum(method.error) == pytest.approx(0, abs=1e-15)
    if method.dense:
        assert [sum(row) for row in method.dense] == pytest.approx(method.b, abs=1e-12)


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_order_of_convergence(method, problem):
    assert measured_order(problem(), fixed(method)) == pytest.approx(method.order, abs=0.35)


@pytest.mark.parametrize(
    ("method", "calls"), [(EULER, 10), (MIDPOINT, 20), (HEUN, 20), (RK4, 40)], ids=lambda m: str(m)
)
def test_nfe_counts_every_call(method, calls):
    seen = []

    def v(x, t):
        seen.append(t)
        return -x

    solution = solve(v, torch.ones(3, 2), torch.linspace(0, 1, 11), method)
    assert solution.nfe == len(seen) == calls
    assert all(t.shape == (3,) for t in seen)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_backward_in_time_returns(method):
    problem = driven_rotation()
    times = torch.linspace(0, 1.5, 201)
    there = solve(problem.field, problem.x_0, times, method)
    back = solve(problem.field, there.x, times.flip(0), method)
    tolerance = {EULER: 5e-2, MIDPOINT: 1e-3, HEUN: 1e-3}.get(method, 1e-5)
    torch.testing.assert_close(back.x, problem.x_0, rtol=0, atol=tolerance)


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-7, 1e-9])
def test_dopri5_keeps_its_tolerance(problem, tolerance):
    p = problem()
    times = torch.linspace(*p.span, 7)
    solution = solve(p.field, p.x_0, times, DOPRI5, rtol=tolerance, atol=tolerance)
    for t, x in zip(times, solution.trajectory, strict=True):
        # The tolerance bounds each step; over the whole solve these problems add up a few of them.
        assert float((x - p.exact(float(t))).abs().max()) < 5 * tolerance


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-7, 1e-9])
def test_dopri5_costs_about_what_scipys_does(tolerance):
    def v(x, t):
        return torch.stack([x[:, 1], -9 * x[:, 0] + torch.cos(5 * t)], 1)

    ours = solve(v, torch.tensor([[1.0, 0.0]]), torch.tensor([0.0, 3.0]), DOPRI5, rtol=tolerance, atol=tolerance)
    theirs = solve_ivp(
        lambda t, y: np.array([y[1], -9 * y[0] + np.cos(5 * t)]), (0, 3), [1.0, 0.0], rtol=tolerance, atol=tolerance
    )
    assert 0.8 * theirs.nfev <= ours.nfe <= 1.2 * theirs.nfev


def test_dense_output_is_scipys():
    assert np.array_equal(np.array(DOPRI5.dense), RK45.P)


def test_many_output_times_cost_nothing():
    p = driven_rotation()
    few, many = (solve(p.field, p.x_0, torch.linspace(0, 1.5, n), DOPRI5, rtol=1e-6, atol=1e-6).nfe for n in (2, 100))
    assert few == many


def test_agrees_with_torchdiffeq():
    torchdiffeq = pytest.importorskip("torchdiffeq")
    p = driven_rotation()
    times = torch.linspace(0, 1.5, 5)

    def f(t, x):
        return p.field(x, t.expand(len(x)))

    for method, name in ((EULER, "euler"), (MIDPOINT, "midpoint")):
        torch.testing.assert_close(
            solve(p.field, p.x_0, times, method).trajectory, torchdiffeq.odeint(f, p.x_0, times, method=name)
        )
    ours = solve(p.field, p.x_0, times, DOPRI5, rtol=1e-9, atol=1e-9).trajectory
    theirs = torchdiffeq.odeint(f, p.x_0, times, method="dopri5", rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_gradient_flows_through_the_solve(method):
    rate = torch.tensor(-1.0, requires_grad=True)
    x = solve(lambda x, t: rate * x, torch.ones(1, 1), torch.linspace(0, 1, 101), method).x
    (gradient,) = torch.autograd.grad(x.sum(), rate)
    assert float(gradient) == pytest.approx(float(torch.tensor(-1.0).exp()), rel=2e-2)


def test_heun_by_hand():
    """x' = -x, one step of 1: k_1 = -1, k_2 = -(1 - 1) = 0, x = 1 - 1/2."""
    (_, x) = march(lambda x, t: -x, torch.ones(1, 1), [0.0, 1.0], HEUN)
    assert float(x) == 0.5


@pytest.mark.parametrize(
    "times", [[0.0], [0.0, 0.0], [0.0, 1.0, 0.5], [[0.0, 1.0]]], ids=["one", "repeated", "to and fro", "a table"]
)
def test_bad_times(times, unchecked):
    with pytest.raises(InputError, match="times: expected at least two times, strictly"):
        solve(lambda x, t: -x, torch.ones(1, 1), torch.tensor(times))


def test_nan_in_the_start():
    with pytest.raises(InputError, match="x_0: expected finite numbers, got 1 NaN"):
        solve(lambda x, t: -x, torch.tensor([[float("nan")]]), torch.linspace(0, 1, 3))


def test_field_of_another_shape():
    with pytest.raises(InputError, match=r"v: expected a field shaped like x, \(1, 2\)"):
        solve(lambda x, t: x[:, :1], torch.ones(1, 2), torch.linspace(0, 1, 3))


def test_field_that_turns_nan():
    def v(x, t):
        return torch.where(t[:, None] > 0.5, torch.nan, -x)

    with pytest.raises(InputError, match="a finite velocity, got NaN or infinity at t = 0"):
        solve(v, torch.ones(1, 1), torch.tensor([0.0, 1.0]), DOPRI5)


def test_field_that_no_step_can_follow():
    """x' = x^2 leaves every bound at t = 1."""
    with pytest.raises(InputError, match=r"rejected steps in a row at t = 1|a finite velocity"):
        solve(lambda x, t: x**2, torch.ones(1, 1), torch.tensor([0.0, 2.0]), DOPRI5)


def test_tolerance_must_be_positive():
    with pytest.raises(InputError, match="rtol, atol"):
        solve(lambda x, t: -x, torch.ones(1, 1), torch.tensor([0.0, 1.0]), DOPRI5, rtol=0, atol=0)


def test_zero_field_takes_few_steps():
    solution = solve(lambda x, t: 0 * x, torch.zeros(2, 2), torch.tensor([0.0, 1.0]), DOPRI5)
    assert solution.nfe < 120
    assert torch.equal(solution.x, torch.zeros(2, 2))


def test_trajectory_holds_the_start_and_every_time():
    p = decay()
    for method in (HEUN, DOPRI5):
        solution = solve(p.field, p.x_0, torch.linspace(0, 1, 5), method)
        assert solution.trajectory.shape == (5, 2, 1)
        assert torch.equal(solution.trajectory[0], p.x_0)
        assert torch.equal(solution.x, solution.trajectory[-1])


@pytest.mark.parametrize("rate", [1e-3, 1e-8, 0.0])
def test_a_slow_field_is_not_asked_beyond_the_end(rate):
    asked = []

    def v(x, t):
        asked.append(float(t[0]))
        return rate * x

    end = solve(v, torch.ones(4, 2), torch.tensor([0.0, 1.0]), DOPRI5).x
    assert 0 <= min(asked) <= max(asked) <= 1
    torch.testing.assert_close(end, torch.full((4, 2), float(np.exp(rate))))


@pytest.mark.parametrize(
    "v",
    [
        lambda x, t: x / (1 - t).abs(),  # infinite where it starts
        lambda x, t: 1e30 * x,  # finite, but not its square
        lambda x, t: x if t < 1e-7 else 1e30 * x,
    ],
)
def test_a_field_without_bounds_is_an_error(v):
    with pytest.raises(InputError, match=r"v: expected"):
        solve(lambda x, t: v(x, t[0]), torch.ones(4, 2), torch.tensor([1.0, 0.0]), DOPRI5)
