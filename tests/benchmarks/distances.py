"""Judging samples: the exact 2-Wasserstein distance against POT."""

from collections.abc import Iterator

import torch
from compare import Pair

from flowlib.densities import eight_gaussians, moons
from flowlib.evaluation import wasserstein


def pairs() -> Iterator[Pair]:
    """256 to 2048 points in the plane."""
    import ot

    for n in (256, 1024, 2048):
        generator = torch.Generator().manual_seed(0)
        x, y = moons(0.1).sample(n, generator), eight_gaussians().sample(n, generator)

        def ours(x=x, y=y) -> float:
            return float(wasserstein(x, y))

        def theirs(x=x, y=y) -> float:
            """As its documentation has it: uniform weights, squared distances."""
            return float(ot.emd2([], [], ot.dist(x.double().numpy(), y.double().numpy()), numItermax=10**7)) ** 0.5

        def agree(ours=ours, theirs=theirs) -> None:
            assert abs(ours() - theirs()) < 1e-5

        yield Pair(f"W2, {n} points", ours, {"POT": theirs}, agree=agree)
