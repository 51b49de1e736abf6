"""What the training loop costs: flowlib's `train` against the same step written bare, in one process, in turn.

The step: rectified flow on an MLP of 3 x 64, batch 256, fused AdamW, batches drawn beforehand. Prints the ratio of the
times, median and range over rounds; the aim is at most 1.3.
"""

import statistics
import time
from itertools import cycle, islice

import torch

from flowlib.datasets import between
from flowlib.densities import Gaussian, eight_gaussians
from flowlib.models import MLP
from flowlib.objectives import flow_matching
from flowlib.training import Plan, train

STEPS, ROUNDS = 400, 11


def bare(batches):
    """The shortest honest loop: no names, no progress, no norms, no checks."""
    model = MLP(2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
    for x_0, x_1 in islice(batches, STEPS):
        t = torch.rand(len(x_1))
        x_t = t[:, None] * x_1 + (1 - t[:, None]) * x_0
        loss = (model(x_t, t) - (x_1 - x_0)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def ours(batches):
    for _ in train(flow_matching, MLP(2), batches, Plan(steps=STEPS)):
        pass


def seconds(run, batches):
    start = time.perf_counter()
    run(cycle(batches))
    return time.perf_counter() - start


def main():
    torch.set_num_threads(1)
    batches = list(islice(between(Gaussian(torch.zeros(2)), eight_gaussians(), 256, torch.Generator()), 50))
    seconds(bare, batches), seconds(ours, batches)  # warm up
    times = [(seconds(bare, batches), seconds(ours, batches)) for _ in range(ROUNDS)]
    ratios = sorted(b / a for a, b in times)
    per_step = [1e3 * statistics.median(column) / STEPS for column in zip(*times, strict=True)]
    print(f"bare {per_step[0]:.2f} ms a step, flowlib {per_step[1]:.2f} ms")
    print(f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}), {ROUNDS} rounds in turn")


if __name__ == "__main__":
    main()
