"""Reading CIFAR-10 against datasets with torch's default collate; nothing where CIFAR-10 is not at hand."""

from collections.abc import Iterator

import torch
from compare import Pair

from flowlib.datasets import cifar10, from_noise
from flowlib.errors import InputError


def pairs() -> Iterator[Pair]:
    """A batch of 256 pictures and labels of CIFAR-10 as float32 in [-1, 1], shuffled."""
    from datasets import Array3D, Dataset, Features, Value
    from torch.utils.data import DataLoader

    try:
        data = cifar10("test")
    except InputError as error:
        print(f"  left out, CIFAR-10 is not here: {error}")
        return
    levels = ((data.x + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    features = Features({"img": Array3D((32, 32, 3), "uint8"), "label": Value("int64")})  # the fastest way it has
    table = Dataset.from_dict({"img": list(levels), "label": data.c.tolist()}, features).with_format("torch")
    loader = DataLoader(table, batch_size=256, shuffle=True)
    stream = from_noise(data, 256, torch.Generator().manual_seed(0))
    batches = iter(loader)

    def theirs():
        nonlocal batches
        try:
            batch = next(batches)
        except StopIteration:
            batches = iter(loader)
            batch = next(batches)
        x_1 = batch["img"].permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
        return torch.randn_like(x_1), x_1, batch["label"]

    def agree() -> None:
        for batch in (next(stream), theirs()):
            _, x_1, c = batch
            assert x_1.shape == (256, 3, 32, 32)
            assert c.shape == (256,)
            assert -1 <= x_1.min() < x_1.max() <= 1

    yield Pair("CIFAR-10, a batch of 256 with its noise", lambda: next(stream), {"datasets": theirs}, agree=agree)
