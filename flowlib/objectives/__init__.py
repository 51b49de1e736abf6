"""Losses: short functions of a field and a batch."""

from flowlib.objectives.autoencoding import RateDistortion, autoencoding, rate_distortion
from flowlib.objectives.autoregression import token_matching
from flowlib.objectives.distillation import guidance_distillation
from flowlib.objectives.likelihood import dequantise, negative_log_likelihood, regularised_likelihood
from flowlib.objectives.matching import flow_matching, loss_at
from flowlib.objectives.one_step import consistency, mean_flow, shortcut
from flowlib.objectives.timesteps import (
    CosMap,
    LogitNormal,
    Mode,
    Shifted,
    Stratified,
    Timesteps,
    Uniform,
    UShaped,
    shift_time,
)
from flowlib.objectives.weights import SD3_WEIGHTS, error_ratio, min_snr, same_loss, truncated_snr, unified

__all__ = [
    "SD3_WEIGHTS",
    "CosMap",
    "LogitNormal",
    "Mode",
    "RateDistortion",
    "Shifted",
    "Stratified",
    "Timesteps",
    "UShaped",
    "Uniform",
    "autoencoding",
    "consistency",
    "dequantise",
    "error_ratio",
    "flow_matching",
    "guidance_distillation",
    "loss_at",
    "mean_flow",
    "min_snr",
    "negative_log_likelihood",
    "rate_distortion",
    "regularised_likelihood",
    "same_loss",
    "shift_time",
    "shortcut",
    "token_matching",
    "truncated_snr",
    "unified",
]
