"""Counts of operations against the formula of each layer, and against the published sizes."""

import runpy
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from flowlib.models import DiT
from flowlib.training import forward_flops, matmul_ceiling, seconds


@pytest.mark.parametrize(("tokens", "m", "n"), [(1, 3, 5), (7, 16, 9)])
def test_a_multiply_add_is_two_operations(tokens, m, n):
    """Trap 26: what papers print as Gflops is half of this."""
    assert forward_flops(nn.Linear(m, n), torch.ones(tokens, m)) == 2 * m * n * tokens


def test_convolution_and_attention():
    assert forward_flops(nn.Conv2d(3, 8, 3, padding=1), torch.ones(2, 3, 6, 5)) == 2 * (2 * 8 * 6 * 5) * (3 * 9)
    q = torch.ones(2, 4, 10, 16)
    assert forward_flops(nn.functional.scaled_dot_product_attention, q, q, q) == 2 * (2 * 4 * 10 * 10 * 16) * 2


def test_training_costs_three_forward_passes():
    """Counted over both passes of a stack whose input needs no gradient: all but the first layer cost three."""
    net = nn.Sequential(*(nn.Linear(32, 32, bias=False) for _ in range(20)))
    x = torch.ones(8, 32)
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
        net(x).sum().backward()
    one_layer = 2 * 8 * 32 * 32
    assert counter.get_total_flops() == 3 * forward_flops(net, x) - one_layer


@pytest.mark.parametrize(("name", "gigamacs"), [("S/2", 6.06), ("B/2", 23.01), ("XL/2", 118.62)])
def test_published_sizes(name, gigamacs):
    """DiT's table prints multiply-adds (Peebles and Xie 2023, table 4): our count is twice that, within 1 %."""
    with torch.device("meta"):
        model = DiT.of(name)
        inputs = torch.ones(1, 4, 32, 32), torch.ones(1), torch.zeros(1, dtype=torch.long)
    count = forward_flops(model, *inputs)
    assert count == pytest.approx(2e9 * gigamacs, rel=0.01)


def test_six_n_t_overcounts_a_dit():
    """Trap 27: modulation acts once a picture, not once a token, so that 6 N T is 46 % too much for XL/2."""
    with torch.device("meta"):
        model = DiT.of("XL/2")
        inputs = torch.ones(1, 4, 32, 32), torch.ones(1), torch.zeros(1, dtype=torch.long)
    count = 3 * forward_flops(model, *inputs)
    h, tokens, depth = 1152, 256, 28
    assert count == pytest.approx(6 * depth * (12 * h**2 * tokens + 2 * tokens**2 * h + 6 * h**2), rel=0.01)
    n = sum(p.numel() for p in model.parameters())
    assert 6 * n * tokens / count == pytest.approx(1.46, abs=0.02)


def test_clock_and_ceiling(monkeypatch):
    calls = []
    assert seconds(lambda: calls.append(1), repeats=3) >= 0
    assert len(calls) == 4
    monkeypatch.setattr("flowlib.training.speed.seconds", lambda f, **options: 0.5)
    assert matmul_ceiling(64) == 2 * 64**3 / 0.5


def test_the_benchmark_of_a_card_runs_small_on_a_cpu(capsys):
    """``python -m tests.benchmarks.throughput``, two steps of it."""
    names = runpy.run_path(str(Path(__file__).parent / "benchmarks" / "throughput.py"))
    found = names["main"](names["Options"](device="cpu", batch_size=2, steps=1))
    assert set(found) == {"unet", "dit_s", "dit_b", "dit_xl", "mmdit", "flux"}
    assert all(row["rate"] > 0 and 0 < row["share"] < 2 for row in found.values())
    assert "a smoke test and no measurement" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_benchmark_of_a_card_without_a_card():
    """The command of the README, as it is typed."""
    command = [sys.executable, "-m", "tests.benchmarks.throughput"]
    run = partial(subprocess.run, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    shown = run([*command, "--help"])
    assert shown.returncode == 0
    assert "--model {unet,dit_s,dit_b,dit_xl,mmdit,flux,all}" in shown.stdout
    failed = run([*command, "--device", "cuda"])
    assert failed.returncode == 1
    assert failed.stderr == "throughput: --device: expected a GPU that torch can use, got none. --device cpu.\n"
