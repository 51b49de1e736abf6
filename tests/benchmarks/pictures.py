"""Pictures: the autoencoder against diffusers', and reading CIFAR-10 against datasets with torch's default collate."""

from collections.abc import Iterator

import torch
from compare import Pair, close

from flowlib.datasets import cifar10, from_noise
from flowlib.errors import InputError
from flowlib.models import Autoencoder
from flowlib.pretrained import vae as released_vae


def autoencoder() -> Iterator[Pair]:
    """A narrow autoencoder in the released layout, on 2 pictures of 64 x 64."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    widths = (32, 64, 128)
    ours = Autoencoder(3, 4, widths=widths, quant=True).eval()
    theirs = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3,
        block_out_channels=widths,
        layers_per_block=2,
        latent_channels=4,
        sample_size=64,
    ).eval()
    theirs.load_state_dict(released_vae.to_diffusers(ours.state_dict()))
    x = torch.randn(2, 3, 64, 64)

    def mine() -> torch.Tensor:
        return ours.decode(ours.encode(x).mean)

    def diffusers() -> torch.Tensor:
        return theirs.decode(theirs.encode(x).latent_dist.mode()).sample

    def trained(side):
        return lambda: side().square().mean().backward()

    sides = torch.no_grad()(mine), {"diffusers": torch.no_grad()(diffusers)}
    yield Pair("KL autoencoder, forward", *sides, agree=lambda: close(mine(), diffusers(), 5e-5))
    yield Pair("KL autoencoder, forward and backward", trained(mine), {"diffusers": trained(diffusers)}, 0.95)


def pipeline() -> Iterator[Pair]:
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


def pairs() -> Iterator[Pair]:
    """Autoencoder and input."""
    yield from autoencoder()
    yield from pipeline()
