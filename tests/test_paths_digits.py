"""The comparison of paths on digits: what must be equal is equal, and the curvature is that of a known flow."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from flowlib.paths import OT, VP
from flowlib.recipes import paths_digits as fill_table
from flowlib.recipes.paths_digits import PLAN, _curvature, _trained


class Growing(nn.Module):
    """v(x, t, c) = 2 t x: straight paths, x_t = x_0 exp(t^2), at a speed that changes."""

    def forward(self, x, t, c):
        return 2 * t[:, None, None, None] * x


def test_curvature_of_a_known_flow():
    """S / E|Z_1 - Z_0|^2 = int (2 t e^(t^2))^2 dt / (e - 1)^2 - 1, whatever the starts."""
    t = torch.linspace(0, 1, 10_001)
    expected = torch.trapezoid((2 * t * (t**2).exp()).square(), t) / (torch.e - 1) ** 2 - 1
    x_0 = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    c = torch.zeros(20, dtype=torch.long)
    assert _curvature(Growing(), x_0, c) == pytest.approx(float(expected), rel=0.01)
    assert _curvature(Growing(), 10 * x_0, c) == pytest.approx(float(expected), rel=0.01)


def test_paths_share_seeds_and_nothing_else_moves():
    plan = replace(PLAN, steps=1, warmup=0, lr=1e-12)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    ot, vp, other = _trained(OT(), 0, plan), _trained(VP(), 0, plan), _trained(OT(), 1, plan)
    assert torch.equal(torch.get_rng_state(), before)
    pairs = list(zip(ot.parameters(), vp.parameters(), other.parameters(), strict=True))
    assert all(torch.allclose(a, b, atol=1e-9) for a, b, _ in pairs)
    assert any(not torch.allclose(a, c, atol=1e-3) for a, _, c in pairs)


def test_rows_that_are_there_are_kept(tmp_path):
    rows = [{"path": name, "seed": 0, "steps": PLAN.steps, "curvature": 1.0} for name in ("OT", "VP")]
    table = tmp_path / "table.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert fill_table(table, (0,)) == rows
