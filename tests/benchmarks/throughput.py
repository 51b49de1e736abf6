"""Pictures a second and operations a second of training, against what the machine can do in one matrix product.

``python -m tests.benchmarks.throughput`` on a GPU measures the U-Net, three sizes of DiT, and blocks of MM-DiT and Flux
at their published widths (fewer of them, so that one card holds their optimiser), in bfloat16, compiled; on a CPU it is
a smoke test with small models. Every step is one of flowlib's own loop: loss, backward, clipping, AdamW,
the average. The batch stays the same, so that reading data is not measured.

Operations are counted, not estimated: two for a multiply-add, three forward passes for a training step.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Literal, NamedTuple

import torch
import tyro
from torch import nn

from flowlib.errors import InputError
from flowlib.models import DiT, Flux, MMDiT, Text, UNet
from flowlib.objectives import flow_matching
from flowlib.sampling import sample
from flowlib.solvers import EULER
from flowlib.training import EMA, Plan, forward_flops, in_precision, matmul_ceiling, train
from flowlib.training.precision import DTYPES


class Case(NamedTuple):
    """One model: at full size, small, the shape of an input, what it is told, and pictures a step on a GPU."""

    full: Callable[[], nn.Module]
    small: Callable[[], nn.Module]
    shape: tuple[int, ...]
    condition: Callable[[nn.Module, int, str], tuple]
    batch_size: int


def nothing(model: nn.Module, n: int, device: str) -> tuple:
    return ()


def classes(model: nn.Module, n: int, device: str) -> tuple:
    return (torch.randint(1000, (n,), device=device),)


def text(tokens: int, model: nn.Module, n: int, device: str) -> tuple:
    return (
        Text(torch.randn(n, tokens, model.words, device=device), torch.randn(n, model.pooled, device=device), None),
    )


SMALL_DIT = partial(DiT, patch=8, width=64, depth=2, heads=2)
MODELS = {
    "unet": Case(
        partial(UNet.of, "cifar10"),
        partial(UNet, 3, width=16, multipliers=(1, 2), blocks=1, attention=(1,)),
        (3, 32, 32),
        nothing,
        512,
    ),
    "dit_s": Case(partial(DiT.of, "S/2"), SMALL_DIT, (4, 32, 32), classes, 1024),
    "dit_b": Case(partial(DiT.of, "B/2"), SMALL_DIT, (4, 32, 32), classes, 512),
    "dit_xl": Case(partial(DiT.of, "XL/2"), SMALL_DIT, (4, 32, 32), classes, 256),
    "mmdit": Case(
        partial(MMDiT, depth=6, width=1536, heads=24),
        partial(MMDiT, words=64, pooled=32, depth=2, width=64, grid=32),
        (16, 64, 64),
        partial(text, 154),
        32,
    ),
    "flux": Case(
        partial(Flux, double=2, single=4),
        partial(Flux, words=64, pooled=32, width=64, heads=2, double=1, single=1, axes=(8, 12, 12)),
        (16, 64, 64),
        partial(text, 512),
        16,
    ),
}


@dataclass(kw_only=True)
class Options:
    """Measure the training of one or all models.

    Attributes:
        model: which one
        device: by default a GPU if there is one
        batch_size: by default 16 (Flux) to 1024 (DiT-S/2) on a GPU, 4 on a CPU
        steps: measured, after as many that are not
        precision: by default bfloat16 on a GPU, float32 on a CPU
        compile: let torch.compile make the kernels; by default on a GPU
        full: the full-size model; by default on a GPU
    """

    model: Literal["unet", "dit_s", "dit_b", "dit_xl", "mmdit", "flux", "all"] = "all"
    device: Literal["cpu", "cuda"] | None = None
    batch_size: int | None = None
    steps: int | None = None
    precision: Literal["float32", "bfloat16"] | None = None
    compile: bool | None = None
    full: bool | None = None


def measure(name: str, options: Options, device: str, ceiling: float) -> dict[str, float]:
    """Time steps of the loop, and print what they mean."""
    torch.compiler.reset()  # dynamo keeps eight versions of one forward, and models share a class
    gpu = device == "cuda"
    case = MODELS[name]
    batch_size = options.batch_size or (case.batch_size if gpu else 4)
    steps = options.steps or (20 if gpu else 2)
    full, compiled = (gpu if value is None else value for value in (options.full, options.compile))
    precision = options.precision or ("bfloat16" if gpu else "float32")
    torch.manual_seed(0)
    model = (case.full if full else case.small)().to(device)
    x_0, x_1 = torch.randn(2, batch_size, *case.shape, device=device)
    flops = 3 * forward_flops(model, x_0[:1], torch.zeros(1, device=device), *case.condition(model, 1, device))
    c = case.condition(model, batch_size, device)
    ema = EMA(model, 0.999)
    if compiled:
        model.compile()
    plan = Plan(steps=2 * steps, batch_size=batch_size, lr=1e-4, clip=1.0, precision=precision)
    loss = in_precision(flow_matching, precision)
    times = [step.seconds for step in train(loss, model, repeat((x_0, x_1, *c)), plan, ema=ema)]
    rate = steps * batch_size / (times[-1] - times[steps - 1])
    size = sum(p.numel() for p in model.parameters())
    print(f"{name}: {size / 1e6:.1f} M parameters, batch {batch_size}, {precision}{', compiled' if compiled else ''}")
    print(f"  {flops / 1e9:.3g} GFLOP to train on a picture, counted")
    print(f"  {rate:.4g} pictures/s, {rate * flops / 1e12:.4g} TFLOP/s, {rate * flops / ceiling:.0%} of the ceiling")
    if gpu:
        print(f"  {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB at most")
        torch.cuda.reset_peak_memory_stats()
    latency(model.eval(), case, device, precision)
    return {"rate": rate, "flops": flops, "share": rate * flops / ceiling}


@torch.no_grad()
def latency(model: nn.Module, case: Case, device: str, precision: str) -> None:
    """Time one picture in a few Euler steps: as it stands, and on a GPU again with each step replayed as a graph."""
    steps = 20 if device == "cuda" else 2
    x_0, c = torch.randn(1, *case.shape, device=device), case.condition(model, 1, device)
    nets = {"plain": model}
    if device == "cuda":
        nets["CUDA graphs"] = torch.compile(model.forward, mode="reduce-overhead")  # model(...) is compiled already
    for name, net in nets.items():
        draw = in_precision(partial(sample, steps=steps, method=EULER), precision)
        draw(net, x_0, *c).cpu()  # compiles, warms up, and is waited for
        start = time.perf_counter()
        draw(net, x_0, *c).cpu()
        print(f"  {1e3 * (time.perf_counter() - start):.4g} ms for one picture in {steps} Euler steps, {name}")


def main(options: Options) -> dict[str, dict[str, float]]:
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    gpu = device == "cuda"
    if gpu and not torch.cuda.is_available():
        raise InputError("--device", expected="a GPU that torch can use", got="none", cure="--device cpu")
    torch.backends.cudnn.allow_tf32 = False  # float32 means 24 bits, in convolutions too
    dtype = DTYPES[options.precision or ("bfloat16" if gpu else "float32")] or torch.float32
    ceiling = matmul_ceiling(8192 if gpu else 512, device=device, dtype=dtype)
    hardware = torch.cuda.get_device_name() if gpu else f"{platform.machine()}, {torch.get_num_threads()} thread(s)"
    print(f"{hardware}; torch {torch.__version__}; one matrix product in {dtype}: {ceiling / 1e12:.4g} TFLOP/s")
    if not gpu:
        print("no GPU: small models, a smoke test and no measurement")
    names = list(MODELS) if options.model == "all" else [options.model]
    return {name: measure(name, options, device, ceiling) for name in names}


if __name__ == "__main__":
    try:
        main(tyro.cli(Options, prog="throughput", config=(tyro.conf.DisallowNone,)))
    except InputError as error:
        sys.exit(f"throughput: {error}")
