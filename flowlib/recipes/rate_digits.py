"""Rate against distortion: autoencoders of digits at several prices of a bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from flowlib.datasets import digits, epochs
from flowlib.evaluation import psnr
from flowlib.models import Autoencoder
from flowlib.objectives import rate_distortion
from flowlib.recipes.results import RESULTS_FOLDER, Row, fill
from flowlib.recipes.vae_digits import decoded, reconstruct, vae_digits
from flowlib.training import Plan, train_average

SEEDS = (0, 1, 2)
BETAS = (0.3, 0.1, 0.03, 0.01)
LONG = {"beta": 0.1, "steps": 1000}  # a training that is not cut short
PLAN = Plan(steps=300, batch_size=32, lr=3e-3, warmup=20, lr_schedule="cosine", clip=1.0, ema=0.97)


def rate_digits(path: str | Path | None = None, seeds: Sequence[int] = SEEDS, *, plan: Plan = PLAN) -> list[Row]:
    """Fill the table: one row for every beta of ``BETAS`` and seed that has none yet, then longer trainings.

    A row holds, of the 360 held-out digits: the rate in bits, the squared error and the PSNR, at one draw of z each.

    Args:
        path: the table, ``data/results/rate_digits.jsonl`` if left out.
        seeds: of weights, batches and noise; all betas of one seed come before the next, all longer trainings last.
        plan: of every training.

    Chapter 12 shows it.
    """
    cells = [{"beta": beta, "seed": seed, "steps": plan.steps} for seed in seeds for beta in BETAS]
    cells += [LONG | {"seed": seed} for seed in seeds]

    def measure(beta: float, seed: int, steps: int) -> dict[str, float]:
        model, x = trained(beta, seed, plan=replace(plan, steps=steps)), digits("test").x
        with torch.no_grad():
            pieces = rate_distortion(model, x, torch.Generator().manual_seed(1))
        return {
            "rate": float(pieces.rate.mean()),
            "squared error": float(pieces.distortion.mean()),
            "PSNR": float(psnr(x, decoded(model, x))),
        }

    return fill(path or RESULTS_FOLDER / "rate_digits.jsonl", cells, measure)


def trained(beta: float, seed: int, *, plan: Plan = PLAN) -> Autoencoder:
    """Train the network of vae_digits at another price of a bit."""
    with torch.random.fork_rng(devices=[]):  # the noise of z too
        torch.manual_seed(seed)
        model = vae_digits().model()
        batches = epochs(digits("train"), plan.batch_size, torch.Generator().manual_seed(seed))
        average = train_average(lambda m, x, c: reconstruct(m, x, beta=beta), model, batches, plan)
    assert isinstance(average, Autoencoder)
    return average
