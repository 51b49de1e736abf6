"""How cost grows: time at four sizes, the fitted exponent, and the one that theory expects.

python tests/benchmarks/growth.py
"""

import math
import time
from collections.abc import Callable

import torch

from flowlib.densities import eight_gaussians, moons
from flowlib.evaluation import wasserstein
from flowlib.flows import CNF
from flowlib.layers import fused_attention
from flowlib.models import MLP
from flowlib.paths import optimal_transport
from flowlib.solvers import HEUN

ROUNDS = 5


def attention(n: int) -> Callable[[], object]:
    q, k, v = torch.randn(3, 1, 4, n, 64)
    return lambda: fused_attention(q, k, v)


def pairing(n: int) -> Callable[[], object]:
    generator = torch.Generator().manual_seed(0)
    x_0, x_1 = torch.randn(n, 2, generator=generator), eight_gaussians(5, 1).sample(n, generator)
    return lambda: optimal_transport(x_0, x_1)


def blocks(n: int) -> Callable[[], object]:
    x_0, x_1 = torch.randn(2, n, 2)
    return lambda: optimal_transport(x_0, x_1, block=64)


def distance(n: int) -> Callable[[], object]:
    generator = torch.Generator().manual_seed(0)
    x, y = moons(0.1).sample(n, generator), eight_gaussians().sample(n, generator)
    return lambda: wasserstein(x, y)


def exact_divergence(dim: int) -> Callable[[], object]:
    flow = CNF(MLP(dim, width=512), (dim,), method=HEUN, steps=4)
    x = torch.randn(256, dim)
    return torch.no_grad()(lambda: flow.log_prob(x))


def one_probe(dim: int) -> Callable[[], object]:
    flow = CNF(MLP(dim, width=512), (dim,), method=HEUN, steps=4, probe="rademacher")
    x = torch.randn(256, dim)
    return torch.no_grad()(lambda: flow.log_prob(x))


CASES = (  # what, its sizes, the exponent expected and why
    ("attention, tokens", attention, (512, 1024, 2048, 4096), "2: every token asks every other"),
    ("OT pairing, batch", pairing, (256, 512, 1024, 2048), "2 to 3: an assignment, fast on clustered points"),
    ("OT pairing in blocks of 64, batch", blocks, (256, 512, 1024, 2048), "1: as many blocks as they need"),
    ("W2, points", distance, (256, 512, 1024, 2048), "2 to 3: the same assignment in float64"),
    ("CNF, exact divergence, dimensions", exact_divergence, (4, 8, 16, 32), "1: one backward pass a coordinate"),
    ("CNF, one probe, dimensions", one_probe, (4, 8, 16, 32), "0: one backward pass"),
)


def seconds(work: Callable[[], object]) -> float:
    """The least of some rounds: noise only adds."""
    work()
    taken = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def exponent(sizes: tuple[int, ...], times: list[float]) -> float:
    """Slope of the least-squares line through (log size, log time)."""
    x, y = ([math.log(value) for value in values] for values in (sizes, times))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for name, make, sizes, expected in CASES:
        times = [seconds(make(n)) for n in sizes]
        shown = ", ".join(f"{n}: {1e3 * s:.2f} ms" for n, s in zip(sizes, times, strict=True))
        print(f"{name:36s} exponent {exponent(sizes, times):.2f}   expected {expected}   ({shown})", flush=True)


if __name__ == "__main__":
    main()
