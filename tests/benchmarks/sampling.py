"""Solving the ODE of one field: torchdiffeq, torchdyn as torchcfm uses it, and flow_matching's solver."""

from collections.abc import Iterator

import torch
from compare import Pair, close
from fields import Swapped, trained

from flowlib.solvers import DOPRI5, EULER, HEUN, RK4, solve

N = 1000


def pairs() -> Iterator[Pair]:
    """From 1000 points of noise to two moons."""
    from flow_matching.solver import ODESolver
    from torchdiffeq import odeint
    from torchdyn.core import NeuralODE

    v = trained()
    swapped = Swapped(v)
    x_0 = torch.randn(N, 2, generator=torch.Generator().manual_seed(1))
    ends = torch.tensor([0.0, 1.0])

    def mine(method, steps):
        return lambda: solve(v, x_0, torch.linspace(0, 1, steps + 1), method).x

    def diffeq(method, steps):
        return torch.no_grad()(lambda: odeint(swapped, x_0, torch.linspace(0, 1, steps + 1), method=method)[-1])

    def dyn(method, steps):
        node = NeuralODE(swapped, solver=method)
        return torch.no_grad()(lambda: node.trajectory(x_0, t_span=torch.linspace(0, 1, steps + 1))[-1])

    def meta(method, steps):
        solver = ODESolver(velocity_model=lambda x, t: v(x, t.expand(len(x))))
        return lambda: solver.sample(x_init=x_0, step_size=1 / steps, method=method, time_grid=ends)

    for name, method, steps, theirs in (
        ("Euler, 100 steps", EULER, 100, {"torchdiffeq": diffeq, "torchdyn": dyn, "flow_matching": meta}),
        ("Heun, 50 steps", HEUN, 50, {"torchdiffeq": diffeq, "flow_matching": meta}),
        ("RK4, 25 steps", RK4, 25, {"flow_matching": meta}),  # torchdyn's rk4 is another method
    ):
        word = {"Euler": "euler", "Heun": "heun2", "RK4": "rk4"}[name.split(",")[0]]
        ours, peers = mine(method, steps), {peer: make(word, steps) for peer, make in theirs.items()}

        def agree(ours=ours, peers=peers) -> None:
            for peer in peers.values():
                close(ours(), peer(), 1e-5)

        yield Pair(f"sampling, {name}, 1000 points", ours, peers, agree=agree)

    truth = solve(v.double(), x_0.double(), ends.double(), DOPRI5, rtol=1e-10, atol=1e-12).x
    v.float()

    def error(x) -> float:
        return float((x - truth).square().mean().sqrt())

    def adaptive(tolerance: float):
        return lambda: solve(v, x_0, ends, DOPRI5, rtol=tolerance, atol=tolerance).x

    def theirs(tolerance: float):
        return torch.no_grad()(lambda: odeint(swapped, x_0, ends, rtol=tolerance, atol=tolerance, method="dopri5")[-1])

    def dyn_adaptive(tolerance: float):
        node = NeuralODE(swapped, solver="dopri5", atol=tolerance, rtol=tolerance)
        return torch.no_grad()(lambda: node.trajectory(x_0, t_span=ends)[-1])

    for tolerance in (1e-3, 1e-5):
        ours, peer = adaptive(tolerance), theirs(tolerance)
        more = {"error": error(ours()), "error of torchdiffeq": error(peer())}
        name = f"sampling, dopri5 at {tolerance:.0e}"
        yield Pair(name, ours, {"torchdiffeq": peer, "torchdyn": dyn_adaptive(tolerance)}, 0.75, more=more)
    # At equal true error: our loosest tolerance that is no worse than theirs at 1e-5.
    goal = error(theirs(1e-5)())
    equal = next(tol for k in range(40) if error(adaptive(tol := 1e-3 * 0.8**k)()) <= goal or k == 39)
    more = {"error": error(adaptive(equal)()), "error of torchdiffeq": goal, "tolerance": equal}
    yield Pair("sampling, dopri5 at equal true error", adaptive(equal), {"torchdiffeq": theirs(1e-5)}, 0.75, more=more)
