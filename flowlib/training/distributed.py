"""Many processes, applied from outside: the model, the loss and the loop are those of one process.

``torchrun --nproc-per-node 8 -m flowlib train NAME --parallel fsdp`` starts eight of them; more machines differ only in
torchrun's own options. Every process draws the same batch and takes its share of the rows, so that eight processes see
the batches that one would have seen. DDP keeps a whole model in each process and averages gradients; FSDP keeps a part
of every tensor and gathers the whole of a layer when it is needed.

Source: Li et al. 2020 (DDP); Zhao et al. 2023 (FSDP). Chapter 15.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor, nn

from flowlib.errors import InputError

Parallel: TypeAlias = Literal["ddp", "fsdp"]
_wrapped: list[nn.Module] = []  # by DDP or FSDP; they have to go before the processes part, or those wait for ever


def rank() -> int:
    """Return the number of this process, 0 where there is only one."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def processes(device: str) -> Iterator[str]:
    """Join the processes that torchrun has started, if it has, and give this one its device.

    Args:
        device: "cpu" (gloo) or "cuda" (NCCL, one GPU a process).
    """
    if "WORLD_SIZE" not in os.environ or dist.is_initialized():
        yield device
        return
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield device
    finally:
        _wrapped.clear()
        gc.collect()
        dist.destroy_process_group()


class _LossOf(nn.Module):
    """A loss as a module, for DDP and FSDP to wrap: a wrapped model would hide its ``log_prob`` from a loss."""

    def __init__(self, loss: Callable[..., Tensor], model: nn.Module) -> None:
        super().__init__()
        self.loss, self.model = loss, model

    def forward(self, *batch: Tensor) -> Tensor:
        return self.loss(self.model, *batch)


def parallelise(
    loss: Callable[..., Tensor], model: nn.Module, copies: Sequence[nn.Module], parallel: Parallel
) -> Callable[..., Tensor]:
    """Return the loss whose gradients are averaged over the processes.

    Args:
        loss: loss(model, *batch), a mean over the batch.
        model: stays in its class; with "fsdp" its parameters become sharded tensors, in place.
        copies: averaged models, sharded in the same way.
        parallel: "ddp" or "fsdp".

    Raises:
        InputError: there is one process only, which torchrun has not started.
    """
    if not dist.is_initialized():
        raise InputError(
            "--parallel",
            expected="processes started by torchrun",
            got="one process",
            cure="start it with `torchrun -m flowlib train ...`",
        )
    whole_loss = _LossOf(loss, model)
    if parallel == "ddp":
        _wrapped.append(nn.parallel.DistributedDataParallel(whole_loss))
    else:
        _shard(whole_loss, copies)
        _wrapped.append(whole_loss)
    number = len(_wrapped) - 1
    return lambda _, *batch: _wrapped[number](*batch)


def _shard(wrapped: _LossOf, copies: Sequence[nn.Module]) -> None:
    """Shard layer by layer: the elements of a list are the blocks of a network, gathered one after another."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import distribute_tensor

    whole_model = wrapped.model
    mesh = init_device_mesh(next(whole_model.parameters()).device.type, (size(),))
    for module in reversed(list(whole_model.modules())):  # inner lists first, as fully_shard wants them
        if isinstance(module, nn.ModuleList):
            for block in module:
                if any(p.requires_grad for p in block.parameters()):
                    fully_shard(block, mesh=mesh)
    fully_shard(wrapped, mesh=mesh)
    placed: dict[str, Any] = dict(whole_model.named_parameters())
    for average in copies:
        for name, p in list(average.named_parameters()):
            owner, _, last = name.rpartition(".")
            shard = distribute_tensor(p.detach(), placed[name].device_mesh, placed[name].placements)
            setattr(average.get_submodule(owner), last, nn.Parameter(shard, requires_grad=False))


def share(batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return this process's rows of a batch that every process has drawn.

    Raises:
        InputError: rows that cannot be shared out evenly.
    """
    if size() == 1:
        return batch
    if len(batch[0]) % size():
        raise InputError("batch_size", expected=f"a multiple of the {size()} processes", got=len(batch[0]))
    return tuple(u.chunk(size())[rank()] for u in batch)


def mean(value: Tensor) -> Tensor:
    """Mean over the processes; with one process, ``value``."""
    if size() == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / size()


def anywhere(flag: bool) -> bool:
    """Whether ``flag`` holds in any process: they stop at the same step, or wait for each other for ever."""
    if size() == 1:
        return flag
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    total = torch.tensor(float(flag), device=device)
    dist.all_reduce(total)
    return bool(total)


def everyone(value: Any) -> list[Any]:
    """Return the values of all processes, in order."""
    if size() == 1:
        return [value]
    values: list[Any] = [None] * size()
    dist.all_gather_object(values, value)
    return values


def whole(tensor: Tensor) -> Tensor:
    """Return the whole of a sharded tensor, in every process; any other tensor as it is."""
    if not dist.is_initialized():
        return tensor
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def placed_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor on the device of ``like``, and sharded if that is."""
    if dist.is_initialized():
        from torch.distributed.tensor import DTensor, distribute_tensor

        if isinstance(like, DTensor):
            return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)
    return tensor.to(like.device)
