"""Weights of our ViT for transformers: the tests compare its numbers, the benchmarks its speed."""

from torch import Tensor

from flowlib.models import ViT


def as_transformers(ours: ViT) -> dict[str, Tensor]:
    """Our weights under the names of transformers' ViTModel."""
    patch, width = ours.patch, len(ours.class_token)
    convolution = ours.embed_patch.weight.reshape(width, patch, patch, -1).permute(0, 3, 1, 2)  # d (p q c) -> d c p q
    state = {
        "embeddings.cls_token": ours.class_token[None, None],
        "embeddings.position_embeddings": ours.positions.table[None],
        "embeddings.patch_embeddings.projection.weight": convolution,
        "embeddings.patch_embeddings.projection.bias": ours.embed_patch.bias,
    }
    names = {"norm_1": "layernorm_before", "norm_2": "layernorm_after", "mlp.0": "mlp.fc1", "mlp.2": "mlp.fc2"}
    names["attention.out"] = "attention.o_proj"
    for i, block in enumerate(ours.blocks):
        for key, value in block.state_dict().items():
            layer, kind = key.rsplit(".", 1)
            if layer == "attention.qkv":
                for letter, part in zip("qkv", value.chunk(3), strict=True):
                    state[f"layers.{i}.attention.{letter}_proj.{kind}"] = part
            else:
                state[f"layers.{i}.{names[layer]}.{kind}"] = value
    return state | {f"layernorm.{kind}": value for kind, value in ours.norm.state_dict().items()}
