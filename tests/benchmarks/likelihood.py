"""log p(x) of a continuous flow, and a step of its training: zuko, and the same ODE by torchdiffeq."""

from collections.abc import Iterator

import torch
from compare import Pair, Side, close
from fields import Swapped, trained
from memory import peak_memory
from torch import nn

from flowlib.densities import moons
from flowlib.flows import CNF
from flowlib.models import MLP

N, TOLERANCE = 256, 1e-5


class Joint(nn.Module):
    """dx/dt and d log p/dt for torchdiffeq, in FFJORD's way: one backward pass for each coordinate, or one probe."""

    def __init__(self, v: nn.Module, probe: torch.Tensor | None = None) -> None:
        super().__init__()
        self.v, self.probe, self.training_ = v, probe, False

    def forward(self, t, state):
        x, _ = state
        with torch.enable_grad():
            x = x.requires_grad_(True)
            dx = self.v(x, t.expand(len(x)))
            keep = self.training_
            if self.probe is None:
                rows = [torch.autograd.grad(dx[:, i].sum(), x, create_graph=keep, retain_graph=True)[0] for i in (0, 1)]
                div = rows[0][:, 0] + rows[1][:, 1]
            else:
                div = (torch.autograd.grad(dx, x, self.probe, create_graph=keep)[0] * self.probe).sum(1)
        return (dx, div) if keep else (dx.detach(), div.detach())


def log_normal(x):
    """log N(x; 0, I)."""
    return torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(1)


def trainer(v: nn.Module, log_prob) -> Side:
    """One step of maximum likelihood."""
    optimizer = torch.optim.AdamW(v.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        (-log_prob().mean()).backward()
        optimizer.step()

    return step


def pairs() -> Iterator[Pair]:
    """256 points of two moons under one field."""
    from torchdiffeq import odeint, odeint_adjoint
    from zuko.transforms import FreeFormJacobianTransform

    x = moons(0.1).sample(N, torch.Generator().manual_seed(2))
    ends = torch.tensor([1.0, 0.0])

    def zuko(v, exact: bool):
        """Data to base; its solver is dopri5, too."""
        transform = FreeFormJacobianTransform(
            Swapped(v), t0=1.0, t1=0.0, phi=v.parameters(), atol=TOLERANCE, rtol=TOLERANCE, exact=exact
        )

        def log_prob():
            x_0, ladj = transform.call_and_ladj(x)
            return log_normal(x_0) + ladj

        return log_prob

    def diffeq(v, exact: bool, training: bool = False, solver=odeint):
        def log_prob():
            joint = Joint(v, None if exact else torch.randint(0, 2, x.shape).mul(2).sub(1).float())
            joint.training_ = training
            state = (x.clone(), torch.zeros(N))
            x_0, div = (u[-1] for u in solver(joint, state, ends, rtol=TOLERANCE, atol=TOLERANCE, method="dopri5"))
            return log_normal(x_0) + div

        return log_prob

    v = trained()
    for exact in (True, False):
        name = "exact" if exact else "Hutchinson"
        flow = CNF(v, (2,), tolerance=TOLERANCE, probe=None if exact else "rademacher")
        ours = torch.no_grad()(lambda flow=flow: flow.log_prob(x))
        peers = {"zuko": torch.no_grad()(zuko(v, exact)), "torchdiffeq": torch.no_grad()(diffeq(v, exact))}

        def agree(ours=ours, peers=peers) -> None:
            for peer in peers.values():
                close(ours(), peer(), 3e-4)  # each solves at 1e-5 a step

        yield Pair(f"CNF log-likelihood, {name}, 256", ours, peers, 0.6, agree if exact else None)
    for exact in (True, False):
        nets = [MLP(2) for _ in range(3)]
        for net in nets:
            net.load_state_dict(v.state_dict())
        flow = CNF(nets[0], (2,), tolerance=TOLERANCE, probe=None if exact else "rademacher")
        yield Pair(
            f"CNF training step, {'exact' if exact else 'Hutchinson'}, 256",
            trainer(nets[0], lambda flow=flow: flow.log_prob(x)),
            {
                "zuko": trainer(nets[1], zuko(nets[1], exact)),
                "torchdiffeq": trainer(nets[2], diffeq(nets[2], exact, training=True)),
            },
            0.6,
        )
    nets = [MLP(2) for _ in range(3)]
    for net in nets:
        net.load_state_dict(v.state_dict())

    def step(net: MLP, adjoint: bool) -> Side:
        flow = CNF(net, (2,), tolerance=TOLERANCE, adjoint=adjoint)
        return trainer(net, lambda: flow.log_prob(x))

    ours, remembered = step(nets[0], adjoint=True), step(nets[1], adjoint=False)
    theirs = trainer(nets[2], diffeq(nets[2], exact=True, training=True, solver=odeint_adjoint))
    sides = {"memory, MB": ours, "memory of torchdiffeq": theirs, "memory of backpropagation": remembered}
    more = {name: peak_memory(side) / 1e6 for name, side in sides.items()}
    yield Pair("CNF training step, exact, by the adjoint, 256", ours, {"torchdiffeq": theirs}, more=more)
