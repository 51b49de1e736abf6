"""The autoencoder, forward and backward, against diffusers' with the same weights."""

from collections.abc import Iterator

import torch
from compare import Pair, close

from flowlib.models import Autoencoder
from flowlib.pretrained import vae as released_vae


def pairs() -> Iterator[Pair]:
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
    yield Pair("KL autoencoder, forward and backward", trained(mine), {"diffusers": trained(diffusers)})
