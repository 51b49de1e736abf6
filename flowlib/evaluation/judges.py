"""Judges of generated pictures: are they recognised, told from real ones, or copied?"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from flowlib.errors import InputError
from flowlib.estimates import Estimate
from flowlib.shapes import Batch, Labels, PerSample
from flowlib.tensors import check_finite


@torch.no_grad()
def accuracy(judge: nn.Module, x: Batch, c: Labels) -> Estimate:
    """Share of samples that the judge takes for the class they were drawn for, with its binomial standard error.

    Args:
        judge: a trained classifier, whose own accuracy on held-out data bounds what this can say.
        x: samples, (B, *event).
        c: the classes asked for, (B,).
    """
    if len(x) != len(c):
        raise InputError("c", expected=f"one class a sample, {len(x)}", got=len(c))
    right = (judge.eval()(x).argmax(1) == c).double().mean().item()
    return Estimate(right, math.sqrt(right * (1 - right) / len(x)))


def two_sample_accuracy(real: Batch, generated: Batch, *, folds: int = 5, gamma: float | str = "scale") -> Estimate:
    """Share of samples that a classifier puts on the right side, real or generated; 1/2 when the laws agree.

    A support vector machine with an RBF kernel (C = 1) is trained on all folds but one and scored on that one; the
    standard error comes from the spread over folds.

    Args:
        real: real samples, (N, *event).
        generated: as many generated ones, on the same grey levels: rounding alone would give them away.
        folds: of the cross-validation.
        gamma: width of the kernel, as in scikit-learn's ``SVC``.

    Source: Lopez-Paz and Oquab 2017, classifier two-sample tests.
    """
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.svm import SVC

    if real.shape != generated.shape:
        raise InputError("generated", expected=f"the shape of real, {tuple(real.shape)}", got=tuple(generated.shape))
    check_finite("generated", generated)
    x = torch.cat([real, generated]).flatten(1).numpy()
    y = [0] * len(real) + [1] * len(generated)
    shuffled = StratifiedKFold(folds, shuffle=True, random_state=0)
    return Estimate.of(cross_val_score(SVC(gamma=gamma), x, y, cv=shuffled).tolist())


def nearest_distance(x: Batch, reference: Float[Tensor, " N *event"]) -> PerSample:
    """Euclidean distance of each sample to its nearest neighbour in ``reference``, (B,): zero for a copy."""
    return torch.cdist(x.flatten(1), reference.flatten(1)).min(1).values
