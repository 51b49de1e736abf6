"""The KL autoencoder: equal to diffusers', its rate a divergence, its loss a bound; constants and sizes."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from flowlib.errors import InputError
from flowlib.models import Autoencoder, Posterior
from flowlib.objectives import autoencoding, rate_distortion
from flowlib.pretrained.vae import to_diffusers

TINY = {"widths": (8, 16, 24), "blocks": 2, "groups": 4}


def pair(dtype, quant, **sizes):
    """Ours and diffusers', random and equal; the constants of no use to diffusers."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    sizes = TINY | sizes
    ours = Autoencoder(3, 4, quant=quant, **sizes).to(dtype).eval()
    levels = len(sizes["widths"])
    theirs = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=sizes["widths"],
        layers_per_block=sizes["blocks"],
        latent_channels=4,
        norm_num_groups=sizes["groups"],
        use_quant_conv=quant,
        use_post_quant_conv=quant,
    )
    for parameter in ours.parameters():  # norms and biases too: equal constants would hide a swap
        nn.init.normal_(parameter, std=0.3)
    theirs.to(dtype).eval().load_state_dict(to_diffusers(ours.state_dict()))
    return ours, theirs


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize("quant", [True, False])
@pytest.mark.parametrize("sizes", [{}, {"blocks": 1, "widths": (8, 8)}], ids=["three levels", "two levels"])
@torch.no_grad()
def test_equal_to_diffusers(dtype, tolerance, quant, sizes):
    """On a picture that is not square, so that height and width cannot be exchanged."""
    ours, theirs = pair(dtype, quant, **sizes)
    x = torch.randn(2, 3, 16, 24, dtype=dtype)
    mine, law = ours.encode(x), theirs.encode(x).latent_dist
    z = torch.randn_like(mine.mean)
    for a, b in ((mine.mean, law.mean), (mine.logvar, law.logvar), (ours.decode(z), theirs.decode(z).sample)):
        scale = float(b.abs().max())
        assert float((a - b).abs().max()) <= tolerance * scale
        assert scale > 1e-2
    a, b = (q.sample(torch.Generator().manual_seed(3)) for q in (mine, law))
    assert float((a - b).abs().max()) <= tolerance * float(b.abs().max())


@pytest.mark.parametrize(("name", "count"), [("sd", 83_653_863), ("sd3", 83_819_683), ("flux", 83_819_683)])
def test_released_sizes(name, count):
    with torch.device("meta"):
        model = Autoencoder.of(name)
    assert sum(p.numel() for p in model.parameters()) == count
    assert model.factor == 8
    with pytest.raises(InputError, match="name: expected one of sd, sd3, flux, got 'xl'"):
        Autoencoder.of("xl")


def test_rate_is_the_divergence(float64):
    mean, logvar = torch.randn(5, 4, 2, 3), torch.randn(5, 4, 2, 3)
    law = Normal(mean, (logvar / 2).exp())
    expected = kl_divergence(law, Normal(torch.zeros(()), torch.ones(()))).flatten(1).sum(1)
    torch.testing.assert_close(Posterior(mean, logvar).rate(), expected)
    draws = Posterior(mean[:1].expand(20_000, -1, -1, -1), logvar[:1].expand(20_000, -1, -1, -1)).sample()
    torch.testing.assert_close(draws.mean(0), mean[0], atol=0.05, rtol=0)
    torch.testing.assert_close(draws.std(0), (logvar[0] / 2).exp(), atol=0, rtol=0.03)


def test_loss_is_the_bound_on_a_linear_model(float64):
    """A linear Gaussian model, whose log-likelihood is known: the bound holds, and is tight at the exact posterior."""
    n, k, s = 6, 3, 0.5
    w = torch.randn(n, k)

    class Linear(nn.Module):
        def __init__(self, off):
            super().__init__()
            self.precision = torch.eye(k) + w.T @ w / s**2
            self.off = off

        def encode(self, x):
            mean = torch.linalg.solve(self.precision, w.T @ x.flatten(1).T / s**2).T
            logvar = torch.linalg.inv(self.precision).diagonal().log().expand_as(mean)
            return Posterior((mean + self.off)[..., None, None], logvar[..., None, None])

        def decode(self, z):
            return (z.flatten(1) @ w.T)[:, None, None]

    # With orthogonal columns the exact posterior is independent in every latent, as the encoder's law is.
    w = torch.linalg.qr(w).Q * torch.tensor([1.0, 0.7, 2.0])
    law = torch.distributions.MultivariateNormal(torch.zeros(n), w @ w.T + s**2 * torch.eye(n))
    x = law.sample((400,))
    log_p = law.log_prob(x).mean()
    x = x[:, None, None].expand(-1, 1, 1, -1)

    def bound(off):
        losses = [autoencoding(Linear(off), x, beta=2 * s**2) for _ in range(50)]
        return torch.stack(losses).mean() * n / (2 * s**2) + n / 2 * math.log(2 * math.pi * s**2)

    assert abs(float(bound(0.0) + log_p)) < 0.02
    assert float(bound(0.3) + log_p) > 0.1


def test_pieces_of_the_loss(float64, generator):
    model = Autoencoder(1, 2, widths=(8, 8), blocks=1, groups=4)
    x = torch.randn(3, 1, 8, 8)
    pieces = rate_distortion(model, x, torch.Generator().manual_seed(0))
    assert pieces.rate.shape == pieces.distortion.shape == (3,)
    nats = model.encode(x).rate()
    torch.testing.assert_close(pieces.rate * math.log(2), nats)
    loss = autoencoding(model, x, beta=0.3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(loss, (pieces.distortion + 0.3 * nats).mean() / 64)
    with pytest.raises(InputError, match="beta: expected no negative number"):
        autoencoding(model, x, beta=-1.0)


def test_constants_and_their_inverse(float64, generator):
    model = Autoencoder(1, 2, widths=(8, 8), blocks=1, groups=4)
    x = torch.randn(256, 1, 8, 8, generator=generator)
    model.fit_constants(x)
    z = model.latents(x, generator).detach()
    assert abs(float(z.mean())) < 0.02
    assert abs(float(z.std()) - 1) < 0.02
    torch.testing.assert_close(model.standardise(model.restore(z)), z)
    torch.testing.assert_close(model.pictures(model.standardise(z)), model.decode(z))
    sd3 = Autoencoder(1, 2, widths=(8, 8), blocks=1, groups=4, shift=0.0609, scale=1.5305)
    one = torch.ones(1, 2, 4, 4)
    torch.testing.assert_close(sd3.standardise(one), (one - 0.0609) * 1.5305)
    assert {"shift", "scale"} <= sd3.state_dict().keys()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.encode(torch.zeros(1, 3, 8, 8)), r"x: expected shape \(B, 1, H, W\) with H and W multiples of 4"),
        (lambda m: m.encode(torch.zeros(1, 1, 8, 10)), r"multiples of 4, got shape \(1, 1, 8, 10\)"),
        (lambda m: m.decode(torch.zeros(1, 4, 2, 2)), r"z: expected shape \(B, 2, h, w\)"),
        (lambda m: Autoencoder(widths=(8, 12), groups=8), r"groups: expected a divisor of every width in \[8, 12\]"),
    ],
)
def test_wrong_shapes(call, message):
    with pytest.raises(InputError, match=message):
        call(Autoencoder(1, 2, widths=(8, 8, 8), blocks=1, groups=4))


def test_padding_is_at_the_far_side_alone(float64):
    """A sum over 3 x 3 pixels starts at the top left; symmetric padding would start one row and column before."""
    from flowlib.models.autoencoder import Downsample

    down = Downsample(1)
    nn.init.ones_(down.conv.weight)
    nn.init.zeros_(down.conv.bias)
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert float(down(x)[0, 0, 0, 0].detach()) == float(x[0, 0, :3, :3].sum())
    assert float(down(x)[0, 0, 1, 1].detach()) == float(x[0, 0, 2:, 2:].sum())
