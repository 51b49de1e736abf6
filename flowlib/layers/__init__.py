"""The leaves that models share."""

from flowlib.layers.attention import Attention, CrossAttention, attention_weights, fused_attention, plain_attention
from flowlib.layers.embeddings import LabelEmbedding, time_embedding
from flowlib.layers.joint import JointAttention
from flowlib.layers.masked import MADE, MaskedLinear
from flowlib.layers.mlp import ConditionedMLP, mlp, start_at_zero, start_xavier
from flowlib.layers.modulation import AdaLN, Affine, Modulation
from flowlib.layers.norms import layer_norm, rms_norm
from flowlib.layers.patch import patch_grid, patchify, unpatchify
from flowlib.layers.positions import (
    LearnedPositions,
    RelativeBias,
    grid_ids,
    rotary_angles,
    rotate,
    sinusoidal,
    sinusoidal_2d,
)

__all__ = [
    "MADE",
    "AdaLN",
    "Affine",
    "Attention",
    "ConditionedMLP",
    "CrossAttention",
    "JointAttention",
    "LabelEmbedding",
    "LearnedPositions",
    "MaskedLinear",
    "Modulation",
    "RelativeBias",
    "attention_weights",
    "fused_attention",
    "grid_ids",
    "layer_norm",
    "mlp",
    "patch_grid",
    "patchify",
    "plain_attention",
    "rms_norm",
    "rotary_angles",
    "rotate",
    "sinusoidal",
    "sinusoidal_2d",
    "start_at_zero",
    "start_xavier",
    "time_embedding",
    "unpatchify",
]
