"""What distances between sets of pictures are measured on, and the numbers that go together in a report."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from flowlib.errors import InputError
from flowlib.estimates import Estimate
from flowlib.evaluation.frechet import Features, frechet_distance, kernel_distance, precision_recall
from flowlib.shapes import Batch
from flowlib.tensors import to_float, to_uint8

Encoder = Callable[[Tensor], Tensor]  # pictures (B, C, H, W) in [-1, 1] to features (B, D)


@torch.no_grad()
def features(encode: Encoder, x: Batch, *, batch_size: int = 250) -> Features:
    """Features of pictures, (N, D), on the CPU, seen as they would be in a file: rounded to the nearest of 256 levels.

    Args:
        encode: such as ``classifier.features`` of one of our judges, in evaluation mode, or ``inception()``.
        x: pictures in [-1, 1], (N, C, H, W).
        batch_size: pictures seen at a time.
    """
    return torch.cat([encode(to_float(to_uint8(part))).flatten(1).float().cpu() for part in x.split(batch_size)])


def inception(device: str = "cpu") -> Encoder:
    """Features of the Inception network that published FID and KID are measured on, 2048 numbers a picture.

    torch-fidelity keeps the network as it was in TensorFlow, resizing included, and downloads its weights at first use.
    Grey pictures are seen as colour ones with three equal channels.

    Raises:
        InputError: the library is missing or does not load, its weights cannot be had.

    Source: Heusel et al. 2017; Obukhov et al. 2020 (torch-fidelity).
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except (ImportError, RuntimeError) as error:  # the latter: torchvision, which it imports, is of another torch
        raise InputError(
            "inception",
            expected="the library torch-fidelity",
            got=str(error),
            cure="pip install 'flowlib[fid]', with the torchvision of this torch; a judge of ours needs neither",
        ) from error
    try:
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]).to(device).eval()
    except OSError as error:
        raise InputError(
            "inception",
            expected="the weights that torch-fidelity downloads at first use",
            got=str(error),
            cure=f"look at the network, or copy them to {torch.hub.get_dir()}/checkpoints",
        ) from error

    def encode(x: Tensor) -> Tensor:
        colour = x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x
        return network(to_uint8(colour).to(device))[0]

    return encode


def fidelity(
    encode: Encoder,
    name: str,
    real: Float[Tensor, " N *event"],
    held_out: Float[Tensor, " M *event"],
    generated: Batch,
) -> dict[str, Estimate]:
    """Report how near generated pictures are to real ones, each number with its protocol in its name.

    The Frechet distance comes beside its floor, that of as many held-out pictures: it is not zero, and a model that
    scores below it copies, or the judge does not see what is wrong.

    Args:
        encode: of the judge.
        name: of the judge, for the report.
        real: pictures of the training set, the reference.
        held_out: pictures of the test set, as many as the generated ones or more.
        generated: pictures drawn from the model.
    """
    n, m = len(generated), len(real)
    if len(held_out) < n:
        raise InputError("held_out", expected=f"{n} pictures or more, as many as are generated", got=len(held_out))
    a, b, c = (features(encode, x) for x in (generated, real, held_out[:n]))
    blocks = max(1, n // 500)
    precision, recall = precision_recall(b[:n], a)
    return {
        f"Frechet distance ({name}, n={n} against {m})": frechet_distance(a, b),
        f"its floor ({name}, held out, n={n} against {m})": frechet_distance(c, b),
        f"kernel distance ({name}, {blocks} blocks of {n // blocks})": kernel_distance(a, b[:n], blocks=blocks),
        f"precision ({name}, k=3, n={n})": precision,
        f"recall ({name}, k=3, n={n})": recall,
    }
