"""Getting and checking sets: the hub is played by a function that writes what a download would."""

import hashlib

import pytest
import torch
from pictures import ROWS, write_set, write_sets

from flowlib.datasets import catalogue, cifar10, emoji, fashion_mnist, fetch, verify
from flowlib.datasets.parquet import content_hash, decode
from flowlib.datasets.sources import CIFAR10, EMOJI, FASHION_MNIST
from flowlib.errors import InputError


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with both sets, an empty ``FLOWLIB_DATA``, and the list of what was asked of the hub."""
    (tmp_path / "here").mkdir()
    write_sets(tmp_path / "hub", monkeypatch)
    monkeypatch.setenv("FLOWLIB_DATA", str(tmp_path / "here"))
    asked = []

    def download(repo, file, *, repo_type, revision, local_dir):
        asked.append((repo, file, repo_type, revision))
        if (local_dir / file).exists():  # the real one too may take a file that is there for the right one
            return str(local_dir / file)
        split = "train" if "train" in file else "test"
        one = CIFAR10 if repo == CIFAR10.repo else FASHION_MNIST
        write_set(local_dir / file.split("/")[0], one, split, rows=ROWS[split])
        return str(local_dir / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    for one in (CIFAR10, FASHION_MNIST):
        for file in one.files:
            monkeypatch.setitem(one.files, file, "")
    return asked


def test_what_is_fetched_can_be_read(hub, tmp_path):
    with pytest.raises(InputError, match="with flowlib data get fashion_mnist"):
        fashion_mnist()
    assert fetch("fashion_mnist") == tmp_path / "here" / "fashion_mnist"
    assert [file for _, file, _, _ in hub] == list(FASHION_MNIST.files)
    assert all(len(revision) == 40 and kind == "dataset" for _, _, kind, revision in hub)
    assert len(fashion_mnist("train").x) == 40


def test_files_that_are_right_are_not_fetched_again_and_wrong_ones_are(hub, tmp_path, monkeypatch):
    folder = fetch("cifar10")
    train, test = (folder / file for file in CIFAR10.files)
    for path, file in zip((train, test), CIFAR10.files, strict=True):
        monkeypatch.setitem(CIFAR10.files, file, hashlib.sha256(path.read_bytes()).hexdigest())
    hub.clear()
    fetch("cifar10")
    assert hub == []
    test.write_bytes(test.read_bytes()[:-10])
    fetch("cifar10")
    assert [file for _, file, _, _ in hub] == ["plain_text/test-00000-of-00001.parquet"]
    assert len(cifar10("test").x) == 20


def test_a_download_with_another_hash_is_refused(hub, monkeypatch, unchecked):
    monkeypatch.setitem(CIFAR10.files, "plain_text/train-00000-of-00001.parquet", "0" * 64)
    with pytest.raises(InputError, match=r"cifar10: expected plain_text/train.* with SHA-256 0000.*Download it again"):
        fetch("cifar10")


def test_without_a_network(hub, monkeypatch, unchecked):
    from huggingface_hub.errors import LocalEntryNotFoundError

    def fails(*_, **__):
        raise LocalEntryNotFoundError("cannot reach the hub")

    here = fetch("fashion_mnist")
    kept = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    monkeypatch.setattr("huggingface_hub.hf_hub_download", fails)
    with pytest.raises(
        InputError, match=r"cifar10: expected to download uoft-cs/cifar10 at 0b27149 into .*cannot reach"
    ):
        fetch("cifar10")
    with pytest.raises(InputError, match="fashion_mnist: expected to download"):
        fetch("fashion_mnist")
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == kept  # what was there still is


@pytest.mark.parametrize(("stop", "seen"), [(RuntimeError("peer closed"), InputError), (KeyboardInterrupt(), None)])
def test_however_a_download_ends_what_was_there_comes_back(stop, seen, hub, monkeypatch, unchecked):
    """The hub's errors are not all of one family, and a hand may stop it half-way."""

    def cut_short(repo, file, *, local_dir, **_):
        (local_dir / file).write_bytes(b"half")
        raise stop

    here = fetch("fashion_mnist")
    kept = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    monkeypatch.setattr("huggingface_hub.hf_hub_download", cut_short)
    with pytest.raises(seen or type(stop)):
        fetch("fashion_mnist")
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == kept


def test_verify_tells_published_from_unknown_copies(hub, monkeypatch):
    fetch("cifar10")
    unknown = verify("cifar10")
    assert "cifar10 train: 40 pictures in 1 files, 10 classes of 4 to 4, whole, but not a copy whose hash" in unknown
    monkeypatch.setitem(CIFAR10.content, "train", content_hash(decode(CIFAR10, "train")))
    train, test = verify("cifar10").splitlines()
    assert train.endswith("as published")
    assert "whole, but not a copy" in test


def test_the_content_of_a_set_does_not_depend_on_the_order_of_its_rows(hub):
    fetch("cifar10")
    decoded = decode(CIFAR10, "test")
    order = torch.randperm(20)
    assert content_hash(type(decoded)(*(u[order] for u in decoded))) == content_hash(decoded)
    swapped = decoded._replace(c=decoded.c[order])
    assert content_hash(swapped) != content_hash(decoded)


@pytest.mark.parametrize("name", ["cifar10", "emoji"])
def test_verify_finds_damage(name, tmp_path, monkeypatch, unchecked):
    write_sets(tmp_path, monkeypatch)
    assert verify(name)
    file = sorted((tmp_path / name).glob("train*"))[-1]
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=f"{name}: expected whole parquet files"):
        verify(name)
    file.unlink()
    with pytest.raises(InputError, match=f"{name}: expected 40 pictures"):
        verify(name)


def test_emoji_have_captions(tmp_path, monkeypatch, unchecked):
    write_sets(tmp_path, monkeypatch)
    data = emoji()
    assert data.x.shape == (40, 3, 64, 64)
    assert data.captions[7] == "shape number 7"
    assert set(data.groups) == {"Symbols"}
    with pytest.raises(InputError, match=r"name: expected a set that is on the hub, got 'emoji'\. Set FLOWLIB_DATA to"):
        fetch("emoji")


def test_the_catalogue_says_what_each_set_is():
    assert [one.name for one in catalogue()] == ["cifar10", "fashion_mnist", "emoji"]
    assert all(one.what and one.licence and one.megabytes for one in catalogue())
    assert len(EMOJI.files["train.parquet"]) == 64
    with pytest.raises(InputError, match="name: expected one of cifar10, fashion_mnist, emoji, got 'mnist'"):
        verify("mnist")
