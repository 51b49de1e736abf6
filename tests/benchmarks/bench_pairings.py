"""Pairing a batch, and a training step on pairs, against torchcfm in the same run.

`make bench` installs torchcfm, in an environment of its own, and runs this on one thread. Both sides get the same
batches and end with the paired tensors; rounds alternate which side goes first. What counts is the median of our
time over theirs, in seconds of the processor.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn

from flowlib.datasets import digits
from flowlib.densities import eight_gaussians, moons
from flowlib.models import MLP
from flowlib.objectives import flow_matching
from flowlib.paths import Tube, optimal_transport, sinkhorn

Pairs = tuple[Tensor, Tensor]
Side = Callable[[Tensor, Tensor], object]


def plane(n: int, generator: torch.Generator) -> Pairs:
    """Noise and eight Gaussians, as in the table of chapter 07."""
    return torch.randn(n, 2, generator=generator), eight_gaussians(5, 1).sample(n, generator)


def two_sets(n: int, generator: torch.Generator) -> Pairs:
    return 7 * moons(0.1).sample(n, generator), eight_gaussians(12, 1.5).sample(n, generator)


def pictures(n: int, generator: torch.Generator) -> Pairs:
    """Noise and digits enlarged to 3 x 32 x 32: the 3072 dimensions of CIFAR-10."""
    some = digits("train").x[torch.randperm(1437, generator=generator)[:n]]
    x_1 = nn.functional.interpolate(some, size=32, mode="bilinear").expand(-1, 3, -1, -1).contiguous()
    return torch.randn(n, 3, 32, 32, generator=generator), x_1


def compare(name: str, ours: Side, theirs: Side, batches: list[Pairs], rounds: int, aim: float | None) -> None:
    def milliseconds(side: Side) -> float:
        start = time.process_time()
        for batch in batches:
            side(*batch)
        return 1e3 * (time.process_time() - start) / len(batches)

    milliseconds(ours), milliseconds(theirs)  # warm up
    times = []
    for r in range(rounds):
        order = (ours, theirs) if r % 2 == 0 else (theirs, ours)
        taken = {side: milliseconds(side) for side in order}
        times.append((taken[ours], taken[theirs]))
    ratios = sorted(a / b for a, b in times)
    us, them = (statistics.median(column) for column in zip(*times, strict=True))
    wanted = "" if aim is None else f"   aim {aim:.2f}"
    print(
        f"  {name:34s} ours {us:8.3f} ms   torchcfm {them:8.3f} ms   ratio {statistics.median(ratios):.2f}"
        f" ({ratios[0]:.2f} to {ratios[-1]:.2f}){wanted}"
    )


def trainer(draw: Callable[[Tensor, Tensor, nn.Module], Tensor]) -> Side:
    torch.manual_seed(0)
    v = MLP(2, activation=nn.SELU)
    optimizer = torch.optim.AdamW(v.parameters(), lr=1e-3, weight_decay=1e-5, fused=True)

    def step(x_0: Tensor, x_1: Tensor) -> None:
        optimizer.zero_grad()
        draw(x_0, x_1, v).backward()
        optimizer.step()

    return step


def our_loss(x_0: Tensor, x_1: Tensor, v: nn.Module, block: int | None = None) -> Tensor:
    return flow_matching(v, x_0[optimal_transport(x_0, x_1, block=block)], x_1, path=Tube(0.1))


def their_loss(x_0: Tensor, x_1: Tensor, v: nn.Module, matcher: object) -> Tensor:
    t, x_t, u_t = matcher.sample_location_and_conditional_flow(x_0, x_1)
    return (v(x_t, t) - u_t).square().mean()


def cases(matcher: object, sampler: Callable[[str], object]) -> Iterable[tuple]:
    """Name, our side, theirs, the batches' law, their size, the aim."""
    exact = sampler("exact").sample_plan
    entropic = sampler("sinkhorn").sample_plan
    pair = lambda x_0, x_1: (x_0[optimal_transport(x_0, x_1)], x_1)  # noqa: E731
    blocks = lambda x_0, x_1: (x_0[optimal_transport(x_0, x_1, block=64)], x_1)  # noqa: E731
    soft = lambda x_0, x_1: (x_0[sinkhorn(x_0, x_1)], x_1)  # noqa: E731
    for law in (plane, two_sets):
        yield f"{law.__name__}, 64", pair, exact, law, 64, 0.3
        for n in (128, 256, 512, 1024):
            yield f"{law.__name__}, {n}", pair, exact, law, n, 0.8
        for n in (256, 512):
            yield f"{law.__name__}, {n} in blocks of 64", blocks, exact, law, n, 0.25
            yield f"{law.__name__}, {n}, entropic", soft, entropic, law, n, None
    for n in (64, 256):
        yield f"pictures, {n}", pair, exact, pictures, n, 0.3
    yield "pictures, 256 in blocks of 64", blocks, exact, pictures, 256, None
    theirs = trainer(partial(their_loss, matcher=matcher))
    yield "OT-CFM step, 256", trainer(our_loss), theirs, plane, 256, 0.7
    yield "OT-CFM step, 256 in blocks of 64", trainer(partial(our_loss, block=64)), theirs, plane, 256, None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        from torchcfm.conditional_flow_matching import ExactOptimalTransportConditionalFlowMatcher
        from torchcfm.optimal_transport import OTPlanSampler
    except ImportError:
        print("  torchcfm is not installed: make bench")
        return
    matcher = ExactOptimalTransportConditionalFlowMatcher(sigma=0.1)
    sampler = lambda method: OTPlanSampler(method, reg=2.0)  # noqa: E731
    for name, ours, theirs, law, n, aim in cases(matcher, sampler):
        generator = torch.Generator().manual_seed(0)
        batches = [law(n, generator) for _ in range(max(3, min(30, 4000 // n)))]
        compare(name, ours, theirs, batches, options.rounds, aim)


if __name__ == "__main__":
    main()
