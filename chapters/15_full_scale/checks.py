"""Checks of the exercises of chapter 15: what was expected, what came, a hint."""

import contextlib
import itertools
import os
import tempfile
from pathlib import Path
from unittest import mock

import torch
from torch import nn

from flowlib.coursework.checks import check, expect_close, expect_true
from flowlib.datasets import Labelled, epochs
from flowlib.training import forward_flops


@check
def check_15_1(gflop, at_most, share):
    expect_close(gflop, 138.0, rtol=1e-3, name="operations", hint="two a multiply-add, three forward passes")
    expect_close(at_most, 400e3 / 138, rtol=1e-3, name="pictures a second", hint="tera is a thousand giga")
    expect_close(share, 0.345, rtol=1e-2, name="share", hint="what it does over what it could do; a number below 1")


@check
def check_15_2(training_operations):
    for sizes, rows in (([3, 5], 7), ([2, 64, 64, 2], 256), ([8, 1], 1)):
        net = nn.Sequential(*(nn.Linear(m, n) for m, n in itertools.pairwise(sizes)))
        want = 3 * forward_flops(net, torch.zeros(rows, sizes[0]))
        hint = "3 x 2 m n for each layer and row"
        expect_close(training_operations(sizes, rows), want, name=f"{sizes} on {rows} rows", hint=hint)


class Killed(Exception):
    """The process dies here."""


def half(path, content):
    """Write half of it and die."""
    Path(path).write_text(content[: len(content) // 2])
    raise Killed


@check
def check_15_3(write_safely):
    with tempfile.TemporaryDirectory() as folder:
        path, written = Path(folder) / "state.json", []

        def write(part, content):
            Path(part).write_text(content)
            written.append(Path(part).stat().st_ino)

        def sparing(remove):
            def removed(name, *rest, **options):
                hint = "replace puts the new file in the place of the old one in one step"
                expect_true(Path(name) != path, "the old file is removed before the new one is there", hint)
                return remove(name, *rest, **options)

            return removed

        for content in ("first", "second"):
            with contextlib.ExitStack() as stack:
                for owner, name in ((Path, "unlink"), (os, "unlink"), (os, "remove")):
                    stack.enter_context(mock.patch.object(owner, name, sparing(getattr(owner, name))))
                write_safely(path, content, write)
            found = path.read_text() if path.exists() else "no file"
            expect_true(found == content, f"expected {content!r} in the file, got {found!r}", "rename it at the end")
            hint = "a copy can be killed half way, too; replace moves"
            expect_true(path.stat().st_ino == written[-1], "the file is a copy of the one that was written", hint)
            names = sorted(p.name for p in Path(folder).iterdir())
            expect_true(names == ["state.json"], f"expected one file, got {names}", "replace moves; it does not copy")
        with contextlib.suppress(Killed):
            write_safely(path, "the third content", half)
        found = path.read_text() if path.exists() else "no file"
        hint = "write under another name, then let replace put it in the place of the old file"
        expect_true(found == "second", f"killed half way: expected the old content 'second', got {found!r}", hint)


@check
def check_15_4(ema_weights):
    generator = torch.Generator().manual_seed(0)
    for b, n in ((0.9, 30), (0.5, 1), (0.99, 100)):
        got = ema_weights(b, n)
        expect_true(len(got) == n + 1, f"expected {n + 1} numbers, got {len(got)}", "do not forget the start")
        theta = torch.randn(n + 1, generator=generator, dtype=torch.float64)
        average = theta[0]
        for k in range(1, n + 1):
            average = b * average + (1 - b) * theta[k]
        mine = sum(w * value for w, value in zip(got, reversed(theta.tolist()), strict=True))
        hint = "the newest comes first, with 1 - b; each update multiplies what is older by b"
        expect_close(sum(got), 1.0, name="sum of the weights", hint="the start keeps b^n")
        expect_close(mine, average, name=f"average with b = {b} after {n} updates", hint=hint)


@check
def check_15_5(interval, lost, decay):
    expect_close(interval, 288_000**0.5, rtol=1e-3, name="interval", hint="(15.2) in seconds: M is 8 x 3600")
    expect_close(lost, 10 / 288_000**0.5, rtol=1e-2, name="part lost", hint="the interval in both terms of (15.2)")
    expect_close(decay, 200 / 209, name="decay", hint="the updates are numbered from 0")


@check
def check_15_6(average):
    generator = torch.Generator().manual_seed(0)
    each = torch.randn(12, 3, generator=generator)
    for rows in ([4, 4, 4], [1, 3, 8]):
        parts = [part.mean(0) for part in each.split(rows)]
        hint = "a part of more rows speaks for more rows"
        expect_close(average(parts, rows), each.mean(0), name=f"gradient of parts of {rows}", hint=hint)


@check
def check_15_7(from_batch):
    def indices(seed, size, batch_size):
        data = Labelled(torch.arange(float(size)), torch.arange(size))
        return (c for _, c in epochs(data, batch_size, torch.Generator().manual_seed(seed)))

    for seed, size, batch_size in ((0, 10, 3), (5, 100, 32), (1, 8, 8)):
        right = list(itertools.islice(indices(seed, size, batch_size), 30))
        for n in (0, 1, 3, 11):
            mine = list(itertools.islice(from_batch(seed, size, batch_size, n), 12))
            hint = "a pass has size // batch_size batches; shuffle once for each whole pass before batch n"
            want = torch.stack(right[n : n + 12])
            shapes = [tuple(m.shape) for m in mine]
            expect_true(set(shapes) == {(batch_size,)}, f"expected batches of {batch_size}, got {shapes}", hint)
            expect_close(torch.stack(mine), want, name=f"batches from number {n}", hint=hint)


@check
def check_15_8(extrapolate):
    ns = [100, 200, 400, 800]
    for limit, a in ((0.0, 50.0), (3.0, 120.0)):
        got = extrapolate(ns, [limit + a / n for n in ns])
        expect_true(len(got) == 2, "expected two numbers, the limit and a")
        expect_close(got[0], limit, atol=1e-4, name="limit", hint="a line in 1/n, not in n; its value at 1/n = 0")
        expect_close(got[1], a, rtol=1e-3, name="a", hint="the slope against 1/n")
    noisy = [1.3, 0.7, 0.35, 0.2]
    x = torch.stack([1 / torch.tensor(ns, dtype=torch.float64), torch.ones(4, dtype=torch.float64)], 1)
    want = torch.linalg.lstsq(x, torch.tensor(noisy, dtype=torch.float64)).solution
    expect_close(extrapolate(ns, noisy), (want[1], want[0]), rtol=1e-3, name="noisy values", hint="least squares")
