"""Pictures a second and operations a second of training, against what the machine can do in one matrix product.

``python -m tests.benchmarks.throughput`` on a GPU measures the U-Net and DiT-XL/2 at full size in bfloat16, compiled;
on a CPU it is a smoke test with small models. Every step is one of flowlib's own loop: loss, backward, clipping, AdamW,
the average. The batch stays the same, so that reading data is not measured.

Operations are counted, not estimated: two for a multiply-add, three forward passes for a training step.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Literal

import torch
import tyro

from flowlib.models import DiT, UNet
from flowlib.objectives import flow_matching
from flowlib.training import EMA, Plan, forward_flops, in_precision, matmul_ceiling, train
from flowlib.training.precision import DTYPES

# name: (full-size model, small model, shape of an input, classes or 0, batch on a GPU)
MODELS = {
    "unet": (
        partial(UNet.of, "cifar10"),
        partial(UNet, 3, width=16, multipliers=(1, 2), blocks=1, attention=(1,)),
        (3, 32, 32),
        0,
        512,
    ),
    "dit": (partial(DiT.of, "XL/2"), partial(DiT.of, "S/8", depth=2), (4, 32, 32), 1000, 256),
}


@dataclass(kw_only=True)
class Options:
    """Measure the training of one or all models.

    Attributes:
        model: which one
        device: by default a GPU if there is one
        batch_size: by default 512 (U-Net) and 256 (DiT) on a GPU, 4 on a CPU
        steps: measured, after as many that are not
        precision: by default bfloat16 on a GPU, float32 on a CPU
        compile: let torch.compile make the kernels; by default on a GPU
        full: the full-size model; by default on a GPU
    """

    model: Literal["unet", "dit", "all"] = "all"
    device: Literal["cpu", "cuda"] | None = None
    batch_size: int | None = None
    steps: int | None = None
    precision: Literal["float32", "bfloat16"] | None = None
    compile: bool | None = None
    full: bool | None = None


def measure(name: str, options: Options, device: str, ceiling: float) -> dict[str, float]:
    """Time steps of the loop, and print what they mean."""
    gpu = device == "cuda"
    make, small, shape, classes, batch_on_gpu = MODELS[name]
    batch_size = options.batch_size or (batch_on_gpu if gpu else 4)
    steps = options.steps or (20 if gpu else 2)
    full, compiled = (gpu if value is None else value for value in (options.full, options.compile))
    precision = options.precision or ("bfloat16" if gpu else "float32")
    torch.manual_seed(0)
    model = (make if full else small)().to(device)
    x_0, x_1 = torch.randn(2, batch_size, *shape, device=device)
    c = (torch.randint(classes, (batch_size,), device=device),) if classes else ()
    flops = 3 * forward_flops(model, x_0[:1], torch.zeros(1, device=device), *(u[:1] for u in c))
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
    return {"rate": rate, "flops": flops, "share": rate * flops / ceiling}


def main(options: Options) -> dict[str, dict[str, float]]:
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    gpu = device == "cuda"
    dtype = DTYPES[options.precision or ("bfloat16" if gpu else "float32")] or torch.float32
    ceiling = matmul_ceiling(8192 if gpu else 512, device=device, dtype=dtype)
    hardware = torch.cuda.get_device_name() if gpu else f"{platform.machine()}, {torch.get_num_threads()} thread(s)"
    print(f"{hardware}; torch {torch.__version__}; one matrix product in {dtype}: {ceiling / 1e12:.4g} TFLOP/s")
    if not gpu:
        print("no GPU: small models, a smoke test and no measurement")
    names = list(MODELS) if options.model == "all" else [options.model]
    return {name: measure(name, options, device, ceiling) for name in names}


if __name__ == "__main__":
    main(tyro.cli(Options, config=(tyro.conf.DisallowNone,)))
