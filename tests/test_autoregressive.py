"""Autoregression with a flow head: the mask is the order, and on Gaussians with known conditionals all is exact."""

import math

import pytest
import torch
from laws import reaches_every_parameter
from torch import nn

from flowlib.errors import InputError
from flowlib.flows import AutoregressiveFlow
from flowlib.layers import patchify
from flowlib.models import MAR
from flowlib.models.mar import FlowHead, order_bias
from flowlib.objectives import flow_matching, token_matching
from flowlib.solvers import MIDPOINT

pytestmark = pytest.mark.usefixtures("float64")

N = 6
ORDERS = {
    "raster": torch.arange(N),
    "another": torch.tensor([3, 0, 5, 1, 4, 2]),
    "two at once": torch.arange(N) // 2,
    "growing": torch.tensor([0, 2, 1, 2, 1, 2]),
    "all at once": torch.zeros(N, dtype=torch.long),
}
by_order = pytest.mark.parametrize("rounds", ORDERS.values(), ids=ORDERS)


def small(**changes) -> MAR:
    """A picture of 2 x 3 patches, with a network whose outputs are not zero, as they are at first."""
    torch.manual_seed(0)
    settings = {"channels": 2, "num_classes": 3, "size": (4, 6), "width": 16, "depth": 2, "heads": 2, "head_depth": 2}
    model = MAR(**(settings | changes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


# ---------------------------------------------------------------- who reads whom


@by_order
def test_a_context_depends_on_earlier_rounds_and_on_nothing_else(rounds, generator):
    """By the Jacobian: dz_i/dx_j is zero unless j is drawn before i, and not zero if it is."""
    model, tokens = small(), torch.randn(1, N, 8, generator=generator)
    z = torch.func.jacrev(lambda y: model.context(y, rounds, torch.tensor([1])))(tokens)
    touched = z[0, :, :, 0].abs().sum((1, 3)) > 0  # (N, N): does context i feel token j
    assert torch.equal(touched, rounds[None, :] < rounds[:, None])


def test_a_query_that_reads_its_own_content_is_found(monkeypatch, generator):
    """The leak that training loves: <= for < in the mask of the queries."""

    def leaky(rounds, like):
        bias = order_bias(rounds, like)
        bias[..., N:, :N] = bias[..., :N, :N]
        return bias

    monkeypatch.setattr("flowlib.models.mar.order_bias", leaky)
    with pytest.raises(AssertionError):
        test_a_context_depends_on_earlier_rounds_and_on_nothing_else(ORDERS["raster"], generator)


def test_each_picture_may_have_an_order_of_its_own(generator):
    model, tokens, c = small(), torch.randn(3, N, 8, generator=generator), torch.tensor([0, 2, 1])
    rounds = torch.stack([torch.randperm(N, generator=generator) for _ in range(3)])
    one_by_one = [model.context(tokens[b : b + 1], rounds[b], c[b : b + 1]) for b in range(3)]
    torch.testing.assert_close(model.context(tokens, rounds, c), torch.cat(one_by_one), rtol=0, atol=1e-10)


def test_a_context_knows_its_place_and_its_class(generator):
    model, tokens = small(), torch.zeros(3, N, 8)
    z = model.context(tokens, ORDERS["all at once"], torch.arange(3)).detach()
    assert float(torch.pdist(z[0]).min()) > 1e-3  # places
    assert float(torch.pdist(z[:, 0]).min()) > 1e-3  # classes


def test_a_flow_holds_its_model_once():
    flow = AutoregressiveFlow(small(), (2, 4, 6))
    assert flow.state_dict().keys() == {f"model.{name}" for name in flow.model.state_dict()}


def test_only_the_order_matters_not_the_numbers_of_the_rounds(generator):
    model, tokens = small(), torch.randn(2, N, 8, generator=generator)
    c = torch.zeros(2, dtype=torch.long)
    z = [model.context(tokens, rounds, c) for rounds in (ORDERS["another"], 10 * ORDERS["another"] - 7)]
    assert torch.equal(*z)


# ---------------------------------------------------------------- the head


def test_a_head_starts_at_rest_and_hears_time_and_context(generator):
    x, t, z = torch.randn(5, 4, generator=generator), torch.rand(5, generator=generator), torch.randn(5, 8)
    head = FlowHead(4, 8, width=16)
    assert torch.equal(head(x, t, z), torch.zeros(5, 4))
    nn.init.normal_(head.head.weight)
    nn.init.normal_(head.last.linear.weight)
    assert not torch.allclose(head(x, t, z), head(x, t, -z))
    assert not torch.allclose(head(x, t, z), head(x, 1 - t, z))


def test_every_parameter_learns(generator):
    model, (x_0, x_1) = small(), torch.randn(2, 4, 2, 4, 6, generator=generator)
    loss = token_matching(model, x_0, x_1, torch.tensor([0, 1, 2, 0]), generator=generator)
    reaches_every_parameter(loss, model)


# ---------------------------------------------------------------- exact: a Gaussian, whose conditionals are known


class Conditionals(nn.Module):
    """The best model of N(0, C) on pictures of one row: contexts are mean and deviation, the head their exact field."""

    patch = 1

    def __init__(self, C):
        super().__init__()
        self.C = C

    def context(self, tokens, rounds, c=None):
        z = []
        for i in range(len(self.C)):
            known = rounds < rounds[i]
            solved = torch.linalg.solve(self.C[known][:, known], self.C[known, i])
            mean = tokens[:, known, 0] @ solved
            sd = (self.C[i, i] - self.C[i, known] @ solved).sqrt()
            z.append(torch.stack([mean, sd.expand_as(mean)], 1))
        return torch.stack(z, 1)

    def head(self, x, t, z):
        mean, sd, t = z[:, :1], z[:, 1:], t[:, None]
        return mean + (sd**2 * t - (1 - t)) / (sd**2 * t**2 + (1 - t) ** 2) * (x - t * mean)


def covariance(n=N):
    """An autoregression of order one and a little more, so that no two patches are independent given others."""
    distance = (torch.arange(n)[:, None] - torch.arange(n)).abs()
    return 0.8**distance + 0.2 * torch.eye(n)


def product_law(C, rounds):
    """The Gaussian that is drawn round by round, patches of one round independent: its covariance."""
    n = len(C)
    B, D = torch.zeros(n, n), torch.zeros(n)
    for i in range(n):
        known = rounds < rounds[i]
        B[i, known] = torch.linalg.solve(C[known][:, known], C[known, i])
        D[i] = C[i, i] - C[i, known] @ B[i, known]
    A = torch.linalg.inv(torch.eye(n) - B)
    return A @ torch.diag(D) @ A.T


@by_order
def test_log_prob_is_that_of_what_is_drawn(rounds, generator):
    C = covariance()
    law = product_law(C, rounds)
    x = torch.randn(30, 1, 1, N, generator=generator)
    flow = AutoregressiveFlow(Conditionals(C), (1, 1, N), rounds, tolerance=1e-8)
    exact = torch.distributions.MultivariateNormal(torch.zeros(N), law).log_prob(x.flatten(1))
    torch.testing.assert_close(flow.log_prob(x), exact, rtol=0, atol=1e-5)
    if len(rounds.unique()) == N:  # the chain rule, in any order
        torch.testing.assert_close(law, C)


@by_order
def test_samples_have_that_law(rounds, generator):
    C = covariance()
    flow = AutoregressiveFlow(Conditionals(C), (1, 1, N), rounds, method=MIDPOINT, steps=20)
    x = flow.sample(20_000, generator=generator).flatten(1)
    law = product_law(C, rounds)
    error = ((law.diag()[:, None] * law.diag() + law**2) / len(x)).sqrt()  # of an entry of the sample covariance
    assert float(((x.T @ x / len(x) - law) / error).abs().max()) < 4.5
    assert float((x.mean(0) / (law.diag() / len(x)).sqrt()).abs().max()) < 4


@by_order
def test_rounds_lose_the_total_correlation(rounds):
    """KL(p || what is drawn) = sum of log conditional deviations - (log det C) / 2, and 0 for one patch a round."""
    C = covariance()
    law = product_law(C, rounds)
    kl = 0.5 * ((torch.linalg.solve(law, C)).trace() - N + law.logdet() - C.logdet())
    sets = [rounds < k for k in rounds.unique()]
    lost = 0.0
    for k, before in zip(rounds.unique(), sets, strict=True):
        now = rounds == k
        given = C[now][:, now] - C[now][:, before] @ torch.linalg.solve(C[before][:, before], C[before][:, now])
        lost += 0.5 * float(given.diag().log().sum() - given.logdet())
    assert float(kl) == pytest.approx(lost, abs=1e-10)
    assert (lost < 1e-10) == (len(rounds.unique()) == N)


def test_the_exact_conditionals_have_the_lowest_loss(generator):
    C = covariance()
    x_1 = torch.randn(20_000, N, generator=generator) @ torch.linalg.cholesky(C).T
    x_0 = torch.randn(20_000, 1, 1, N, generator=generator)
    x_1, best = x_1[:, None, None], Conditionals(C)

    def loss(model):
        return float(
            token_matching(model, x_0, x_1, rounds=torch.arange(N), generator=torch.Generator().manual_seed(1))
        )

    for wrong in (covariance() * 1.2, torch.eye(N), 0.9 * covariance() + 0.1):
        assert loss(Conditionals(wrong)) > loss(best) + 1e-3


# ---------------------------------------------------------------- the flow


def test_one_patch_is_flow_matching(generator):
    """Where the patch is the whole picture, the loss is chapter 04's, number for number."""
    model, (x_0, x_1) = small(patch=2, size=2), torch.randn(2, 5, 2, 2, 2, generator=generator)
    c, rounds = torch.tensor([0, 1, 2, 0, 1]), torch.zeros(1, dtype=torch.long)
    z = model.context(patchify(x_1, 2), rounds, c)[:, 0]
    same = [torch.Generator().manual_seed(3) for _ in range(2)]
    plain = flow_matching(model.head, *(patchify(x, 2)[:, 0] for x in (x_0, x_1)), z, generator=same[0])
    assert torch.equal(token_matching(model, x_0, x_1, c, rounds=rounds, generator=same[1]), plain)
    z_other = model.context(patchify(x_0, 2), rounds, c)[:, 0]
    assert torch.equal(z, z_other)  # nothing was before it


def test_a_picture_is_drawn_round_by_round(generator):
    flow = AutoregressiveFlow(small(), (2, 4, 6), ORDERS["growing"], method=MIDPOINT, steps=2)
    c = torch.tensor([0, 1, 2])
    seen = [patchify(x, 2) for x in flow.draw(3, c, torch.Generator().manual_seed(4))]
    assert len(seen) == 3
    for k, tokens in enumerate(seen):
        drawn = tokens.abs().sum((0, 2)) > 0
        assert torch.equal(drawn, flow.rounds <= k)
        if k:
            assert torch.equal(tokens[:, flow.rounds < k], seen[k - 1][:, flow.rounds < k])
    before = torch.get_rng_state()
    x = flow.sample(3, c, torch.Generator().manual_seed(4))
    assert torch.equal(torch.get_rng_state(), before)
    assert x.shape == (3, 2, 4, 6)
    assert torch.equal(patchify(x, 2), seen[-1])


def test_stages_are_kept_where_a_patch_is_one_number(generator):
    """There a picture is a view of its tokens, which later rounds write to."""
    flow = AutoregressiveFlow(small(channels=1, num_classes=0, size=(1, 3), patch=1), (1, 1, 3), method=MIDPOINT)
    stages = list(flow.draw(2, generator=generator))
    assert [int((x != 0).sum()) for x in stages] == [2, 4, 6]


def test_the_mask_is_where_the_scores_are():
    like = torch.empty(0, dtype=torch.float32, device="meta")
    bias = order_bias(torch.arange(3), like)
    assert (bias.device, bias.dtype) == (like.device, like.dtype)


def test_log_prob_integrates_to_one(generator):
    """Over pictures of two pixels, for a network with random weights, in both orders and at once."""
    model = small(channels=1, num_classes=0, size=(1, 2), patch=1)
    line = torch.linspace(-8, 8, 161)
    x = torch.cartesian_prod(line, line).reshape(-1, 1, 1, 2)
    for rounds in (torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([0, 0])):
        flow = AutoregressiveFlow(model, (1, 1, 2), rounds, tolerance=1e-4)
        with torch.no_grad():
            mass = float(flow.log_prob(x).exp().sum() * 0.1**2)
        assert mass == pytest.approx(1, abs=2e-3)


def test_a_random_order_for_every_picture(generator):
    """Left out, the orders are drawn from the generator, one a picture, each permutation as likely as another."""
    seen = []

    class Watch(MAR):
        def context(self, tokens, rounds, c=None):
            seen.append(rounds)
            return super().context(tokens, rounds, c)

    model, x = Watch(1, 0, size=(2, 6), width=8, heads=2, depth=1), torch.randn(2000, 1, 2, 6, generator=generator)
    nn.init.normal_(model.head.head.weight)  # a new head answers 0
    nn.init.normal_(model.head.last.linear.weight)
    before = torch.get_rng_state()
    losses = [token_matching(model, x, x, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(losses[0], losses[1])
    assert not torch.equal(losses[0], losses[2])
    assert torch.equal(seen[0].sort(1).values, torch.arange(3).expand(2000, 3))
    counts = torch.unique(seen[0], dim=0, return_counts=True)[1]
    assert len(counts) == math.factorial(3)
    assert float((counts - 2000 / 6).abs().max()) < 4 * math.sqrt(2000 / 6)


# ---------------------------------------------------------------- bad input


@pytest.mark.usefixtures("unchecked")
def test_bad_input(generator):
    model, tokens, c = small(), torch.zeros(2, N, 8), torch.zeros(2, dtype=torch.long)
    rounds = torch.arange(N)
    with pytest.raises(InputError, match="tokens: expected shape"):
        model.context(tokens[:, :5], rounds, c)
    with pytest.raises(InputError, match="rounds: expected shape"):
        model.context(tokens, rounds[:5], c)
    with pytest.raises(InputError, match="c: expected one integer"):
        model.context(tokens, rounds)
    with pytest.raises(InputError, match="c: expected one integer"):
        model.context(tokens, rounds, c + 7)
    with pytest.raises(InputError, match="this model has no classes"):
        small(num_classes=0).context(tokens, rounds, c)
    with pytest.raises(InputError, match="multiples of the patch"):
        MAR(size=9)
    with pytest.raises(InputError, match="heads"):
        MAR(heads=5)
    with pytest.raises(InputError, match="rounds: expected one integer a patch"):
        AutoregressiveFlow(model, (2, 4, 6), rounds[:5])
    with pytest.raises(InputError, match=r"rounds: expected one integer a patch.*got torch\.float64"):
        AutoregressiveFlow(model, (2, 4, 6), rounds.double())
    flow = AutoregressiveFlow(model, (2, 4, 6))
    with pytest.raises(InputError, match="x: expected events of shape"):
        flow.log_prob(torch.zeros(2, 2, 6, 4), c)
    with pytest.raises(InputError, match="x: "):
        flow.log_prob(torch.full((2, 2, 4, 6), torch.nan), c)
    head = model.head
    with pytest.raises(InputError, match="x: expected tokens"):
        head(torch.zeros(3, 7), torch.zeros(3), torch.zeros(3, 16))
    with pytest.raises(InputError, match="z: expected contexts"):
        head(torch.zeros(3, 8), torch.zeros(3), torch.zeros(3, 8))
    with pytest.raises(InputError, match="t: "):
        head(torch.zeros(3, 8), torch.full((3,), 1.5), torch.zeros(3, 16))
