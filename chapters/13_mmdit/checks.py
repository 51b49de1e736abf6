"""Checks of the exercises of chapter 13: what was expected, what came, a hint."""

import math

import torch
from torch import nn

from flowlib.coursework.checks import check, expect_close, expect_true
from flowlib.layers import JointAttention
from flowlib.models import MMDiT


@check
def check_13_1(rho, first_word):
    expect_close(rho, 0.5, name="rho", hint="exponentials of the scores: 3 and 1 of the words, 2 and 2 of the patches")
    expect_close(first_word, 3 / 8, name="first word", hint="one softmax over all four, not over the words alone")


@check
def check_13_2(joint_attention):
    torch.manual_seed(0)
    layer = JointAttention(12, 3)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.6)
    text, image = torch.randn(2, 3, 12), torch.randn(2, 5, 12)
    got = joint_attention((text, layer.text.qkv, layer.text.out), (image, layer.image.qkv, layer.image.out), 3)
    expect_true(
        len(got) == 2, f"expected two results, got {len(got)}", "what the text takes, and what the picture takes"
    )
    for a, b, name in zip(got, layer(text, image), ("text", "picture"), strict=True):
        hint = "put keys and values of both together before the softmax; scores are divided by the root of h / K"
        expect_close(a.detach(), b.detach(), name=f"what the {name} takes", hint=hint, atol=1e-4)


@check
def check_13_3(block, last_block):
    hint = "for each stream: 3 + 1 of the attention, 4 + 4 of the perceptron, 6 of the modulation"
    expect_close(block, 36, name="block", hint=hint)
    expect_close(last_block, 23, name="last block", hint="the picture's stream is whole; the text keeps 3 + 2")


@check
def check_13_4(places):
    for rows, grid, base in ((4, 8, 8), (3, 8, 6), (64, 192, 64)):
        model = MMDiT(1, 1, 1, depth=1, width=4, heads=1, patch=1, grid=grid, base=base) if grid < 20 else None
        want = [((grid - rows) // 2 + i) * base / grid for i in range(rows)]
        got = places(rows, grid, base)
        expect_close(
            got, want, name=f"places of {rows} rows", hint="start at (G - h) / 2, rounded down; steps of B / G"
        )
        if model is not None:
            top = (grid - rows) // 2
            expect_close(model.places[top : top + rows, 0, 2], torch.as_tensor(got).sin(), name="sines", atol=1e-5)


@check
def check_13_5(extreme):
    for d in (4, 32):
        q, k = (torch.as_tensor(u, dtype=torch.float64) for u in extreme(d))
        expect_true(tuple(q.shape) == tuple(k.shape) == (d,), f"expected shapes ({d},), got {tuple(q.shape)}")
        expect_true(not torch.allclose(q, k), "q and k are the same", "a multiple will do")
        score = (q / q.square().mean().sqrt()) @ (k / k.square().mean().sqrt()) / math.sqrt(d)
        hint = "Cauchy and Schwarz is an equality for parallel vectors"
        expect_close(score.abs(), math.sqrt(d), name=f"largest score at d = {d}", hint=hint)


@check
def check_13_6(snr_of_large):
    x = torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    for t, a in ((0.5, 1), (0.5, 4), (0.3, 2)):
        got = snr_of_large(x, t, a, torch.Generator().manual_seed(2))
        want = a**2 * (t / (1 - t)) ** 2
        hint = "the noise of a mean of a^2 pixels has variance (1 - t)^2 / a^2"
        expect_true(abs(got / want - 1) < 0.05, f"at t = {t}, a = {a}: expected {want:.3f}, got {got:.3f}", hint)
