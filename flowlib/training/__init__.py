"""Training: the one loop, averaged weights, checkpoints."""

from flowlib.training.checkpoint import check_writable, load_checkpoint, save_checkpoint
from flowlib.training.ema import EMA
from flowlib.training.loop import NonFiniteLoss, Plan, Step, train

__all__ = ["EMA", "NonFiniteLoss", "Plan", "Step", "check_writable", "load_checkpoint", "save_checkpoint", "train"]
