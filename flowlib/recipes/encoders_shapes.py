"""Who reads for Flux? An encoder that was trained before it, or one that is trained with it, by captions met."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path as File

import torch

from flowlib.datasets import captioned_shapes
from flowlib.evaluation import caption_accuracy
from flowlib.recipes.mmdit_shapes import TIMES, draw_captions
from flowlib.recipes.results import RESULTS_FOLDER, Row, fill
from flowlib.recipes.times_shapes import DRAWN, PLAN, SEEDS, trained
from flowlib.training import Plan

ENCODERS = ("of mmdit_shapes", "its own")


def encoders_shapes(path: str | File | None = None, seeds: Sequence[int] = SEEDS, *, plan: Plan = PLAN) -> list[Row]:
    """Fill the table: one row for either encoder and every seed that has none yet.

    A row holds the shares of 200 captions of two shapes whose colours are met, whose relation is met as well, and that
    are met as a whole, by pictures drawn in 6 midpoint steps with guidance of 3.

    Args:
        path: the table, ``data/results/encoders_shapes.jsonl`` if left out.
        seeds: of weights, data, noise and times.
        plan: of every training.

    Chapter 14 shows it.
    """
    cells = [{"encoder": name, "seed": seed, "steps": plan.steps} for seed in seeds for name in ENCODERS]
    return fill(path or RESULTS_FOLDER / "encoders_shapes.jsonl", cells, partial(_measure, plan=plan))


@torch.no_grad()
def _measure(encoder: str, seed: int, steps: int, plan: Plan) -> dict[str, float]:
    model = trained(TIMES, seed, plan, listen=encoder == ENCODERS[0])
    data = captioned_shapes(3 * DRAWN, 1, most=2, pairs="seen")
    captions = [scene.caption for scene in data.scenes if scene.relation][:DRAWN]
    x = draw_captions(model, captions, torch.Generator().manual_seed(seed), steps=6)
    return {part: float(caption_accuracy(x, captions, part)) for part in ("colours", "relation", "all")}
