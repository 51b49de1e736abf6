"""Training: the one loop, averaged weights, checkpoints, runs that survive."""

from flowlib.training.checkpoint import check_writable, load_checkpoint, save_checkpoint
from flowlib.training.distributed import Parallel, processes
from flowlib.training.ema import EMA
from flowlib.training.journal import Journal, read_log
from flowlib.training.keep import Stopped, kept
from flowlib.training.loop import NonFiniteLoss, Plan, Step, adamw, train
from flowlib.training.precision import in_precision
from flowlib.training.run import Run, whole_state
from flowlib.training.snapshot import checkpoints, load_run, save_run

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
    "in_precision",
    "kept",
    "load_checkpoint",
    "load_run",
    "processes",
    "read_log",
    "save_checkpoint",
    "save_run",
    "train",
    "whole_state",
]
