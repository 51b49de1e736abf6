"""Checks of the exercises of chapter 09: what was expected, what came, a hint."""

import math

import torch

from flowlib.coursework.checks import check, expect_close, expect_true
from flowlib.layers import grid_ids, rotary_angles, rotate, sinusoidal


@check
def check_9_1(frequencies, squared_length, product):
    expect_close(frequencies, (1.0, 0.01), name="frequencies", hint="10000 to the power of -i / (D / 2), for i = 0, 1")
    expect_close(
        squared_length, 2.0, name="squared length", hint="each pair of sine and cosine lies on the unit circle"
    )
    want = math.cos(2.0) + math.cos(0.02)
    hint = "(9.3): one cosine for each hand, of the distance times f"
    expect_close(product, want, name="product", hint=hint, rtol=1e-2)


@check
def check_9_2(shift_matrix):
    p = torch.linspace(-3, 60, 20, dtype=torch.float64)
    for k, dim in ((1, 8), (5, 32), (-2, 6)):
        matrix = shift_matrix(k, dim)
        expect_true(tuple(matrix.shape) == (dim, dim), f"expected shape {(dim, dim)}, got {tuple(matrix.shape)}")
        hint = "(9.4) for each frequency: cos on both diagonals, sin above, -sin below"
        got = sinusoidal(p, dim) @ matrix.to(p).T
        expect_close(got, sinusoidal(p + k, dim), name=f"codes moved by {k}", hint=hint, atol=1e-6)


@check
def check_9_3(rotate_complex):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 7, 12, generator=generator, dtype=torch.float64)
    p = torch.arange(7, dtype=torch.float64)
    want = rotate(x, rotary_angles(p[:, None], (12,)))
    hint = "neighbours are the real and the imaginary part; multiply by exp(i p f), counterclockwise"
    expect_close(rotate_complex(x, p), want, name="rotated x", hint=hint, atol=1e-6)


@check
def check_9_4(bias_of_a_grid):
    generator = torch.Generator().manual_seed(0)
    ids, table = grid_ids(3, 5), torch.randn(5, 5, generator=generator)
    clipped = [[(max(-2, min(2, a - c)), max(-2, min(2, b - d))) for c, d in ids.tolist()] for a, b in ids.tolist()]
    want = torch.stack([torch.stack([table[i + 2, j + 2] for i, j in row]) for row in clipped])
    hint = "offsets of n minus m, clip, add r, then rows index the first axis of the table"
    expect_close(bias_of_a_grid(ids, table), want, name="bias", hint=hint)


@check
def check_9_5(neighbour_scores):
    for d, s in ((64, 4), (16, 2)):
        p = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
        got = neighbour_scores(d, s)
        ones = torch.ones(1, 1, 2, d, dtype=torch.float64)
        for value, places, name in zip(got, (p, p / s), ("p", "p / s"), strict=True):
            a, b = rotate(ones, rotary_angles(places, (d,)))[0, 0]
            hint = "(9.3): the mean of cos(f) over the frequencies, and of cos(f / s)"
            expect_close(value, (a @ b / (a @ a)), name=f"score of neighbours at places {name}", hint=hint, rtol=1e-4)


@check
def check_9_6(is_relative):
    generator = torch.Generator().manual_seed(1)
    orthogonal = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64))[0]

    def turned(x, p):  # any number of vectors, also one
        rows = x.reshape(1, 1, -1, 6)
        return rotate(rows, rotary_angles(torch.full((rows.shape[2], 1), p), (6,))).reshape(x.shape)

    candidates = {
        "RoPE": (turned, True),
        "powers of an orthogonal matrix": (lambda x, p: x @ torch.linalg.matrix_power(orthogonal, p).T, True),
        "a place that only scales": (lambda x, p: x * 1.01**p, False),
        "a rotation by p squared": (lambda x, p: turned(x, p * p), False),
    }
    for name, (encode, want) in candidates.items():
        got = is_relative(encode, 6)
        hint = "compare the score of (p, p + k) for one k and many p; try more than one k, and large p"
        expect_true(
            got is not None and bool(got) is want, f"{name} is {'' if want else 'not '}relative, you say {got}", hint
        )
