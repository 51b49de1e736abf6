"""The published comparison of pairings in the plane, measured again: [SF]^2M (Tong et al. 2024), Table 2.

Protocol, appendix F of the paper: an MLP of 3 x 64 with SELU, AdamW at 1e-3 with weight decay 1e-5, 20 000 steps of 512
out of 10 000 training points, noise 0.1 (1 for SB-CFM), 100 Euler steps, W2 to 10 000 test points.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path as File

import torch
from torch import Tensor, nn

from flowlib.datasets import Stream
from flowlib.densities import eight_gaussians
from flowlib.evaluation import wasserstein
from flowlib.models import MLP
from flowlib.objectives import flow_matching
from flowlib.paths import OT, Bridge, Pairing, Path, Tube, independent, optimal_transport, sinkhorn
from flowlib.recipes.results import RESULTS_FOLDER, Row, fill, spread
from flowlib.rectify import flow_pairs
from flowlib.solvers import EULER, solve
from flowlib.training import Plan, train

SEEDS = (42, 43, 44, 45, 46)
POINTS = 10_000  # of training, and of the test
PLAN = Plan(steps=20_000, batch_size=512, lr=1e-3, weight_decay=1e-5)
METHODS: dict[str, tuple[Path, Pairing]] = {
    "I-CFM": (Tube(0.1), independent),
    "FM": (OT(sigma_min=0.1), independent),
    "OT-CFM": (Tube(0.1), optimal_transport),
    "OT-CFM in blocks": (Tube(0.1), partial(optimal_transport, block=64)),  # not in the paper: a cheaper pairing
    "SB-CFM": (Bridge(1.0), partial(sinkhorn, sigma=1.0)),
}
LAWS = {  # the papers use these names for other sets too; these are the table's
    "N": lambda n, seed: torch.randn(n, 2, generator=torch.Generator().manual_seed(seed)),
    "8gaussians": lambda n, seed: eight_gaussians(5, 1).sample(n, torch.Generator().manual_seed(seed)),
    "wide 8gaussians": lambda n, seed: eight_gaussians(12, 1.5).sample(n, torch.Generator().manual_seed(seed)),
    "moons": lambda n, seed: 2 * _scikit("moons", 0.05, n, seed) - 1,
    "wide moons": lambda n, seed: 7 * _standard(_scikit("moons", 0.1, n, seed)),
    "s-curve": lambda n, seed: 1.5 * _scikit("s_curve", 0.05, n, seed)[:, [0, 2]],
}
TASKS = {  # source and target of each column
    "N to 8gaussians": ("N", "8gaussians"),
    "moons to 8gaussians": ("wide moons", "wide 8gaussians"),
    "N to moons": ("N", "moons"),
    "N to s-curve": ("N", "s-curve"),
}
FROM_NOISE = ("FM", "SB-CFM")  # rows that the paper gives for a Gaussian source alone
ROWS = ("floor", "I-CFM", "FM", "RF", "OT-CFM in blocks", "OT-CFM", "SB-CFM")  # the costly ones last


def pairings_2d(path: str | File | None = None, seeds: Sequence[int] = SEEDS, *, plan: Plan = PLAN) -> list[Row]:
    """Fill the table: one row for every task, method and seed that has none yet.

    A row holds W2 of 10 000 generated points to as many test points, and the energy ``sum_k |x_{k+1} - x_k|^2 / dt`` of
    the Euler path, whose excess is the NPE (see ``npe``). The row "floor" holds W2 between two fresh samples of the
    target, and the squared distance from source to target.

    Args:
        path: the table, ``data/results/pairings_2d.jsonl`` if left out.
        seeds: of weights, data and noise; all methods of one seed come before the next seed, SB-CFM last of all.
        plan: of every training.

    Chapter 07 shows it.
    """
    cells = [
        {"task": task, "method": method, "seed": seed, "steps": plan.steps}
        for late in (False, True)
        for seed in seeds
        for method in ROWS
        for task in TASKS
        if (method == "SB-CFM") == late and (task.startswith("N") or method not in FROM_NOISE)
    ]
    return fill(path or RESULTS_FOLDER / "pairings_2d.jsonl", cells, partial(_measure, plan=plan))


def npe(rows: Sequence[Row], task: str, method: str) -> list[float]:
    """Normalised path energy of each seed, ``|int E|v|^2 dt - W2^2| / W2^2`` with W2 from the source to the target.

    Source: [SF]^2M, equation 22.
    """
    least = spread(rows, "transport", task=task, method="floor")
    if least is None:
        return []
    found = [row["energy"] for row in rows if row["task"] == task and row["method"] == method]
    return [abs(energy - least.mean) / least.mean for energy in found]


def _measure(task: str, method: str, seed: int, steps: int, plan: Plan) -> dict[str, float]:
    source, target = (LAWS[name] for name in TASKS[task])
    test_0, test_1 = source(POINTS, 10 * seed + 2), target(POINTS, 10 * seed + 3)
    if method == "floor":
        fresh = wasserstein(target(POINTS, 10 * seed + 4), test_1)
        return {"W2": float(fresh), "transport": float(wasserstein(test_0, test_1)) ** 2}
    v = _rectified_twice(task, seed, plan) if method == "RF" else _trained(task, seed, plan, *METHODS[method])
    with torch.no_grad():
        x = solve(v, test_0, torch.linspace(0, 1, 101), EULER).trajectory
    energy = 100 * float(x.diff(dim=0).square().sum((0, 2)).mean())
    return {"W2": float(wasserstein(x[-1], test_1)), "energy": energy}


def _trained(task: str, seed: int, plan: Plan, path: Path, pairing: Pairing) -> nn.Module:
    """Train a field on 10 000 points of the target, from fresh noise or from 10 000 points of the source."""
    generator = torch.Generator().manual_seed(seed)
    source, target = TASKS[task]
    x_1 = LAWS[target](POINTS, 10 * seed + 1)
    pool = None if source == "N" else LAWS[source](POINTS, 10 * seed)

    def batch(index: Tensor) -> tuple[Tensor, Tensor]:
        n = len(index)
        drawn = torch.randn(n, 2, generator=generator) if pool is None else pool[_choose(n, generator)]
        return drawn[pairing(drawn, x_1[index], generator)], x_1[index]

    return _fit(Stream(batch, generator, size=POINTS, batch_size=plan.batch_size), seed, plan, path, generator)


def _rectified_twice(task: str, seed: int, plan: Plan) -> nn.Module:
    """Train a rectified flow, pair 10 000 source points with where it takes them, and train again on the pairs."""
    v = _trained(task, seed, plan, OT(), independent)
    pairs = flow_pairs(v, LAWS[TASKS[task][0]](POINTS, 10 * seed), tolerance=1e-2)
    generator = torch.Generator().manual_seed(seed)
    return _fit(pairs.batches(plan.batch_size, generator), seed, plan, OT(), generator)


def _fit(batches: Stream, seed: int, plan: Plan, path: Path, generator: torch.Generator) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        v = MLP(2, activation=nn.SELU)
    for _ in train(partial(flow_matching, path=path, generator=generator), v, batches, plan):
        pass
    return v


def _choose(n: int, generator: torch.Generator) -> Tensor:
    return torch.randint(POINTS, (n,), generator=generator)


def _scikit(name: str, noise: float, n: int, seed: int) -> Tensor:
    """scikit-learn's own sets, in random order."""
    from sklearn import datasets

    return torch.from_numpy(getattr(datasets, f"make_{name}")(n, noise=noise, random_state=seed)[0]).float()


def _standard(x: Tensor) -> Tensor:
    """One mean and one standard deviation for all coordinates, as in the code of DSB."""
    return (x - x.mean()) / x.std()
