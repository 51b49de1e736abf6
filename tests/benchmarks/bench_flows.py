"""A training step of two flows in the plane, against the same model in nflows, zuko and normflows.

`make bench` installs the peers and runs it on one thread.

Models have the same layers, sizes and number of parameters; every one is trained by the same optimiser on the same
batches. Rounds alternate between the models, each round starting with another one; what counts is the median over
rounds of our time over theirs in the same round, in seconds of the processor, which a busy machine disturbs least.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from flowlib.densities import moons
from flowlib.flows import RealNVP, SplineFlow

Loss = Callable[[Tensor], Tensor]


def ours_realnvp() -> tuple[nn.Module, Loss]:
    flow = RealNVP(2, layers=8, width=64, depth=2)
    return flow, lambda x: -flow.log_prob(x).mean()


def nflows_realnvp() -> tuple[nn.Module, Loss]:
    from nflows import distributions, flows, transforms
    from nflows.nn.nets import MLP

    class Net(MLP):
        def forward(self, x, context=None):
            return super().forward(x)

    masks = [torch.tensor([(i + j) % 2 for j in range(2)]) for i in range(8)]
    layers = [transforms.AffineCouplingTransform(m, lambda a, b: Net((a,), (b,), [64, 64])) for m in masks]
    flow = flows.Flow(transforms.CompositeTransform(layers), distributions.StandardNormal([2]))
    return flow, lambda x: -flow.log_prob(x).mean()


def zuko_realnvp() -> tuple[nn.Module, Loss]:
    import zuko

    flow = zuko.flows.RealNVP(2, transforms=8, hidden_features=(64, 64))
    return flow, lambda x: -flow().log_prob(x).mean()


def normflows_realnvp() -> tuple[nn.Module, Loss]:
    import normflows

    layers = []
    for _ in range(8):
        net = normflows.nets.MLP([1, 64, 64, 2], init_zeros=True)
        layers += [normflows.flows.AffineCouplingBlock(net), normflows.flows.Permute(2, mode="swap")]
    flow = normflows.NormalizingFlow(normflows.distributions.base.DiagGaussian(2, trainable=False), layers)
    return flow, flow.forward_kld


def ours_spline() -> tuple[nn.Module, Loss]:
    flow = SplineFlow(2, layers=6, bins=8, width=64, autoregressive=True)
    return flow, lambda x: -flow.log_prob(x).mean()


def nflows_spline() -> tuple[nn.Module, Loss]:
    from nflows import distributions, flows, transforms

    layers = []
    for _ in range(6):
        # One block without a residual is the second hidden layer; the library's default would be five of them.
        spline = transforms.MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
            2, 64, num_bins=8, tails="linear", tail_bound=5.0, num_blocks=1, use_residual_blocks=False
        )
        layers += [spline, transforms.ReversePermutation(2)]
    flow = flows.Flow(transforms.CompositeTransform(layers), distributions.StandardNormal([2]))
    return flow, lambda x: -flow.log_prob(x).mean()


def zuko_spline() -> tuple[nn.Module, Loss]:
    import zuko

    flow = zuko.flows.NSF(2, transforms=6, bins=8, hidden_features=(64, 64))
    return flow, lambda x: -flow().log_prob(x).mean()


def normflows_spline() -> tuple[nn.Module, Loss]:
    import normflows
    from normflows.flows.neural_spline.autoregressive import MaskedPiecewiseRationalQuadraticAutoregressive

    layers = []
    for _ in range(6):
        layer = normflows.flows.AutoregressiveRationalQuadraticSpline(2, 1, 64)
        layer.mprqat = MaskedPiecewiseRationalQuadraticAutoregressive(
            2, 64, num_bins=8, tails="linear", tail_bound=5.0, num_blocks=1, use_residual_blocks=False
        )
        layers += [layer, normflows.flows.Permute(2, mode="swap")]
    flow = normflows.NormalizingFlow(normflows.distributions.base.DiagGaussian(2, trainable=False), layers)
    return flow, flow.forward_kld


CASES = {
    "RealNVP, 8 couplings, 2x64": (ours_realnvp, nflows_realnvp, zuko_realnvp, normflows_realnvp),
    "autoregressive spline flow, 6 layers, 8 bins, 2x64": (ours_spline, nflows_spline, zuko_spline, normflows_spline),
}


def trainer(model: nn.Module, loss: Loss) -> Callable[[Tensor], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0, fused=True)

    def step(x: Tensor) -> None:
        optimizer.zero_grad()
        loss(x).backward()
        optimizer.step()

    return step


def milliseconds(step: Callable[[Tensor], None], batches: list[Tensor]) -> float:
    start = time.process_time()
    for x in batches:
        step(x)
    return 1e3 * (time.process_time() - start) / len(batches)


def bench(name: str, makers: tuple, batch: int, rounds: int, steps: int) -> float:
    """Print each median and our ratio to it; return ours over the fastest peer."""
    torch.manual_seed(0)
    batches = [moons(0.1).sample(batch) for _ in range(steps)]
    models, steppers = {}, {}
    for maker in makers:
        library = maker.__name__.split("_")[0]
        try:
            model, loss = maker()
        except ImportError:
            print(f"  {library} is not installed")
            continue
        models[library], steppers[library] = model, trainer(model, loss)
        milliseconds(steppers[library], batches)  # warm up
    times: dict[str, list[float]] = {library: [] for library in steppers}
    order = list(steppers)
    for r in range(rounds):
        for library in order[r % len(order) :] + order[: r % len(order)]:
            times[library].append(milliseconds(steppers[library], batches))
    print(f"{name}, batch {batch}, {rounds} rounds of {steps} steps, {torch.get_num_threads()} thread(s)")
    ratios = {}
    for library, theirs in times.items():
        ratios[library] = statistics.median(a / b for a, b in zip(times["ours"], theirs, strict=True))
        size = sum(p.numel() for p in models[library].parameters())
        median = statistics.median(theirs)
        print(f"  {library:10s} {median:7.2f} ms   ours / it = {ratios[library]:.2f}   {size} parameters")
    worst = max((r for library, r in ratios.items() if library != "ours"), default=float("nan"))
    print(f"  ours / fastest peer = {worst:.2f}")
    return worst


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    for case, makers in CASES.items():
        bench(case, makers, options.batch, options.rounds, options.steps)
