"""Training: the one loop, averaged weights, checkpoints, runs that survive."""

from flowlib.atomic import check_writable
from flowlib.training.checkpoint import facts_of, load_checkpoint, save_checkpoint
from flowlib.training.distributed import Parallel, processes
from flowlib.training.ema import EMA
from flowlib.training.journal import Journal, read_log
from flowlib.training.keep import Stopped, kept
from flowlib.training.loop import NonFiniteLoss, Step, train, train_average
from flowlib.training.optimizers import adamw, optimizer_of
from flowlib.training.plan import Plan
from flowlib.training.precision import in_precision
from flowlib.training.run import Run, whole_state
from flowlib.training.snapshot import checkpoints, load_run, save_run
from flowlib.training.speed import forward_flops, matmul_ceiling, seconds

__all__ = [
    "EMA",
    "Journal",
    "NonFiniteLoss",
    "Parallel",
    "Plan",
    "Run",
    "Step",
    "Stopped",
    "adamw",
    "check_writable",
    "checkpoints",
    "facts_of",
    "forward_flops",
    "in_precision",
    "kept",
    "load_checkpoint",
    "load_run",
    "matmul_ceiling",
    "optimizer_of",
    "processes",
    "read_log",
    "save_checkpoint",
    "save_run",
    "seconds",
    "train",
    "train_average",
    "whole_state",
]
