"""Checks of the exercises of chapter 14: what was expected, what came, a hint."""

import torch

from flowlib.coursework.checks import check, expect_close, expect_true
from flowlib.layers import patchify, rotary_angles, rotate, unpatchify
from flowlib.models import Flux


@check
def check_14_1(blocks, all_double, modulations):
    with torch.device("meta"):
        flux = Flux(width=2048, heads=16, double=1, single=1)
    double, single = (sum(p.numel() for p in b[0].parameters()) for b in (flux.double_blocks, flux.single_blocks))
    expect_close(
        blocks,
        10 * double + 20 * single,
        name="blocks",
        rtol=1e-9,
        hint="10 times the first of (14.3), 20 times the second",
    )
    expect_close(all_double, 30 * double, name="all_double", rtol=1e-9, hint="30 times the first of (14.3)")
    inside = sum(p.numel() for p in flux.single_blocks[0].modulation.parameters())
    expect_close(
        modulations, inside / single, name="modulations", hint="shift, scale and gate of one branch: 3 h outputs"
    )


@check
def check_14_2(flux_ids):
    for words, rows, columns in ((3, 2, 4), (1, 3, 3), (0, 2, 2)):
        want = [[0, 0, 0]] * words + [[0, r, c] for r in range(rows) for c in range(columns)]
        expect_close(
            flux_ids(words, rows, columns),
            want,
            name=f"places of {words} words and {rows} x {columns} patches",
            hint="words first, all at the origin; the first coordinate of a patch is 0, then its row, then its column",
        )


@check
def check_14_3(prepared):
    generator = torch.Generator().manual_seed(0)
    q, gain = 5 * torch.randn(2, 3, 4, 8, generator=generator), 0.5 + torch.rand(8, generator=generator)
    angles = rotary_angles(torch.tensor([[0, 0], [1, 5], [7, 2], [3, 3]]), (4, 4))
    norm = (q.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    got = prepared(q, gain, angles)
    late = gain * rotate(q, angles) / norm
    expect_true(
        not torch.allclose(torch.as_tensor(got).to(q), late, atol=1e-4),
        "the gain was multiplied after the rotation",
        "the gains of a pair differ, and do not commute with its rotation",
    )
    expect_close(got, rotate(gain * q / norm, angles), name="the query", hint="norm, gain, rotation, in this order")


@check
def check_14_4(taken_apart):
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(6, 30, generator=generator), torch.randn(6, generator=generator)
    a, m = torch.randn(2, 5, 6, generator=generator), torch.randn(2, 5, 24, generator=generator)
    attention_out, perceptron_out = taken_apart(weight, bias)
    want = torch.cat([a, m], -1) @ weight.T + bias
    hint = "the first h columns act on the attention, the others on the perceptron; one of the two has the bias"
    expect_close(attention_out(a) + perceptron_out(m), want, name="the sum", hint=hint)
    expect_close(
        attention_out(0 * a), bias.expand(2, 5, 6), name="attention_out(0)", hint="the bias goes with the attention"
    )


@check
def check_14_5(guided_target):
    generator = torch.Generator().manual_seed(0)
    gain = torch.ones((), requires_grad=True)

    def teacher(x, t, c):
        shape = (-1, *(1,) * (x.ndim - 1))
        return gain * x * (1 + c.reshape(shape)) + t.reshape(shape)

    for event in ((2,), (1, 4, 4)):  # B = height: there a wrong strength broadcasts unseen
        x = torch.randn(4, *event, generator=generator)
        t, c, w = torch.rand(4, generator=generator), torch.arange(1.0, 5.0), torch.tensor([1.0, 2.0, 3.0, 0.0])
        got = guided_target(teacher, x, t, c, torch.zeros(4), w)
        shape = (-1, *(1,) * len(event))
        want = x * (1 + (w * c).reshape(shape)) + t.reshape(shape)
        hint = "v_u + w (v_c - v_u); w = 1 is the answer to c alone, and each sample has its own w"
        expect_close(got, want, name=f"the target of events {event}", hint=hint)
        expect_true(not got.requires_grad, "a gradient flows into the teacher", "ask it under torch.no_grad()")


@check
def check_14_6(in_our_order):
    generator = torch.Generator().manual_seed(0)
    for channels, patch in ((3, 2), (2, 3)):
        n = channels * patch**2
        first, head = torch.randn(5, n, generator=generator), torch.randn(n, 5, generator=generator)
        x = torch.randn(2, channels, 2 * patch, 3 * patch, generator=generator)
        packed = x.unflatten(2, (-1, patch)).unflatten(4, (-1, patch)).permute(0, 2, 4, 1, 3, 5).reshape(2, 6, n)
        ours, back = in_our_order(first, head, patch)
        expect_close(
            patchify(x, patch) @ torch.as_tensor(ours).T,
            packed @ first.T,
            name=f"tokens of {channels} channels, patch {patch}",
            hint="its columns stand in the order of the numbers of a patch: from (c p q) to (p q c)",
        )
        theirs = (packed @ first.T @ head.T).reshape(2, 2, 3, channels, patch, patch).permute(0, 3, 1, 4, 2, 5)
        expect_close(
            unpatchify(packed @ first.T @ torch.as_tensor(back).T, patch, (2, 3)),
            theirs.reshape(x.shape),
            name=f"pictures of {channels} channels, patch {patch}",
            hint="the rows of the head stand in that order too",
        )
