"""A training step of flow matching in the plane: torchcfm, flow_matching, and a loop without any library."""

from collections.abc import Callable, Iterator

import torch
from compare import Pair, Side, close
from fields import endless
from torch import Tensor, nn

from flowlib.densities import eight_gaussians
from flowlib.models import MLP
from flowlib.objectives import flow_matching
from flowlib.paths import OT, Tube, optimal_transport
from flowlib.training import Plan, train

N = 256
Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


def stepper(loss: Loss, batch: tuple[Tensor, Tensor], optimiser: Callable) -> Side:
    """A training step as the README of a peer writes it."""
    v = network()
    optimizer = optimiser(v.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        loss(v, *batch).backward()
        optimizer.step()

    return step


def ours(loss: Loss, batch: tuple[Tensor, Tensor]) -> Side:
    """A step of flowlib's loop: the same, with its checks, its names and its progress bar."""
    steps = train(loss, network(), endless(batch), Plan(steps=10**9, lr=1e-3))
    return lambda: next(steps)


def network() -> MLP:
    """Three layers of 64, with the same weights for all."""
    torch.manual_seed(0)
    return MLP(2, activation=nn.SELU)


def fused(parameters, lr: float) -> torch.optim.Optimizer:
    """What flowlib's loop uses: one kernel for all parameters."""
    return torch.optim.AdamW(parameters, lr=lr, fused=True, weight_decay=0)


def least(v: nn.Module, batch: tuple[Tensor, Tensor]) -> Side:
    """What no step can do without: the network there and back, and the optimiser. Nothing is drawn or checked."""
    optimizer = fused(v.parameters(), lr=1e-3)
    x_t, t, dx_t = batch[0], torch.rand(N), batch[1] - batch[0]

    def step() -> None:
        optimizer.zero_grad()
        (v(x_t, t) - dx_t).square().mean().backward()
        optimizer.step()

    return step


def bare(v: nn.Module, x_0: Tensor, x_1: Tensor) -> Tensor:
    """The shortest honest loss."""
    t = torch.rand(len(x_1))
    x_t = t[:, None] * x_1 + (1 - t[:, None]) * x_0
    return (v(x_t, t) - (x_1 - x_0)).square().mean()


def pairs() -> Iterator[Pair]:
    """Steps of 256 points, the batch given."""
    from flow_matching.path import CondOTProbPath
    from torchcfm.conditional_flow_matching import (
        ConditionalFlowMatcher,
        ExactOptimalTransportConditionalFlowMatcher,
    )

    generator = torch.Generator().manual_seed(0)
    batch = torch.randn(N, 2, generator=generator), eight_gaussians(5, 1).sample(N, generator)

    def torchcfm(matcher) -> Loss:
        def loss(v: nn.Module, x_0: Tensor, x_1: Tensor) -> Tensor:
            t, x_t, u_t = matcher.sample_location_and_conditional_flow(x_0, x_1)
            return torch.mean((v(x_t, t) - u_t) ** 2)

        return loss

    def meta(v: nn.Module, x_0: Tensor, x_1: Tensor) -> Tensor:
        drawn = CondOTProbPath().sample(t=torch.rand(len(x_1)), x_0=x_0, x_1=x_1)
        return torch.pow(v(drawn.x_t, drawn.t) - drawn.dx_t, 2).mean()

    def tube(v: nn.Module, x_0: Tensor, x_1: Tensor) -> Tensor:
        return flow_matching(v, x_0, x_1, path=Tube(0.1))

    def paired(v: nn.Module, x_0: Tensor, x_1: Tensor, block: int | None = None) -> Tensor:
        return tube(v, x_0[optimal_transport(x_0, x_1, block=block)], x_1)

    def in_blocks(v: nn.Module, x_0: Tensor, x_1: Tensor) -> Tensor:
        return paired(v, x_0, x_1, block=64)

    def lines(v: nn.Module, x_0: Tensor, x_1: Tensor) -> Tensor:
        return flow_matching(v, x_0, x_1, path=OT())

    def same_velocity() -> None:
        t = torch.rand(N, generator=generator)
        x_t, dx_t = OT().sample(*batch, t)
        _, theirs, u_t = ConditionalFlowMatcher(sigma=0.0).sample_location_and_conditional_flow(*batch, t=t)
        close(x_t, theirs)
        close(dx_t, u_t)

    adam = torch.optim.Adam
    yield Pair("loop over the same step written bare", ours(lines, batch), {"bare": stepper(bare, batch, fused)}, 1.3)
    cfm = torchcfm(ConditionalFlowMatcher(sigma=0.1))
    yield Pair(
        "flow-matching step, 256, each as its README trains",
        ours(tube, batch),
        {"torchcfm": stepper(cfm, batch, adam), "flow_matching": stepper(meta, batch, adam)},
        0.5,
        same_velocity,
    )
    yield Pair(
        "the least of it: network and fused AdamW alone",
        least(network(), batch),
        {"torchcfm": stepper(cfm, batch, adam)},
        0.5,
    )
    yield Pair(
        "flow-matching step, 256, all with one fused AdamW",
        ours(tube, batch),
        {"torchcfm": stepper(cfm, batch, fused), "flow_matching": stepper(meta, batch, fused)},
    )
    exact = stepper(torchcfm(ExactOptimalTransportConditionalFlowMatcher(sigma=0.1)), batch, fused)
    yield Pair("OT-CFM step, 256", ours(paired, batch), {"torchcfm": exact}, 0.7)
    yield Pair("OT-CFM step, 256 in blocks of 64", ours(in_blocks, batch), {"torchcfm": exact}, 0.25)
