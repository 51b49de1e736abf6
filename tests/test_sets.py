"""Sets in parquet files: what is read is what was written, and every way to be wrong says how to get it right."""

import os
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from pictures import ROWS, picture, write_set, write_sets
from pyarrow.parquet import write_table

from flowlib.datasets import cifar10, fashion_mnist
from flowlib.datasets import parquet as reading
from flowlib.datasets.sources import CIFAR10, FASHION_MNIST
from flowlib.errors import InputError
from flowlib.tensors import to_float, to_uint8

REAL = os.environ.get("FLOWLIB_DATA")
LOADERS = {"cifar10": (cifar10, CIFAR10), "fashion_mnist": (fashion_mnist, FASHION_MNIST)}


@pytest.fixture
def sets(tmp_path, monkeypatch):
    write_sets(tmp_path, monkeypatch)
    return tmp_path


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_pictures_are_read_as_they_were_written(name, split, sets):
    load, source = LOADERS[name]
    for _ in ("decoded", "kept"):
        data = load(split)
        assert data.x.dtype == torch.float32
        assert tuple(data.x.shape) == (ROWS[split], *source.shape)
        assert torch.equal(data.c, torch.arange(ROWS[split]) % 10)
        k = to_uint8(data.x)
        assert torch.equal(k[:, 0, 0, 0], torch.arange(ROWS[split], dtype=torch.uint8))  # in order, over both shards
        y, x = torch.meshgrid(*(torch.arange(side) for side in source.shape[1:]), indexing="ij")
        last = source.shape[0] - 1  # the wave of the last channel, whose direction tells rows from columns
        wave = (127 + 120 * torch.sin(8.0 * (x + last * y) / 40 + last)).to(torch.uint8)
        assert int((k[7, last] != wave).sum()) <= 5  # float32 against float64 at a level's edge, and the number


def test_a_decoded_copy_is_kept_and_used(sets, monkeypatch):
    first = cifar10("test")
    assert (sets / "decoded" / "cifar10-test.safetensors").is_file()
    monkeypatch.setattr(reading, "decode", lambda *_: pytest.fail("decoded again"))
    assert torch.equal(cifar10("test").x, first.x)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "foreign", "files changed"])
def test_a_decoded_copy_that_is_not_right_is_made_again(damage, sets):
    first = cifar10("test")
    path = sets / "decoded" / "cifar10-test.safetensors"
    whole = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(whole[:-100])
    elif damage == "flipped":
        middle = len(whole) // 2  # of the pixels, which are nearly all of it
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    elif damage == "foreign":
        path.write_text("something else")
    else:
        write_set(sets / "cifar10", CIFAR10, "test", rows=20, lossy=(3,))
    again = cifar10("test", exact=damage == "files changed")
    keep = [i for i in range(20) if damage != "files changed" or i != 3]
    assert torch.equal(again.x, first.x[keep])
    assert path.read_bytes() != (whole if damage == "files changed" else b"")


def test_lossy_pictures_can_be_left_out(sets):
    write_set(sets / "cifar10", CIFAR10, "test", rows=20, lossy=(0, 5))
    assert len(cifar10("test").x) == 20
    exact = cifar10("test", exact=True)
    assert len(exact.x) == 18
    assert 5 not in to_uint8(exact.x)[:, 0, 0, 0]


def test_files_that_may_not_be_written_beside(sets, tmp_path_factory, monkeypatch):
    """A read-only FLOWLIB_DATA works: the decoded copy goes to data/cache, or nowhere, with a warning."""
    elsewhere = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr("flowlib.datasets.sources.CACHE", elsewhere)
    sets.chmod(0o555)
    try:
        first = cifar10("test")
        assert not (sets / "decoded").exists()
        assert (elsewhere / "decoded" / "cifar10-test.safetensors").is_file()
        monkeypatch.setattr("flowlib.datasets.sources.CACHE", elsewhere / "decoded" / "cifar10-test.safetensors")
        with pytest.warns(UserWarning, match="the decoded set is not kept, and will be decoded again"):
            assert torch.equal(cifar10("test").x, first.x)
    finally:
        sets.chmod(0o755)


def test_other_ways_to_lay_the_files(sets):
    """As the hub lays them, in a folder below, and with the dash that the names of files often have."""
    first = fashion_mnist("train")
    (sets / "fashion_mnist").rename(sets / "moved")
    (sets / "fashion-mnist").mkdir()
    (sets / "moved").rename(sets / "fashion-mnist" / "fashion_mnist")
    assert torch.equal(fashion_mnist("train").x, first.x)


def only(files, keep):
    for path in files[keep:]:
        path.unlink()


def scribble(path, start):
    content = bytearray(path.read_bytes())
    content[start : start + 40] = bytes(40)
    path.write_bytes(bytes(content))


BROKEN = {
    "no folder": (lambda files: only(files, 0), r"cifar10: expected train\*.parquet in .*cifar10, got no such file\. "),
    "a shard is missing": (
        lambda files: only(files, 1),
        "cifar10: expected 40 pictures in the split train, got 20 in 1",
    ),
    "truncated": (lambda files: files[0].write_bytes(files[0].read_bytes()[:-50]), "expected whole parquet files, got"),
    "empty": (lambda files: files[0].write_bytes(b""), "cifar10: expected whole parquet files, got .*00000-of-00002"),
    "not parquet": (lambda files: files[0].write_text("<html>404</html>"), "cifar10: expected whole parquet files"),
    "scribbled over": (lambda files: scribble(files[0], 400), "cifar10: expected "),
    "other columns": (
        lambda files: write_set(files[0].parent, FASHION_MNIST, "train", rows=40, shards=2),
        "cifar10: expected the columns img, label, got .* without img",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_set_says_how_to_get_it(name, sets, unchecked):
    destroy, message = BROKEN[name]
    destroy(sorted((sets / "cifar10").glob("train*")))
    with pytest.raises(InputError, match=message) as caught:
        cifar10("train")
    assert "ownload its 144 MB with flowlib data get cifar10, or set FLOWLIB_DATA" in str(caught.value)
    assert len(cifar10("test").x) == 20  # the other split is none the worse


def test_pictures_of_another_size(sets, unchecked):
    columns = {"img": [picture(i, FASHION_MNIST) for i in range(20)], "label": list(range(20))}
    write_table(pa.table(columns), sets / "cifar10" / "test-00000-of-00001.parquet")
    with pytest.raises(InputError, match=r"cifar10: expected pictures of 32 x 32 pixels, got 00000.png with 28 x 28"):
        cifar10("test")


def test_a_picture_that_is_none(sets, unchecked):
    columns = {"img": [{"bytes": b"no picture", "path": "17.png"}] * 20, "label": list(range(20))}
    write_table(pa.table(columns), sets / "cifar10" / "test-00000-of-00001.parquet")
    with pytest.raises(InputError, match=r"cifar10: expected pictures that can be decoded, got 17.png .* data verify"):
        cifar10("test")


def test_a_wrong_flowlib_data(monkeypatch, tmp_path, unchecked):
    monkeypatch.setenv("FLOWLIB_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(
        InputError, match=r"FLOWLIB_DATA: expected a folder, got .*nowhere\. Make it, correct it, or unset"
    ):
        cifar10()
    monkeypatch.setenv("FLOWLIB_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"cifar10: expected train\*.parquet in .*cifar10, got no such file"):
        cifar10()
    with pytest.raises(InputError, match='split: expected "train" or "test", got \'valid\''):
        cifar10("valid")


def test_bytes_and_back():
    """floor(127.5 x + 128) is the nearest level; truncating (x + 1) / 2 * 255 gets 63 of the 256 wrong."""
    k = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_float(k)), k)
    assert int((((to_float(k) + 1) / 2 * 255).to(torch.uint8) != k).sum()) == 63
    x = torch.linspace(-1.2, 1.2, 10_001, dtype=torch.float64)
    nearest = (x.clamp(-1, 1)[:, None] - to_float(k).double()).abs().argmin(1)
    off = (to_uint8(x) != nearest.to(torch.uint8)).sum()
    assert int(off) <= 2  # ties


@pytest.mark.skipif(not REAL or not Path(REAL).is_dir(), reason="FLOWLIB_DATA names no folder with the real sets")
@pytest.mark.parametrize("name", LOADERS)
def test_the_real_sets(name):
    """Published means and standard deviations, and balanced classes."""
    load, source = LOADERS[name]
    if not source.folder().is_dir():
        pytest.skip(f"FLOWLIB_DATA holds no {name}")
    mean, std = {
        "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        "fashion_mnist": ((0.2860,), (0.3530,)),
    }[name]
    data = load("train")
    unit = (data.x.double() + 1) / 2
    assert unit.mean((0, 2, 3)).tolist() == pytest.approx(mean, abs=1e-4)
    assert unit.std((0, 2, 3)).tolist() == pytest.approx(std, abs=1e-4)
    assert data.c.bincount().tolist() == [source.rows["train"] // 10] * 10
