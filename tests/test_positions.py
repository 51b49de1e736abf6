"""Positions: uniqueness, what depends on the offset alone, and the same numbers as published code."""

import math

import pytest
import torch
from diffusers.models.embeddings import (
    apply_rotary_emb,
    get_1d_rotary_pos_embed,
    get_1d_sincos_pos_embed_from_grid,
    get_2d_sincos_pos_embed,
)
from diffusers.models.transformers.transformer_flux import FluxPosEmbed

from flowlib.errors import InputError
from flowlib.layers import LearnedPositions, RelativeBias, grid_ids, rotary_angles, rotate, sinusoidal, sinusoidal_2d

pytestmark = pytest.mark.usefixtures("float64")
EXACT = {"rtol": 0, "atol": 1e-10}


def test_grid_ids_run_row_by_row():
    assert torch.equal(grid_ids(3, 5).reshape(3, 5, 2)[2, 4], torch.tensor([2, 4]))
    assert torch.equal(grid_ids(2, 3, 4)[:, 1].unique(return_counts=True)[1], torch.tensor([8, 8, 8]))


@pytest.mark.parametrize("dim", [4, 64, 288])
def test_sinusoids_are_diffusers(dim):
    p = torch.linspace(-7, 40, 23)
    torch.testing.assert_close(sinusoidal(p, dim), get_1d_sincos_pos_embed_from_grid(dim, p), **EXACT)


@pytest.mark.parametrize("grid", [(16, 16), (3, 7)])
def test_sinusoids_of_a_grid_are_diffusers(grid):
    h, w = grid
    ours = sinusoidal_2d(torch.arange(h), torch.arange(w), 48)
    if h == w:  # diffusers scales rows and columns by its base size; without it the square grid is plain
        torch.testing.assert_close(ours, get_2d_sincos_pos_embed(48, grid, base_size=h), **EXACT)
    for n in range(h * w):
        row, column = sinusoidal(torch.tensor([n // w, n % w]), 24)
        torch.testing.assert_close(ours[n], torch.cat([column, row]), **EXACT)


def test_the_first_half_tells_the_column():
    table = sinusoidal_2d(torch.arange(4), torch.arange(6), 32).reshape(4, 6, 32)
    assert torch.equal(table[0, :, :16], table[3, :, :16])
    assert torch.equal(table[:, 0, 16:], table[:, 5, 16:])
    assert not torch.allclose(table[0, 0, :16], table[0, 1, :16])


def test_the_product_of_sinusoids_depends_on_the_offset():
    table = sinusoidal(torch.arange(200), 64)
    products = table @ table.T
    for offset in (0, 1, 7, 100):
        along = products.diagonal(offset)
        torch.testing.assert_close(along, along[:1].expand_as(along), **EXACT)
    assert float((products - 32 * torch.eye(200)).fill_diagonal_(-math.inf).max()) < 32 - 0.4  # no two places are alike


def test_sinusoids_keep_the_dtype_of_their_positions():
    p = torch.arange(1000.0, dtype=torch.float32)
    table = sinusoidal(p, 64)
    assert table.dtype == torch.float32
    torch.testing.assert_close(table.double(), sinusoidal(p.double(), 64), rtol=0, atol=1e-7)


def test_learned_positions_add_their_row_and_end(generator):
    positions = LearnedPositions(5, 3)
    x = torch.randn(2, 4, 3, generator=generator)
    torch.testing.assert_close(positions(x) - x, positions.table[:4].expand(2, 4, 3))
    with pytest.raises(InputError, match="x: expected at most 5 tokens, as many as there are learned positions, got 6"):
        positions(torch.zeros(1, 6, 3))


@pytest.mark.parametrize(("sizes", "reach"), [((9,), (8,)), ((9,), (3,)), ((3, 5), (2, 4)), ((3, 5), (1, 2))])
def test_relative_bias_is_a_function_of_the_clipped_offset(sizes, reach, generator):
    bias = RelativeBias(2, reach)
    torch.nn.init.normal_(bias.table, generator=generator)
    ids = grid_ids(*sizes)
    seen = {}
    for i, p in enumerate(ids.tolist()):
        for j, q in enumerate(ids.tolist()):
            offset = tuple(max(-r, min(r, a - b)) for a, b, r in zip(p, q, reach, strict=True))
            value = tuple(bias(ids)[:, i, j].tolist())
            assert seen.setdefault(offset, value) == value
    assert len(set(seen.values())) == math.prod(2 * r + 1 for r in reach)  # and every offset has its own
    assert torch.equal(bias(ids), bias(ids + 100))
    if sizes == (9,):  # b_h(i - j), offsets from -reach to reach in the table
        assert torch.equal(bias(ids)[:, 5, 4], bias.table[:, reach[0] + 1])


def test_rope_is_diffusers_in_one_dimension(generator):
    x, p = torch.randn(2, 3, 11, 16, generator=generator), torch.arange(11)
    theirs = get_1d_rotary_pos_embed(16, p, use_real=False, freqs_dtype=torch.float64)
    pairs = torch.view_as_complex(x.reshape(2, 3, 11, 8, 2)) * theirs
    torch.testing.assert_close(
        rotate(x, rotary_angles(p[:, None], (16,))), torch.view_as_real(pairs).flatten(3), **EXACT
    )


def test_rope_is_fluxs_on_three_axes(generator):
    """The whole of Flux's path: ids (0, row, column), dims (16, 56, 56), float32 as there."""
    ids = torch.cat([torch.zeros(4, 3, dtype=torch.long), torch.nn.functional.pad(grid_ids(5, 3), (1, 0))])
    q = torch.randn(2, 3, len(ids), 128, generator=generator).float()
    theirs = apply_rotary_emb(q, FluxPosEmbed(10_000, (16, 56, 56))(ids))
    torch.testing.assert_close(rotate(q, rotary_angles(ids, (16, 56, 56))), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("dims", "shift"), [((16,), (10,)), ((8, 8), (3, -20)), ((4, 6, 6), (0, 100, 7))])
def test_rope_scores_see_offsets_alone(dims, shift, generator):
    axes, d = len(dims), sum(dims)
    ids = torch.randint(0, 50, (6, axes), generator=generator)
    q, k = torch.randn(2, 1, 1, 6, d, generator=generator)

    def scores(ids):
        angles = rotary_angles(ids, dims)
        return rotate(q, angles) @ rotate(k, angles).mT

    torch.testing.assert_close(scores(ids), scores(ids + torch.tensor(shift)), **EXACT)
    turned = ids.clone()
    turned[0] += 1
    assert not torch.allclose(scores(ids), scores(turned))
    torch.testing.assert_close(rotate(q, rotary_angles(ids, dims)).norm(dim=-1), q.norm(dim=-1), **EXACT)


def test_rope_takes_ids_of_each_sample(generator):
    x, ids = torch.randn(2, 3, 5, 8, generator=generator), torch.randint(0, 9, (2, 5, 1), generator=generator)
    together = rotate(x, rotary_angles(ids, (8,)))
    for b in range(2):
        torch.testing.assert_close(together[b : b + 1], rotate(x[b : b + 1], rotary_angles(ids[b], (8,))))


def test_rope_in_half_precision_rotates_in_single(generator):
    x = torch.randn(1, 1, 4, 8, generator=generator).bfloat16()
    angles = rotary_angles(torch.tensor([[0], [1], [999], [1000]]), (8,))
    turned = rotate(x, angles)
    assert turned.dtype == torch.bfloat16
    torch.testing.assert_close(turned.double(), rotate(x.double(), angles), rtol=2**-8, atol=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sinusoidal(torch.arange(3), 7), "dim: expected an even number"),
        (lambda: sinusoidal_2d(torch.arange(3), torch.arange(3), 6), "dim: expected a multiple of 4"),
        (lambda: rotary_angles(grid_ids(2, 2), (8,)), "dims: expected 2 even numbers"),
        (lambda: rotary_angles(grid_ids(2, 2), (3, 5)), "dims: expected 2 even numbers"),
        (lambda: RelativeBias(2, (3, 3))(torch.zeros(4, 1, dtype=torch.long)), "ids: expected 2 coordinates a token"),
        (
            lambda: rotate(torch.zeros(1, 1, 4, 8), rotary_angles(torch.arange(5)[:, None], (8,))),
            r"angles: expected shape \(\.\.\., 4, 4\), got shape \(5, 4\)",
        ),
    ],
)
def test_bad_input(call, message, unchecked):
    with pytest.raises(InputError, match=message):
        call()
