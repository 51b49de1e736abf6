"""Normalizing flows: a training step, the density and samples, against the same model in nflows, zuko and normflows.

Models have the same layers, sizes and number of parameters, but not the same weights: each library has its own layout.
Every one is trained by the same optimiser on the same batch.
"""

from collections.abc import Callable, Iterator

import torch
from compare import Pair, Side
from torch import Tensor, nn

from flowlib.datasets import digits
from flowlib.densities import moons
from flowlib.flows import MAF, Glow, RealNVP, SplineFlow

N, WIDTH = 256, 64
Model = tuple[nn.Module, Callable[[Tensor], Tensor], Callable[[int], object]]  # module, log_prob, sample


def ours(flow: nn.Module) -> Model:
    """The two verbs of flowlib."""
    return flow, flow.log_prob, flow.sample


def nflows(layers: list[nn.Module]) -> Model:
    from nflows import distributions, flows, transforms

    flow = flows.Flow(transforms.CompositeTransform(layers), distributions.StandardNormal([2]))
    return flow, flow.log_prob, flow.sample


def zuko(flow: nn.Module) -> Model:
    return flow, lambda x: flow().log_prob(x), lambda n: flow().sample((n,))


def normflows(layers: list[nn.Module]) -> Model:
    from normflows import NormalizingFlow
    from normflows.distributions.base import DiagGaussian

    flow = NormalizingFlow(DiagGaussian(2, trainable=False), layers)
    return flow, flow.log_prob, flow.sample


def realnvp() -> dict[str, Model]:
    """Eight affine couplings, 2 x 64."""
    from nflows import transforms
    from nflows.nn.nets import MLP
    from normflows import flows, nets
    from zuko.flows import RealNVP as ZukoRealNVP

    class Net(MLP):
        def forward(self, x, context=None):
            return super().forward(x)

    masks = [torch.tensor([(i + j) % 2 for j in range(2)]) for i in range(8)]
    theirs = [transforms.AffineCouplingTransform(m, lambda a, b: Net((a,), (b,), [WIDTH, WIDTH])) for m in masks]
    others: list[nn.Module] = []
    for _ in range(8):
        net = nets.MLP([1, WIDTH, WIDTH, 2], init_zeros=True)
        others += [flows.AffineCouplingBlock(net), flows.Permute(2, mode="swap")]
    return {
        "flowlib": ours(RealNVP(2, layers=8, width=WIDTH, depth=2)),
        "nflows": nflows(theirs),
        "zuko": zuko(ZukoRealNVP(2, transforms=8, hidden_features=(WIDTH, WIDTH))),
        "normflows": normflows(others),
    }


def maf() -> dict[str, Model]:
    """Eight autoregressive affine maps, 2 x 64."""
    from nflows import transforms
    from normflows import flows
    from zuko.flows import MAF as ZukoMAF

    theirs: list[nn.Module] = []
    for _ in range(8):
        layer = transforms.MaskedAffineAutoregressiveTransform(2, WIDTH, num_blocks=1, use_residual_blocks=False)
        theirs += [layer, transforms.ReversePermutation(2)]
    others: list[nn.Module] = []
    for _ in range(8):
        others += [flows.MaskedAffineAutoregressive(2, WIDTH, num_blocks=1, use_residual_blocks=False)]
        others += [flows.Permute(2, mode="swap")]
    return {
        "flowlib": ours(MAF(2, layers=8, width=WIDTH, depth=2)),
        "nflows": nflows(theirs),
        "zuko": zuko(ZukoMAF(2, transforms=8, hidden_features=(WIDTH, WIDTH))),
        "normflows": normflows(others),
    }


def spline() -> dict[str, Model]:
    """Six autoregressive splines of 8 bins, 2 x 64."""
    from nflows import transforms
    from normflows import flows
    from normflows.flows.neural_spline.autoregressive import MaskedPiecewiseRationalQuadraticAutoregressive
    from zuko.flows import NSF

    # One block without a residual is the second hidden layer; the libraries' default would be five of them.
    same = {"num_bins": 8, "tails": "linear", "tail_bound": 5.0, "num_blocks": 1, "use_residual_blocks": False}
    theirs: list[nn.Module] = []
    others: list[nn.Module] = []
    for _ in range(6):
        layer = transforms.MaskedPiecewiseRationalQuadraticAutoregressiveTransform(2, WIDTH, **same)
        theirs += [layer, transforms.ReversePermutation(2)]
        other = flows.AutoregressiveRationalQuadraticSpline(2, 1, WIDTH)
        other.mprqat = MaskedPiecewiseRationalQuadraticAutoregressive(2, WIDTH, **same)
        others += [other, flows.Permute(2, mode="swap")]
    return {
        "flowlib": ours(SplineFlow(2, layers=6, bins=8, width=WIDTH, autoregressive=True)),
        "nflows": nflows(theirs),
        "zuko": zuko(NSF(2, transforms=6, bins=8, hidden_features=(WIDTH, WIDTH))),
        "normflows": normflows(others),
    }


def glow() -> dict[str, Model]:
    """Two levels of eight steps on 1 x 8 x 8 digits, 64 channels in the conditioners."""
    from normflows import MultiscaleFlow, distributions, flows

    merges, layers, bases = [], [], []
    for i in range(2):
        channels = 4 * 2 ** (1 - i)
        steps = [flows.GlowBlock(channels, WIDTH, split_mode="channel", scale=True) for _ in range(8)]
        layers.append([*steps, flows.Squeeze()])
        if i > 0:
            merges.append(flows.Merge())
            shape = (channels // 2, 4 * 2**i // 2, 4 * 2**i // 2)
        else:
            shape = (channels, 2, 2)
        bases.append(distributions.DiagGaussian(shape, trainable=True))
    theirs = MultiscaleFlow(bases, layers, merges, class_cond=False)
    return {
        "flowlib": ours(Glow((1, 8, 8), levels=2, steps=8, width=WIDTH)),
        "normflows": (theirs, lambda x: theirs.log_prob(x, None), theirs.sample),
    }


def trainer(model: Model, x: Tensor) -> Side:
    """A step of maximum likelihood."""
    module, log_prob, _ = model
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4, weight_decay=0, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        (-log_prob(x).mean()).backward()
        optimizer.step()

    return step


def pairs() -> Iterator[Pair]:
    """Step, density and samples of each family in the plane; a step of Glow."""
    generator = torch.Generator().manual_seed(0)
    x = moons(0.1).sample(N, generator)
    for build, name in ((realnvp, "RealNVP"), (maf, "MAF"), (spline, "autoregressive spline")):
        torch.manual_seed(0)
        models = build()
        steps = {library: trainer(model, x) for library, model in models.items()}
        densities = {
            library: torch.no_grad()(lambda log_prob=model[1]: log_prob(x)) for library, model in models.items()
        }
        samples = {library: torch.no_grad()(lambda draw=model[2]: draw(N)) for library, model in models.items()}
        for what, sides, aim in (
            (f"{name}: training step, 256", steps, 0.7),
            (f"{name}: log-likelihood, 256", densities, 1.05),
            (f"{name}: sampling, 256", samples, 1.05),
        ):
            mine, *_ = sides.values()
            # The autoregressive maps of normflows run the other way: they sample in one pass, and pay for the density.
            apart = {"flowlib"} if build is realnvp or "step" in what else {"flowlib", "normflows"}
            peers = {library: side for library, side in sides.items() if library not in apart}
            yield Pair(what, mine, peers, aim)
    pictures = digits("train").x[:64]
    torch.manual_seed(0)
    models = glow()
    models["flowlib"][0].initialise(pictures)
    models["normflows"][1](pictures)  # its ActNorm looks at the first batch
    mine, theirs = (trainer(model, pictures) for model in models.values())
    yield Pair("Glow: training step, 64 digits", mine, {"normflows": theirs})
