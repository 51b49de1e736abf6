"""Tiny sets of pictures in parquet files, in the schema of the real ones, for tests that need no download."""

import io

import numpy as np
from PIL import Image

from flowlib.datasets.sources import CIFAR10, EMOJI, FASHION_MNIST

ROWS = {"train": 40, "test": 20}


def picture(index, source, suffix=""):
    """Some picture: smooth colours that depend on its number, and its number in the first pixel."""
    channels, height, width = source.shape
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 120 * np.sin((index + 1) * (x + k * y) / 40 + k) for k in range(channels)]
    array = np.stack(waves, -1).astype(np.uint8)
    array[0, 0] = index
    file = io.BytesIO()
    Image.fromarray(array.squeeze()).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": f"{index:05d}{suffix}.png"}


def write_set(folder, source, split, *, rows, shards=1, lossy=()):
    """Write one split as ``shards`` files of ``folder``; ``lossy`` pictures are marked as such."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    folder.mkdir(parents=True, exist_ok=True)
    image, label = source.columns
    for shard, index in enumerate(np.array_split(np.arange(rows), shards)):
        columns = {
            image: [picture(i, source, "_lossy" if i in lossy else "") for i in index],
            label: [f"shape number {i}" if source is EMOJI else int(i) % 10 for i in index],
        }
        if source is EMOJI:
            columns["group"] = ["Symbols" for _ in index]
        write_table(pa.table(columns), folder / f"{split}-{shard:05d}-of-{shards:05d}.parquet")


def write_sets(root, monkeypatch, rows=ROWS):
    """Write all sets below ``root``, let ``FLOWLIB_DATA`` name it, and let the sources expect so few pictures."""
    monkeypatch.setenv("FLOWLIB_DATA", str(root))
    for source in (CIFAR10, FASHION_MNIST, EMOJI):
        for split in source.rows:
            monkeypatch.setitem(source.rows, split, rows[split])
            write_set(root / source.name, source, split, rows=rows[split], shards=2 if split == "train" else 1)
