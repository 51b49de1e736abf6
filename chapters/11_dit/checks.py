"""Checks of the exercises of chapter 11: what was expected, what came, a hint."""

import math

import torch
from torch import nn

from flowlib.coursework.checks import check, expect_close, expect_true
from flowlib.layers import time_embedding
from flowlib.models import DiT
from flowlib.sampling import guide


@check
def check_11_1(tokens, giga, training, factor):
    expect_true(tokens == 256, f"a picture has not {tokens} tokens", "a token is a patch of 4 x 4, of all channels")
    h, depth, n = 512, 8, 256
    want = depth * (12 * h**2 * n + 2 * n**2 * h + 6 * h**2) / 1e9
    expect_close(giga, want, rtol=1e-2, name="multiply-adds", hint="h = 512, N = 256 and L = 8 in (11.8)")
    hint = "a multiply-add is two operations, and training costs three forward passes"
    expect_close(training, 6 * want, rtol=1e-2, name="training", hint=hint)
    dearer = depth * (12 * h**2 * 4 * n + 2 * (4 * n) ** 2 * h + 6 * h**2) / 1e9
    hint = "four times the tokens; which terms grow with N, which with its square?"
    expect_close(factor, dearer / want, rtol=1e-2, name="factor", hint=hint)


@check
def check_11_2(clock):
    t = torch.rand(9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for dim in (256, 6):
        got = clock(t, dim)
        hint = "cosines first; f_i = 10000^(-i / (dim/2)), and t is multiplied by 1000"
        expect_close(got, time_embedding(t, dim), name=f"codes of {dim} features", hint=hint, rtol=1e-6)
        expect_true(got.dtype == t.dtype, f"expected {t.dtype}, as t, got {got.dtype}", "torch.arange takes a dtype")
    rank = int(torch.linalg.matrix_rank(clock(torch.linspace(0, 1, 64, dtype=torch.float64), 256), rtol=1e-3))
    expect_true(rank == 64, f"64 times should span 64 directions, got {rank}", "is the factor 1000 inside?")


@check
def check_11_3(modulated_branch):
    generator = torch.Generator().manual_seed(0)
    z, e = torch.randn(4, 5, 12, generator=generator), torch.randn(4, 12, generator=generator)
    weight, bias = torch.randn(36, 12, generator=generator), torch.randn(36, generator=generator)
    same = modulated_branch(z, e, 0 * weight, 0 * bias, torch.sin)
    expect_close(same, z, name="a branch of zeros", hint="at g = 0 the branch adds nothing, and the skip stays whole")
    shift, scale, gate = (nn.functional.silu(e) @ weight.T + bias)[:, None].chunk(3, -1)
    want = z + gate * torch.sin((1 + scale) * nn.functional.layer_norm(z, (12,), eps=1e-6) + shift)
    hint = "(11.3): silu(e), rows in the order shift, scale, gate; 1 + scale multiplies the norm"
    expect_close(modulated_branch(z, e, weight, bias, torch.sin), want, name="the branch", hint=hint, rtol=1e-3)


@check
def check_11_4(withhold):
    c = torch.arange(4000) % 10
    given = c.clone()
    got = withhold(c, 10, 0.2, torch.Generator().manual_seed(0))
    expect_true(torch.equal(c, given), "the labels that were given have changed", "torch.where makes a new tensor")
    expect_true(got.shape == c.shape, f"expected shape {tuple(c.shape)}, got {tuple(got.shape)}")
    kept = got != 10
    expect_close(got[kept], c[kept], name="labels that are not withheld", hint="they stay what they are")
    shares = (~kept).reshape(10, 400).double().mean(1)
    bound = 5 * math.sqrt(0.2 * 0.8 / 400)
    shown = f"{shares.min():.2f} to {shares.max():.2f}"
    hint = "one draw for each sample, not one for the batch"
    expect_true(
        bool(((shares - 0.2).abs() < bound).all()), f"of each 400 a share of {shown} is withheld, not 0.2", hint
    )
    again = withhold(c, 10, 0.2, torch.Generator().manual_seed(0))
    expect_true(torch.equal(again, got), "the same seed gives other labels", "draw from the generator")


@check
def check_11_5(guided_for_a_while):
    generator = torch.Generator().manual_seed(0)
    x, c = torch.randn(6, 4, 2, 3, generator=generator), torch.arange(6) % 3
    t = torch.tensor([0.0, 0.3, 0.5, 0.7, 0.71, 1.0])
    gain = torch.tensor([1.0, 2.0, -1.0, 0.5])[:, None, None]

    def v(x, t, c):
        return x * (1 + c.to(x)[:, None, None, None]) * gain + t[:, None, None, None]

    want = guide(v, 3.0, null=9, interval=(0.3, 0.7))(x, t, c)
    hint = "w for the samples inside, both ends included, 1 for the others, on every channel"
    expect_close(guided_for_a_while(v, x, t, c, 3.0, 9, 0.3, 0.7), want, name="guided velocity", hint=hint)


@check
def check_11_6(sampled, tilted, weight):
    expect_close(sampled, 0.36, rtol=1e-2, name="of the samples", hint="(11.7)")
    hint = "the tilted law is Gaussian: its precision is w / s^2 + (1 - w), the variance one over it"
    expect_close(tilted, (2 / 0.36 - 1) ** -0.5, rtol=1e-2, name="of the tilted law", hint=hint)
    expect_close(weight, math.log(0.1) / math.log(0.6), rtol=1e-2, name="weight", hint="solve s^w = 0.1 for w")


@check
def check_11_7(awake):
    generator = torch.Generator().manual_seed(0)
    batches = []
    for _ in range(3):
        x_0, x_1 = torch.randn(2, 32, 1, 4, 4, generator=generator)
        batches.append((x_0, x_1, torch.arange(32) % 3))
    for way in ("adaln_zero", "in_context"):
        for steps in (1, 2, 3):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                model = DiT(1, 3, width=16, depth=2, heads=2, conditioning=way)
            every = {name for name, _ in model.named_parameters()}
            closed = {name for name in every if ".attention." in name or ".mlp." in name or "embed_t" in name}
            closed |= {name for name in every if "embed_class" in name}
            head = {"head.weight", "head.bias"}
            late = every - closed if way == "adaln_zero" else every
            want = {1: head, 2: late, 3: every}[steps]
            got = set(awake(model, batches[:steps]))
            odd = sorted(got ^ want)[:2]
            hint = "the gradient of the last step, before its update; gradients of earlier steps must be cleared"
            expect_true(got == want, f"{way}, step {steps}: wrong about {', '.join(odd)}", hint)


@check
def check_11_8(miss):
    generator = torch.Generator().manual_seed(0)
    A, v_c, v_u = (torch.randn(*shape, generator=generator) for shape in ((2, 5), (5,), (5,)))
    v_u = v_c - (torch.eye(5) - torch.linalg.pinv(A) @ A) @ (v_c - v_u)  # as the proof says: A v_c = A v_u
    for w, k in ((3.0, 3), (1.0, 3), (0.0, 2), (5.0, 5)):
        guided = v_c.clone()
        guided[:k] = v_u[:k] + w * (v_c - v_u)[:k]
        hint = "write the field as v_c + (w - 1) P (v_c - v_u); at w = 1 and on all coordinates nothing is missed"
        expect_close(miss(A, v_c, v_u, w, k), A @ guided - A @ v_c, name=f"w = {w:g}, k = {k}", hint=hint, rtol=1e-3)
