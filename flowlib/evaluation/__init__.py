"""Numbers that judge a model, each with its standard error."""

from flowlib.evaluation.captions import caption_accuracy, holds, read_scene
from flowlib.evaluation.distances import mmd, path_energy, sampling_floor, sliced_wasserstein, wasserstein
from flowlib.evaluation.features import features, fidelity, inception
from flowlib.evaluation.frechet import frechet_distance, kernel_distance, precision_recall
from flowlib.evaluation.judges import accuracy, nearest_distance, two_sample_accuracy
from flowlib.evaluation.likelihood import bits_per_dim, nats
from flowlib.evaluation.reconstruction import psnr

__all__ = [
    "accuracy",
    "bits_per_dim",
    "caption_accuracy",
    "features",
    "fidelity",
    "frechet_distance",
    "holds",
    "inception",
    "kernel_distance",
    "mmd",
    "nats",
    "nearest_distance",
    "path_energy",
    "precision_recall",
    "psnr",
    "read_scene",
    "sampling_floor",
    "sliced_wasserstein",
    "two_sample_accuracy",
    "wasserstein",
]
