"""Checks of the exercises of chapter 10: what was expected, what came, a hint."""

import torch

from flowlib.coursework.checks import check, expect_close, expect_true
from flowlib.layers import Attention, attention_weights, patch_grid, patchify, plain_attention


@check
def check_10_1(tokens, multiply_adds, factor):
    expect_true(tokens == 60, f"there are not {tokens} tokens", "H W / p^2, rows times columns of the grid")
    expect_close(
        float(multiply_adds), 12 * 60 * 256**2 + 2 * 60**2 * 256, name="multiply-adds", hint="(10.8) with N = 60"
    )
    expect_true(factor == 16, f"the factor is not {factor}", "how many tokens are there now, and what is their square?")


@check
def check_10_2(weights, taken):
    q, k = torch.tensor([[2.0, 0, 0, 0]]), torch.tensor([[0.0, 1, 0, 0], [0.0, 5, 0, 0]])
    k[1, 0] = torch.log(torch.tensor(4.0))
    want = attention_weights(q, k)[0]
    expect_close(weights, want, name="weights", hint="divide the scores by the root of d = 4, then take the softmax")
    expect_close(taken, want @ torch.tensor([10.0, 20.0]), name="what it takes", hint="the weighted mean of the values")


@check
def check_10_3(put_together):
    generator = torch.Generator().manual_seed(0)
    for shape, p in (((2, 3, 4, 4), 2), ((1, 2, 6, 9), 3), ((3, 1, 8, 4), 2)):
        x = torch.randn(shape, generator=generator)
        got = put_together(patchify(x, p), p, patch_grid(x, p))
        hint = "name the axes of the reshape: h, w, a, b, k; which of them make the rows, and in which order?"
        expect_close(got, x, name=f"the picture of shape {shape}", hint=hint)


@check
def check_10_4(causal_attention):
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 3, 7, 5, generator=generator)
    bias = torch.full((7, 7), -torch.inf).triu(1)
    got = causal_attention(q, k, v)
    expect_close(got, plain_attention(q, k, v, bias), name="output", hint="-inf before the softmax, not 0 after it")
    later = v.clone()
    later[:, :, 4:] += 1
    expect_close(
        causal_attention(q, k, later)[:, :, :4], got[:, :, :4], name="tokens 0 to 3", hint="they may not see token 4"
    )
    large = causal_attention(100 * q, 100 * k, v)
    expect_true(bool(torch.isfinite(large).all()), "large scores give NaN", "softmax subtracts the largest score")


@check
def check_10_5(multi_head):
    generator = torch.Generator().manual_seed(0)
    z, matrices = torch.randn(2, 6, 12, generator=generator), torch.randn(4, 12, 12, generator=generator) / 3
    for heads in (1, 3, 4):
        attention = Attention(12, heads)
        with torch.no_grad():
            attention.qkv.weight.copy_(matrices[:3].flatten(0, 1))
            attention.qkv.bias.zero_()
            attention.out.weight.copy_(matrices[3])
            attention.out.bias.zero_()
            want = attention(z)
        hint = "split each of q, k, v into heads; the root is of d = D / K; W z is z @ W.T for rows"
        expect_close(multi_head(z, *matrices, heads), want, name=f"output with {heads} heads", hint=hint, rtol=1e-4)


@check
def check_10_6(keys_looked_at):
    torch.manual_seed(0)
    sizes = [16, 256]
    with_root, without_root = keys_looked_at(sizes)
    expect_true(len(with_root) == len(without_root) == 2, "expected one number for each size, in two lists")
    for d, a, b in zip(sizes, with_root, without_root, strict=True):
        q, k = torch.randn(4000, d), torch.randn(64, d)
        for got, root, name in ((a, d**0.5, "with"), (b, 1.0, "without")):
            log_weights = (q @ k.T / root).log_softmax(-1)
            want = (-(log_weights.exp() * log_weights).sum(-1)).exp().mean()
            hint = "exp of the entropy for each query, then the mean; natural logarithms"
            expect_close(got, want, name=f"d = {d}, {name} the root", hint=hint, rtol=0.25)


@check
def check_10_7(shift_by_attention):
    for n in (5, 12):
        q, k = shift_by_attention(n)
        expect_true(q.shape == k.shape and len(q) == n, f"expected queries and keys of {n} places", "(N, d) each")
        weights = attention_weights(q, k)
        expect_close(
            weights[:-1],
            torch.eye(n)[1:],
            name=f"weights for N = {n}",
            hint="the query of place n must meet the key of place n + 1, and no other; scale the scores up",
            atol=1e-3,
        )
