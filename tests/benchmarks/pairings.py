"""Pairing a batch, against torchcfm's sampler; both sides get the same batch and end with the paired tensors."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from compare import Pair, Side, close
from torch import Tensor, nn

from flowlib.datasets import digits
from flowlib.densities import eight_gaussians, moons
from flowlib.paths import optimal_transport, sinkhorn

Batch = tuple[Tensor, Tensor]


def plane(n: int, generator: torch.Generator) -> Batch:
    """Noise and eight Gaussians, as in the table of chapter 07."""
    return torch.randn(n, 2, generator=generator), eight_gaussians(5, 1).sample(n, generator)


def two_sets(n: int, generator: torch.Generator) -> Batch:
    return 7 * moons(0.1).sample(n, generator), eight_gaussians(12, 1.5).sample(n, generator)


def small_pictures(n: int, generator: torch.Generator) -> Batch:
    """Noise and digits of 8 x 8, 64 dimensions."""
    x_1 = digits("train").x[torch.randperm(1437, generator=generator)[:n]]
    return torch.randn(x_1.shape, generator=generator), x_1


def pictures(n: int, generator: torch.Generator) -> Batch:
    """Noise and digits enlarged to 3 x 32 x 32: the 3072 dimensions of CIFAR-10."""
    _, some = small_pictures(n, generator)
    x_1 = nn.functional.interpolate(some, size=32, mode="bilinear").expand(-1, 3, -1, -1).contiguous()
    return torch.randn(n, 3, 32, 32, generator=generator), x_1


def paired(pairing: Callable[[Tensor, Tensor], Tensor], x_0: Tensor, x_1: Tensor) -> Batch:
    """The batch with its partners in place, gathered as ``flowlib.datasets`` does it."""
    return x_0.index_select(0, pairing(x_0, x_1)), x_1


def pairs() -> Iterator[Pair]:
    """64 to 2048 points in the plane, 64 and 256 pictures of two sizes."""
    from torchcfm.optimal_transport import OTPlanSampler

    sampler = OTPlanSampler("exact")
    exact = sampler.sample_plan
    entropic = OTPlanSampler("sinkhorn", reg=2.0).sample_plan
    in_blocks = partial(optimal_transport, block=64)

    def pair(name: str, ours: Callable, theirs: Callable, law: Callable, n: int, aim: float) -> Pair:
        # A few batches in turn: an assignment's time depends on the points.
        batches = [law(n, torch.Generator().manual_seed(seed)) for seed in range(max(2, min(10, 2000 // n)))]

        def all_of(side: Callable) -> Side:
            return lambda: [side(*batch) for batch in batches]

        def agree() -> None:
            """Our permutation costs what their plan costs."""
            x_0, x_1 = (u.flatten(1) for u in batches[0])
            plan = torch.as_tensor(sampler.get_map(x_0, x_1))
            close(
                (plan * torch.cdist(x_0, x_1).square()).sum().float(),
                (paired(ours, x_0, x_1)[0] - x_1).square().sum(1).mean(),
            )

        name = f"{name}, {len(batches)} batches"
        check = agree if ours is optimal_transport else None
        return Pair(name, all_of(partial(paired, ours)), {"torchcfm": all_of(theirs)}, aim, check)

    for law, where in ((plane, "noise to 8 Gaussians"), (two_sets, "moons to 8 Gaussians")):
        for n in (64, 128, 256, 512, 1024, 2048):
            yield pair(f"OT pairing, {where}, {n}", optimal_transport, exact, law, n, 0.3 if n == 64 else 0.8)
    for n in (256, 512):
        yield pair(f"OT pairing in blocks of 64, plane, {n}", in_blocks, exact, plane, n, 0.25)
        yield pair(f"entropic pairing, plane, {n}", sinkhorn, entropic, plane, n, 1.05)
    yield pair("OT pairing, 64 dimensions, 256", optimal_transport, exact, small_pictures, 256, 0.8)
    for n in (64, 256):
        yield pair(f"OT pairing, 3072 dimensions, {n}", optimal_transport, exact, pictures, n, 0.3)
