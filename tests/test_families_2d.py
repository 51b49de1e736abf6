"""Five families on one target: each is what it says, and the judge knows the exact answer."""

import pytest
import torch

from flowlib.densities import eight_gaussians
from flowlib.errors import InputError
from flowlib.flows import CNF, MatchedFlow
from flowlib.paths import OT, exact_velocity
from flowlib.recipes import RECIPES, families_2d, family_2d
from flowlib.recipes.families_2d import ROADS, calls_counted, exactly, judge
from flowlib.recipes.results import RESULTS_FOLDER, read
from flowlib.solvers import DOPRI5

pytestmark = pytest.mark.usefixtures("unchecked")
few_calls = {"normalizing": (4, 4), "autoregressive": (1, 2)}  # of networks: log_prob, sample


@pytest.mark.parametrize("road", ROADS)
def test_every_family_has_the_two_verbs_and_learns(road, generator):
    recipe = family_2d(road=road)
    assert recipe.name in RECIPES
    run = recipe.changed(steps=15, batch_size=128, lr_schedule="constant").start()
    torch.manual_seed(0)
    losses = [step.loss for step in run.steps]
    assert sum(losses[-5:]) < sum(losses[:5])
    flow = exactly(run.model)
    if isinstance(flow, CNF):
        assert flow.probe is None
        flow.tolerance = 1e-2  # its first steps leave a rough field
    x = recipe.draw(flow, 5, generator)
    assert x.shape == (5, 2)
    with torch.no_grad():
        assert flow.log_prob(x).isfinite().all()


@pytest.mark.parametrize("road", ["normalizing", "continuous", "autoregressive"])
def test_evaluations_of_networks_are_counted(road, generator):
    flow = exactly(family_2d(road=road).build())
    counts = []
    for use in (lambda: flow.log_prob(torch.zeros(3, 2)), lambda: flow.sample(3, generator=generator)):
        with calls_counted(flow) as count, torch.no_grad():
            use()
        counts.append(count[0])
    if road in few_calls:
        assert tuple(counts) == few_calls[road]
    else:
        assert min(counts) >= 7  # one step of DOPRI5
        assert isinstance(flow, CNF)
        assert flow.method is DOPRI5
        assert flow.probe is None
    before = count[0]
    with torch.no_grad():
        flow.sample(3)
    assert count[0] == before  # outside the block nothing is counted


def test_one_triangular_map_is_autoregressive():
    """The first coordinate's law must not know the second; the second's must know the first."""
    flow = exactly(family_2d(road="autoregressive").build())
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(0))
    J = torch.func.jacrev(lambda x: flow.bijection(x[None])[0][0])(torch.tensor([0.4, -0.7]))
    assert J[0, 1] == 0
    assert J[1, 0].abs() > 1e-3


def test_the_judge_finds_no_fault_in_the_exact_flow_and_one_in_another(monkeypatch):
    monkeypatch.setitem(families_2d.__globals__, "N", 150)
    target = eight_gaussians()
    exact = judge(target, _flow_to(target), blocks=2)
    assert abs(exact["KL"].value) < 4 * exact["KL"].error + 2e-3
    assert abs(exact["W2"].value - exact["W2 floor"].value) < 4 * (exact["W2"].error + exact["W2 floor"].error)
    wrong = judge(target, _flow_to(eight_gaussians(std=0.5)), blocks=2)
    assert wrong["KL"].value > 0.1
    assert wrong["KL"].value > 4 * wrong["KL"].error


def _flow_to(density):
    return MatchedFlow(exact_velocity(OT(), density), (2,), OT(), tolerance=1e-3)


def test_the_stored_table_is_whole():
    rows = read(RESULTS_FOLDER / "families_2d.jsonl")
    assert sorted((row["road"], row["seed"]) for row in rows) == sorted((r, s) for r in ROADS for s in range(3))
    for row in rows:
        assert row["parameters"] == sum(p.numel() for p in family_2d(road=row["road"]).build().parameters())


def test_another_road_is_refused():
    with pytest.raises(InputError, match="road: expected one of normalizing, continuous"):
        family_2d(road="gan")
