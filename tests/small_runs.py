"""A small run on a CPU, and the processes that train it, for tests that kill them.

The processes are forked from a server that has imported everything: a start takes milliseconds.
"""

import multiprocessing
import os
import signal
import sys
from functools import partial

import torch

from flowlib.datasets import Labelled, from_noise
from flowlib.models import MLP
from flowlib.objectives import flow_matching
from flowlib.training import Journal, Plan, Run, kept, processes
from flowlib.training.distributed import size

PLAN = Plan(steps=300, batch_size=32, lr=1e-3, warmup=5, lr_schedule="cosine", clip=1.0, ema=0.99, more_ema=(0.9,))


class Nested(torch.nn.Module):
    """A block with a list of its own, as the levels of an autoencoder have."""

    def __init__(self):
        super().__init__()
        self.parts = torch.nn.ModuleList([torch.nn.Linear(2, 2)])

    def forward(self, x):
        return self.parts[0](x)


class Dropped(torch.nn.Module):
    """A field in the plane with dropout, so that the model draws random numbers too."""

    def __init__(self):
        super().__init__()
        self.net = MLP(2, width=16, depth=2)
        self.blocks = torch.nn.ModuleList([Nested(), torch.nn.Linear(2, 2)])
        self.dropout = torch.nn.Dropout(0.2)

    def forward(self, x, t, c=None):
        for block in self.blocks:
            x = x + self.dropout(block(x))
        return self.net(x, t)


def points():
    """100 points of two classes: a pass has three batches of 32."""
    x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    return Labelled(x + 3 * x.sign(), (x[:, 0] > 0).long())


def small_run(plan=PLAN, *, batches=None, loss=flow_matching, model=Dropped, **options):
    """Batches, times and dropout all draw random numbers."""
    torch.manual_seed(plan.seed)
    stream = partial(from_noise, points(), plan.batch_size) if batches is None else batches
    return Run(loss, model(), stream, plan, **options)


def timeless(v, x_0, x_1, c):
    """A flow-matching loss whose times come with the batch, so that the same rows give the same loss in any process."""
    t = (c.float() + 1) / 3
    return (v(t[:, None] * x_1 + (1 - t[:, None]) * x_0, t) - (x_1 - x_0)).square().mean()


def go(folder, every=5, plan=PLAN, **options):
    """Train, with a log and checkpoints in ``folder``."""
    torch.set_num_threads(1)
    with processes("cpu") as device:
        run = small_run(plan, device=device, **options)
        journal = None
        for step in kept(run, folder, every=every):
            journal = journal or Journal(folder, step.n - 1, plan.batch_size)
            journal.write(step)


def go_until(folder, k, plan):
    """Train, and die by SIGKILL just before the k-th time that a file or a folder of the run is touched."""
    touched = iter(range(1, k))

    def die(event, arguments):
        touching = event in {"open", "os.rename", "os.mkdir", "os.rmdir", "os.remove"}
        if touching and str(folder) in str(arguments[0]) and next(touched, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(die)
    go(folder, every=2, plan=plan)


def go_together(rank, port, folder, steps, parallel):
    """One of two processes, as torchrun would start it; no dropout, no random times."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    assert size() == 1
    go(folder, every=10, plan=together_plan(steps), parallel=parallel, loss=timeless, model=still)


def together_plan(steps):
    return Plan(steps=steps, batch_size=32, lr=1e-2, clip=1.0, ema=0.9)


def still():
    """The same field without dropout."""
    field = Dropped()
    field.dropout.p = 0.0
    return field


def server():
    """Return the context that forks; its first process takes seconds, the others milliseconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["small_runs", "torch.distributed.fsdp", "torch.distributed.tensor"])
    return context


if __name__ == "small_runs":  # in the server: what the first optimiser imports takes seconds
    torch.optim.AdamW([torch.zeros(1)], fused=True)
