"""What a training step costs in arithmetic, and what the machine could do: a speed is read beside these two."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def forward_flops(f: Callable[..., Any], *inputs: Any) -> int:
    """Count the floating-point operations of ``f(*inputs)`` in matrix products, convolutions and attention.

    A multiply-add is two operations: a linear layer from m to n features costs ``2 m n`` a token. Papers often print
    multiply-adds and call them FLOPs. Training costs three forward passes: the backward pass has two products, one for
    the inputs and one for the weights, where the forward pass has one. Nothing is computed for tensors on "meta".

    >>> forward_flops(torch.nn.Linear(3, 5), torch.ones(7, 3))
    210

    Source: the accounting of Kaplan et al. 2020, section 2.1, with operations instead of multiply-adds. Chapter 15.
    """
    # The counter does not know the fused attention of the CPU, and would count nothing; the plain one is two products.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        f(*inputs)
    return counter.get_total_flops()


def seconds(f: Callable[[], Any], *, device: str = "cpu", repeats: int = 5) -> float:
    """Fastest of several calls, after one that is not counted: what else a machine does can only add to the time.

    On a CPU it is the time that the calling thread computes, which a busy machine disturbs least; a GPU is waited for
    before the clock is read.
    """

    gpu = device.startswith("cuda")

    def now() -> float:
        if gpu:
            torch.cuda.synchronize()
        return time.perf_counter() if gpu else time.thread_time()

    times = []
    for _ in range(repeats + 1):
        start = now()
        f()
        times.append(now() - start)
    return min(times[1:])


def matmul_ceiling(
    n: int = 1024, *, device: str = "cpu", dtype: torch.dtype = torch.float32, repeats: int = 5
) -> float:
    """Operations a second of one n x n matrix product, ``2 n^3`` over its least time: what a step can at most reach.

    A measured ceiling is fairer than the number on the box, which no program reaches. A GPU wants n of 8192 or more.
    """
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    return 2 * n**3 / seconds(lambda: a @ b, device=device, repeats=repeats)
