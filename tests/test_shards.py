"""Pairs on disk: a killed generation continues, and nothing damaged or foreign is ever read."""

import json

import pytest
import torch

from flowlib.errors import InputError
from flowlib.rectify import Pairs, open_shards, write_shards

FACTS = {"weights": "abc", "steps": 64}


def make(k: int) -> Pairs:
    x_0 = torch.randn(10, 2, generator=torch.Generator().manual_seed(k))
    return Pairs(x_0, x_0 + 1, torch.full((10,), k))


def written(folder, count=3):
    return write_shards(folder, make, count=count, facts=FACTS)


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_written_is_read(tmp_path):
    shards = written(tmp_path)
    assert shards.facts["weights"] == "abc"
    for k in range(3):
        for got, want in zip(shards.load(k), make(k), strict=True):
            torch.testing.assert_close(got, want, rtol=0, atol=0)


def test_pairs_need_no_condition_and_may_be_halved(tmp_path):
    plain = lambda k: Pairs(make(k).x_0.clamp(-1, 1), make(k).x_1.clamp(-1, 1))  # noqa: E731
    shards = write_shards(tmp_path, plain, count=1, facts={}, dtype=torch.float16)
    pairs = shards.load(0)
    assert pairs.c is None
    assert pairs.x_0.dtype == torch.float32
    torch.testing.assert_close(pairs.x_1, plain(0).x_1, rtol=0, atol=5e-4)


def test_a_killed_generation_continues_and_makes_the_same_bytes(tmp_path):
    called = []

    def dies(k):
        if k == 2:
            raise KeyboardInterrupt
        called.append(k)
        return make(k)

    with pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path / "killed", dies, count=4, facts=FACTS)
    with pytest.raises(InputError, match=r"folder: expected 4 shards, got 2 in .*killed. Run the generation again"):
        open_shards(tmp_path / "killed")
    write_shards(tmp_path / "killed", lambda k: called.append(k) or make(k), count=4, facts=FACTS)
    assert called == [0, 1, 2, 3]
    written(tmp_path / "whole", 4)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_kill_between_shard_and_index_leaves_nothing_foreign(tmp_path):
    written(tmp_path, 2)
    index = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps(index | {"shards": index["shards"][:1]}))
    assert len(written(tmp_path, 2).shards) == 2


def test_a_damaged_shard_alone_is_made_again(tmp_path):
    written(tmp_path)
    before = contents(tmp_path)
    file = tmp_path / "pairs-00001.safetensors"
    file.write_bytes(file.read_bytes()[:-7])
    called = []
    write_shards(tmp_path, lambda k: called.append(k) or make(k), count=3, facts=FACTS)
    assert called == [1]
    assert contents(tmp_path) == before


def test_more_shards_may_be_asked_for(tmp_path):
    written(tmp_path, 2)
    assert len(written(tmp_path, 5).shards) == 5


def test_fewer_shards_may_be_enough_after_a_kill(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path, lambda k: dies() if k == 2 else make(k), count=4, facts=FACTS)
    assert len(written(tmp_path, 2).shards) == 2


def dies():
    raise KeyboardInterrupt


def truncate(folder):
    file = folder / "pairs-00001.safetensors"
    file.write_bytes(file.read_bytes()[:-7])


def change(folder):
    file = folder / "pairs-00001.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")


def exchange(folder):
    (folder / "pairs-00001.safetensors").write_bytes((folder / "pairs-00002.safetensors").read_bytes())


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (truncate, r"expected whole shards, got .*pairs-00001.safetensors has \d+ of \d+ bytes. Run the generation"),
        (change, "expected the shard that was written, got .*pairs-00001.safetensors with another content"),
        (exchange, "expected the shard that was written, got .*pairs-00001.safetensors with another content"),
        (
            lambda f: (f / "pairs-00001.safetensors").unlink(),
            "every shard of the index, got .*pairs-00001.safetensors is",
        ),
        (
            lambda f: (f / "pairs-00009.safetensors").write_bytes(b""),
            "a foreign file, .*pairs-00009.safetensors. Move it",
        ),
        (lambda f: (f / "index.json").unlink(), r"expected a folder of pairs, got no .*index.json. Generate"),
        (
            lambda f: (f / "index.json").write_text("{"),
            r"expected an index of pairs, got .*index.json \(JSONDecodeError",
        ),
        (lambda f: (f / "index.json").write_text("{}"), r"expected an index of pairs, got .*index.json \(KeyError"),
    ],
)
def test_damage_is_told_by_the_name_of_the_file(tmp_path, harm, message):
    written(tmp_path)
    harm(tmp_path)
    with pytest.raises(InputError, match=message):
        _ = [open_shards(tmp_path).load(k) for k in range(3)]


def test_pairs_of_another_flow_are_not_continued(tmp_path):
    written(tmp_path)
    message = r"got .*index.json: weights = 'abc' there, 'xyz' now. Choose another folder"
    with pytest.raises(InputError, match=message):
        write_shards(tmp_path, make, count=3, facts=FACTS | {"weights": "xyz"})


def test_a_foreign_file_is_told_before_anything_is_made(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"a foreign file, .*weights.safetensors"):
        write_shards(tmp_path, lambda k: pytest.fail("made"), count=1, facts=FACTS)


def test_the_stream_keeps_pairs_together_and_sees_each_once_a_pass(tmp_path, generator):
    stream = written(tmp_path).batches(5, generator)
    passes = [[next(stream) for _ in range(6)] for _ in range(2)]
    for one in passes:
        for x_0, x_1, c in one:
            torch.testing.assert_close(x_1 - x_0, torch.ones(5, 2))
            assert len(c.unique()) == 1
        seen = torch.cat([x_0 for x_0, _, _ in one]).sort(0).values
        torch.testing.assert_close(seen, torch.cat([make(k).x_0 for k in range(3)]).sort(0).values)
    assert not torch.equal(passes[0][0][0], passes[1][0][0])


def test_the_stream_continues_at_a_saved_position(tmp_path):
    shards = written(tmp_path)
    stream = shards.batches(4, torch.Generator().manual_seed(1))
    for _ in range(9):  # into the second pass
        next(stream)
    place, want = stream.state_dict(), [next(stream) for _ in range(5)]
    again = shards.batches(4, torch.Generator().manual_seed(99))
    again.load_state_dict(place)
    for a, b in zip(want, [next(again) for _ in range(5)], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_batches_no_larger_than_a_shard(tmp_path):
    with pytest.raises(InputError, match="batch_size: expected 1 to 10, the size of the smallest shard, got 11"):
        written(tmp_path).batches(11, torch.Generator())
