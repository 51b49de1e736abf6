"""Checks of the exercises of chapter 17: what was expected, what came, a hint."""

import torch

from flowlib.coursework.checks import check, expect_close, expect_true
from flowlib.densities import GaussianMixture


@check
def check_17_1(two, three, one_then_two, backward):
    expect_close(two, 0.2231, name="two at once", hint="-log(1 - 0.6^2) / 2", rtol=2e-3)
    expect_close(three, 0.5221, name="three at once", hint="the determinant of the 3 x 3 matrix is 0.352", rtol=2e-3)
    hint = "given the first, the other two have variance 1 - 0.36 and covariance 0.6 - 0.36"
    expect_close(one_then_two, 0.0758, name="one, then two", hint=hint, rtol=4e-3)
    expect_close(backward, 12, name="backward passes", hint="one for each number of a patch: 2 * 2 * 3")


@check
def check_17_2(reads):
    for rounds in ([0, 1, 2], [2, 0, 1, 0], [0, 0, 0], [1, 0, 2, 1, 2]):
        n, got = len(rounds), reads(torch.tensor(rounds))
        expect_true(
            tuple(got.shape) == (2 * n, 2 * n), f"shape {tuple(got.shape)} for {n} patches", "contents, then queries"
        )
        for i in range(n):
            for j in range(n):
                mine, theirs = rounds[i], rounds[j]
                for row, column, want, who in (
                    (i, j, theirs <= mine, "content reads content"),
                    (i, n + j, False, "content reads query"),
                    (n + i, j, theirs < mine, "query reads content"),
                    (n + i, n + j, i == j, "query reads query"),
                ):
                    where = f"rounds {rounds}, {who}, patch {i} of patch {j}: {bool(got[row, column])}"
                    expect_true(bool(got[row, column]) == want, where, f"it should be {want}")


@check
def check_17_3(log_given):
    generator = torch.Generator().manual_seed(0)
    for k in (1, 3, 6):
        weights, means = torch.rand(k, generator=generator) + 0.1, 2 * torch.randn(k, 2, generator=generator)
        weights, sds = weights / weights.sum(), 0.3 + torch.rand(k, generator=generator)
        both = GaussianMixture(means, sds**2, weights)
        first = GaussianMixture(means[:, :1], sds**2, weights)
        x = both.sample(50, generator)
        want = both.log_prob(x) - first.log_prob(x[:, :1])
        hint = "r_k is w_k N(x1; m_k1, s_k^2), normalised; then a mixture on the line with these weights"
        got = log_given(weights, means, sds, x[:, 0], x[:, 1])
        expect_close(got, want, name=f"log p(x2 | x1), {k} components", hint=hint, rtol=1e-4, atol=1e-4)


@check
def check_17_4(rounds, most):
    rounds = torch.as_tensor(rounds)
    expect_true(tuple(rounds.shape) == (16,), f"shape {tuple(rounds.shape)}", "one round for each of 16 numbers")
    turns = len(rounds.unique())
    expect_true(turns <= 5, f"{turns} rounds", "at most five")
    C = 0.9 ** (torch.arange(16.0, dtype=torch.float64)[:, None] - torch.arange(16)).abs()
    for k in rounds.unique():
        now, known = rounds == k, rounds < k
        given = C[now][:, now] - C[now][:, known] @ torch.linalg.solve(C[known][:, known], C[known][:, now])
        lost = float(given.diag().log().sum() - given.logdet()) / 2
        places = now.nonzero()[:, 0].tolist()
        hint = "between any two of a round one number must be known already"
        expect_true(lost < 1e-9, f"numbers {places} at once lose {lost:.3f} nats", hint)
    halving = torch.tensor([0, 4, 3, 4, 2, 4, 3, 4, 1, 4, 3, 4, 2, 4, 3, 4])
    ranks = rounds.unique(return_inverse=True)[1]
    expect_true(not torch.equal(ranks, halving), "these are the chapter's own", "start somewhere else")
    expect_close(most, 8, name="most", hint="no two neighbours, so every other one")


@check
def check_17_5(forward, inverse):
    generator = torch.Generator().manual_seed(0)
    for b, n, d in ((3, 4, 2), (5, 1, 3), (2, 6, 1)):
        W = torch.randn(2, n, n, d, d, generator=generator, dtype=torch.float64) / (n * d) ** 0.5
        W = W * torch.ones(n, n, dtype=torch.float64).tril(-1)[None, :, :, None, None]
        calls = []

        def context(x, W=W, calls=calls):
            calls.append(1)
            m, a = (torch.einsum("ijde,bje->bid", w, x).sin() for w in W)
            return m + 0.3, 0.5 * a + 0.1

        x = torch.randn(b, n, d, generator=generator, dtype=torch.float64)
        z, logdet = forward(context, x)
        expect_true(len(calls) == 1, f"{len(calls)} calls in forward", "all patches of x are known: one call")
        m, a = context(x)
        hint = "subtract the mean, divide by the deviation exp(a)"
        expect_close(z, (x - m) * (-a).exp(), name=f"z of shape {(b, n, d)}", hint=hint)
        J = torch.func.vmap(torch.func.jacrev(lambda y: forward(context, y[None])[0][0].flatten()))(x)
        want = J.reshape(b, n * d, n * d).slogdet().logabsdet
        hint = "the Jacobian is triangular, patch by patch: minus the sum of a over all patches and numbers"
        expect_close(logdet, want, name="logdet", hint=hint, rtol=1e-6, atol=1e-6)
        calls.clear()
        back = inverse(context, z)
        hint = "m_i and a_i of patch i need the patches of x before i: draw them first"
        expect_close(back, x, name="inverse(forward(x))", hint=hint, rtol=1e-6, atol=1e-6)
        expect_true(len(calls) <= n, f"{len(calls)} calls in inverse for {n} patches", "one call a patch is enough")


@check
def check_17_6(two_nlls):
    generator = torch.Generator().manual_seed(0)
    for k, b in ((4, 7), (1, 3), (9, 2)):
        log_q = 30 * torch.randn(k, b, generator=generator) - 100
        single, mixed = two_nlls(log_q)
        expect_close(single, -log_q.mean(), name="NLL of single orders", hint="the mean of -log q over all")
        want = -torch.stack([log_q[:, j].double().exp().mean().log() for j in range(b)]).mean().float()
        hint = "the mean of q over the orders stands inside the logarithm: logsumexp - log K"
        expect_close(mixed, want, name="NLL of the mixture", hint=hint, rtol=1e-4)
    same = torch.full((5, 3), -800.0)
    expect_close(two_nlls(same)[1], 800.0, name="NLL where all agree", hint="exp(-800) is 0: use logsumexp")
