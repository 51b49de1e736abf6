"""Latents on disk: exact statistics, fresh draws, a stream that continues, a killed run that continues."""

import json
from typing import NamedTuple

import pytest
import torch

from flowlib.datasets import Labelled, Stream, open_latents, write_latents
from flowlib.errors import InputError

FACTS = {"weights": "abc"}
X = torch.randn(25, 2, 3, 4, generator=torch.Generator().manual_seed(0))
DATA = Labelled(X, torch.arange(25) % 10)


class Law(NamedTuple):
    mean: torch.Tensor
    logvar: torch.Tensor


def encode(x):
    """Channels of different means and variances."""
    scale, shift = torch.tensor([2.0, 0.5])[:, None, None], torch.tensor([1.0, -3.0])[:, None, None]
    return Law(scale * x + shift, (0.1 * x - 1.0))


def written(folder, **options):
    options = {"facts": FACTS, "size": 10, "batch_size": 4, "dtype": torch.float32} | options
    return write_latents(folder, encode, DATA, **options)


def test_what_is_encoded_is_read(tmp_path):
    latents = written(tmp_path)
    assert [shard["latents"] for shard in latents.shards.shards] == [8, 8, 9]
    got = [torch.cat(parts) for parts in zip(*(latents.shards.load(k) for k in range(3)), strict=True)]
    for a, b in zip(got, (*encode(X), DATA.c), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    halved = written(tmp_path / "halved", dtype=torch.float16).shards.load(0)
    assert halved.mean.dtype == torch.float32
    torch.testing.assert_close(halved.mean, encode(X[:8]).mean, rtol=1e-3, atol=0)


def test_statistics_are_those_of_the_draws(tmp_path):
    """Against the law of total variance, over shards of unequal sizes; and against draws."""
    latents = written(tmp_path)
    mean, logvar = encode(X.double())
    spread = (mean.var((0, 2, 3), correction=0) + logvar.exp().mean((0, 2, 3))).sqrt()
    torch.testing.assert_close(latents.mean.double(), mean.mean((0, 2, 3)), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(latents.std.double(), spread, rtol=1e-5, atol=0)
    assert open_latents(tmp_path).scale == latents.scale
    z = torch.cat([next(latents.batches(5, torch.Generator().manual_seed(k)))[0] for k in range(400)])
    assert abs(float(z.mean())) < 0.02
    assert abs(float(z.std()) - 1) < 0.02


def test_a_draw_is_standardised_as_asked_and_fresh(tmp_path):
    latents = written(tmp_path, size=5)
    same = [latents.batches(5, torch.Generator().manual_seed(0), shift=a, scale=b) for a, b in ((0.5, 3.0), (0.0, 1.0))]
    (z, c), (raw, again) = (next(stream) for stream in same)
    torch.testing.assert_close(z, 3 * (raw - 0.5))
    assert torch.equal(c, again)
    assert c.dtype == torch.int64
    stream, one = latents.batches(5, torch.Generator().manual_seed(0)), {}
    for _ in range(10):  # two passes
        for picture, label in zip(*next(stream), strict=True):
            one.setdefault(int(label), []).append(picture)
    assert all(len({float(z.sum()) for z in draws}) == len(draws) for draws in one.values())


def test_the_stream_keeps_latents_and_classes_together_and_sees_each_once_a_pass(tmp_path):
    """A mapped stream too: its permutation still keeps to one shard after the other."""
    latents = written(tmp_path, size=5)
    stream = latents.from_noise(5, torch.Generator().manual_seed(3), shift=0.0, scale=1.0)
    assert isinstance(stream, Stream)
    mean = encode(X).mean
    seen = []
    for _ in range(5):
        x_0, z, c = next(stream)
        assert x_0.shape == z.shape
        nearest = torch.cdist(z.flatten(1), mean.flatten(1)).argmin(1)
        assert torch.equal(DATA.c[nearest], c)
        seen += nearest.tolist()
    assert sorted(seen) == list(range(25))


def test_the_stream_continues_at_a_saved_position(tmp_path):
    latents = written(tmp_path)
    stream = latents.from_noise(4, torch.Generator().manual_seed(1))
    for _ in range(8):  # into the second pass
        next(stream)
    place, want = stream.state_dict(), [next(stream) for _ in range(5)]
    again = latents.from_noise(4, torch.Generator().manual_seed(99))
    again.load_state_dict(place)
    for a, b in zip(want, [next(again) for _ in range(5)], strict=True):
        assert all(torch.equal(u, v) for u, v in zip(a, b, strict=True))


def test_a_killed_run_continues_and_makes_the_same_bytes(tmp_path):
    calls = []

    def dies(x):
        calls.append(len(x))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return encode(x)

    options = {"facts": FACTS, "size": 10, "batch_size": 5, "dtype": torch.float32}
    with pytest.raises(KeyboardInterrupt):
        write_latents(tmp_path / "killed", dies, DATA, **options)
    with pytest.raises(InputError, match="folder: expected 3 shards, got 1 in"):
        open_latents(tmp_path / "killed")
    write_latents(tmp_path / "killed", dies, DATA, **options)
    assert calls == [5, 3, 5, 3, 5, 3, 5, 4]
    written(tmp_path / "whole", batch_size=5)
    both = [{p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("killed", "whole")]
    assert both[0] == both[1]
    assert json.loads((tmp_path / "whole" / "index.json").read_text())["facts"]["pictures"] == 25


def test_latents_of_other_weights_are_not_continued(tmp_path):
    written(tmp_path)
    with pytest.raises(InputError, match=r"latents of this generation, got .*weights = 'abc' there, 'xyz' now"):
        written(tmp_path, facts={"weights": "xyz"})
    with pytest.raises(InputError, match=r"expected a folder of latents, got no .*Generate the latents first"):
        open_latents(tmp_path / "none")
    with pytest.raises(InputError, match="data: expected at least one picture, got none"):
        write_latents(tmp_path, encode, Labelled(X[:0], DATA.c[:0]), facts=FACTS)
