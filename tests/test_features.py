"""Features of judges, Inception behind its extra, and the report: what is compared with what, and how many of each."""

import sys
import types
from urllib.error import URLError

import pytest
import torch
from torch import nn

from flowlib.errors import InputError
from flowlib.evaluation import features, fidelity, frechet_distance, inception, kernel_distance, precision_recall
from flowlib.models import Classifier
from flowlib.tensors import to_float, to_uint8


def pictures(n, seed, shift=0.0):
    return (0.4 * torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) + shift).clamp(-1, 1)


def test_features_see_the_pictures_of_a_file(generator):
    """Rounded to 256 levels, whatever the size of the parts: what a network draws between two levels is not seen."""
    judge = Classifier().eval()
    x = pictures(50, 0)
    a = features(judge.features, x, batch_size=7)
    assert a.shape == (50, 128)
    assert not a.requires_grad
    torch.testing.assert_close(a, judge.features(to_float(to_uint8(x))).detach(), rtol=1e-4, atol=1e-5)
    levels = to_float(to_uint8(x))
    nudged = levels + 0.003 * (torch.rand(x.shape, generator=generator) * 2 - 1)  # half a level is 0.0039
    torch.testing.assert_close(features(judge.features, nudged), features(judge.features, levels), rtol=0, atol=0)


def test_the_report_says_what_was_compared():
    flat = nn.Flatten()
    real, held_out, generated = pictures(700, 0), pictures(400, 1), pictures(300, 2, shift=0.1)
    report = fidelity(flat, "pixels, EULER 3 steps", real, held_out, generated)
    a, b, c = (to_float(to_uint8(x)).flatten(1) for x in (generated, real, held_out[:300]))
    assert {name: estimate.value for name, estimate in report.items()} == {
        "Frechet distance (pixels, EULER 3 steps, n=300 against 700)": frechet_distance(a, b).value,
        "its floor (pixels, EULER 3 steps, held out, n=300 against 700)": frechet_distance(c, b).value,
        "kernel distance (pixels, EULER 3 steps, 1 blocks of 300)": kernel_distance(a, b[:300]).value,
        "precision (pixels, EULER 3 steps, k=3, n=300)": precision_recall(b[:300], a).precision.value,
        "recall (pixels, EULER 3 steps, k=3, n=300)": precision_recall(b[:300], a).recall.value,
    }
    distance, floor, *_ = report.values()
    assert floor.value < distance.value


def test_the_floor_needs_as_many_held_out_pictures(unchecked):
    with pytest.raises(InputError, match="held_out: expected 30 pictures or more, as many as are generated, got 20"):
        fidelity(nn.Flatten(), "pixels", pictures(40, 0), pictures(20, 1), pictures(30, 2))


@pytest.fixture
def fidelity_library(monkeypatch):
    """torch-fidelity, as far as it is used: an extractor that takes bytes of three channels and returns a tuple."""
    seen = []

    class Extractor(nn.Module):
        def __init__(self, name, layers):
            super().__init__()
            seen.append((name, layers))

        def forward(self, x):
            assert x.dtype == torch.uint8
            assert x.shape[1] == 3
            seen.append(x)
            return (x.float().mean((2, 3)),)

    package = types.ModuleType("torch_fidelity")
    module = types.ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = Extractor
    monkeypatch.setitem(sys.modules, "torch_fidelity", package)
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", module)
    return seen


@pytest.mark.parametrize("channels", [1, 3])
def test_inception_is_given_the_bytes_of_colour_pictures(channels, fidelity_library):
    x = to_float(torch.arange(256).to(torch.uint8)).reshape(4, 1, 8, 8).repeat(1, channels, 1, 1)
    encoded = features(inception(), x)
    (name, layers), given = fidelity_library
    assert (name, layers) == ("inception-v3-compat", ["2048"])
    assert torch.equal(given[:, 0].flatten(), torch.arange(256).to(torch.uint8))
    torch.testing.assert_close(encoded, given.float().mean((2, 3)))


def test_without_the_extra_inception_says_how_to_get_it(monkeypatch, unchecked):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(
        InputError, match=r"inception: expected the library torch-fidelity, got .* pip install 'flowlib"
    ):
        inception()


def test_a_torchvision_of_another_torch_is_told(fidelity_library, monkeypatch, unchecked):
    """It fails while it is imported, and not with an ImportError."""

    class Broken(types.ModuleType):
        def __getattr__(self, name):
            raise RuntimeError("operator torchvision::nms does not exist")

    name = "torch_fidelity.feature_extractor_inceptionv3"
    monkeypatch.setitem(sys.modules, name, Broken(name))
    with pytest.raises(InputError, match=r"got operator torchvision::nms .* with the torchvision of this torch"):
        inception()


def test_inception_without_a_network(fidelity_library, monkeypatch, unchecked):
    def fails(*arguments):
        raise URLError("no route to host")

    module = sys.modules["torch_fidelity.feature_extractor_inceptionv3"]
    monkeypatch.setattr(module, "FeatureExtractorInceptionV3", fails)
    with pytest.raises(InputError, match=r"inception: expected the weights .* got .*no route to host.*/checkpoints"):
        inception()
