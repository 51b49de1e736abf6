"""Transformers, forward and backward, with the same weights: transformers' ViT, diffusers' DiT, SD3 and Flux."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from compare import Pair, Side, close
from torch import Tensor, nn
from vit_weights import as_transformers

from flowlib.models import DiT, Flux, MMDiT, Text, ViT
from flowlib.pretrained import dit as released_dit
from flowlib.pretrained import flux as released_flux
from flowlib.pretrained import sd3 as released_sd3

BATCH = 2  # with times that are whole thousandths, as diffusers counts them


def random_weights(module: nn.Module) -> nn.Module:
    """Away from the zeros of the start, where whole branches would be nothing."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.02, generator=generator)
    return module.eval()


def compared(
    name: str, ours: Callable[[], Tensor], peer: str, theirs: Callable[[], Tensor], aim: float = 1.05
) -> Iterator[Pair]:
    """Two lines: the forward pass, and forward and backward, whose aim may be a smaller one."""

    def trained(side: Callable[[], Tensor]) -> Side:
        return lambda: side().square().mean().backward()

    forward = torch.no_grad()
    yield Pair(f"{name}, forward", forward(ours), {peer: forward(theirs)}, agree=lambda: close(theirs(), ours(), 1e-5))
    yield Pair(f"{name}, forward and backward", trained(ours), {peer: trained(theirs)}, aim)


def vit() -> Iterator[Pair]:
    """ViT-S/4 on pictures of 32 x 32: 64 patches and the class token."""
    from transformers import ViTConfig, ViTModel

    ours = random_weights(ViT.of("S/4", channels=3, num_classes=10, size=32))
    config = ViTConfig(
        hidden_size=384,
        num_hidden_layers=12,
        num_attention_heads=6,
        intermediate_size=1536,
        image_size=32,
        patch_size=4,
        layer_norm_eps=1e-6,
        attn_implementation="sdpa",
    )
    theirs = ViTModel(config, add_pooling_layer=False).eval()
    theirs.load_state_dict(as_transformers(ours))
    x = torch.randn(BATCH, 3, 32, 32)
    yield from compared(
        "ViT-S/4, 65 tokens", lambda: ours.encode(x), "transformers", lambda: theirs(x).last_hidden_state
    )


class PaperBlock(nn.Module):
    """DiT's block as the paper's code has it, with timm's attention and perceptron."""

    def __init__(self, block: nn.Module, heads: int) -> None:
        super().__init__()
        self.modulation, self.qkv, self.out = block.modulation.linear, block.attention.qkv, block.attention.out
        self.up, self.down = block.mlp[0], block.mlp[2]
        self.norm, self.heads = nn.LayerNorm(self.up.in_features, elementwise_affine=False, eps=1e-6), heads

    def attention(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        return self.out(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d))

    def forward(self, x: Tensor, e: Tensor, context: Tensor | None = None) -> Tensor:
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = self.modulation(nn.functional.silu(e)).chunk(6, dim=1)
        modulated = self.norm(x) * (1 + scale_1.unsqueeze(1)) + shift_1.unsqueeze(1)
        x = x + gate_1.unsqueeze(1) * self.attention(modulated)
        modulated = self.norm(x) * (1 + scale_2.unsqueeze(1)) + shift_2.unsqueeze(1)
        return x + gate_2.unsqueeze(1) * self.down(nn.functional.gelu(self.up(modulated), approximate="tanh"))


def dit() -> Iterator[Pair]:
    """DiT-S/2 on latents of 4 x 32 x 32, 256 tokens."""
    from diffusers import DiTTransformer2DModel
    from diffusers.models.embeddings import get_2d_sincos_pos_embed

    ours = random_weights(DiT.of("S/2"))
    theirs = DiTTransformer2DModel(num_attention_heads=6, attention_head_dim=64, num_layers=12, norm_eps=1e-6).eval()
    theirs.load_state_dict(released_dit.to_diffusers(ours.state_dict(), patch=2))
    theirs.pos_embed.pos_embed = get_2d_sincos_pos_embed(384, 16, base_size=16)[None].float()  # the released one's
    for block in theirs.transformer_blocks:
        block.norm1.emb.time_proj.downscale_freq_shift = 0  # diffusers counts 127 intervals, the paper's code 128
    paper = DiT.of("S/2").eval()
    paper.load_state_dict(ours.state_dict())
    paper.blocks = nn.ModuleList(PaperBlock(block, 6) for block in paper.blocks)
    x, t, c = torch.randn(BATCH, 4, 32, 32), torch.tensor([0.25, 0.75]), torch.arange(BATCH)
    size = "DiT-S/2, 256 tokens"
    yield from compared(size, lambda: ours(x, t, c), "diffusers", lambda: theirs(x, 1000 * t, c).sample, 0.95)
    yield from compared(size, lambda: ours(x, t, c), "the paper's block", lambda: paper(x, t, c))


def text(words: int, pooled: int) -> Text:
    """A text of 32 tokens."""
    return Text(torch.randn(BATCH, 32, words), torch.randn(BATCH, pooled), None)


def mmdit() -> Iterator[Pair]:
    """MM-DiT of depth 6, 384 wide, on latents of 16 x 32 x 32: 256 tokens of the picture and 32 of the text."""
    from diffusers import SD3Transformer2DModel

    words, pooled = 256, 128
    ours = random_weights(MMDiT(16, words, pooled, depth=6, qk_norm=True, grid=32, base=16))
    theirs = SD3Transformer2DModel(
        sample_size=32,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=6,
        attention_head_dim=64,
        num_attention_heads=6,
        joint_attention_dim=words,
        caption_projection_dim=384,
        pooled_projection_dim=pooled,
        pos_embed_max_size=32,
        qk_norm="rms_norm",
    ).eval()
    theirs.load_state_dict(released_sd3.to_diffusers(ours.state_dict(), patch=2), strict=False)
    x, t, c = torch.randn(BATCH, 16, 32, 32), torch.tensor([0.25, 0.75]), text(words, pooled)

    def diffusers() -> Tensor:
        return theirs(x, c.tokens, c.pooled, 1000 * t, return_dict=False)[0]

    yield from compared("MM-DiT, depth 6, 256 + 32 tokens", lambda: ours(x, t, c), "diffusers", diffusers, 0.95)


def flux() -> Iterator[Pair]:
    """Two double and four single blocks, 384 wide, 256 tokens of the picture and 32 of the text."""
    from diffusers import FluxTransformer2DModel

    words, pooled, axes = 256, 128, (16, 24, 24)
    ours = random_weights(Flux(16, words, pooled, width=384, heads=6, double=2, single=4, axes=axes))
    theirs = FluxTransformer2DModel(
        patch_size=1,
        in_channels=64,
        num_layers=2,
        num_single_layers=4,
        attention_head_dim=64,
        num_attention_heads=6,
        joint_attention_dim=words,
        pooled_projection_dim=pooled,
        axes_dims_rope=axes,
    ).eval()
    theirs.load_state_dict(released_flux.to_diffusers(ours.state_dict(), patch=2))
    x, t, c = torch.randn(BATCH, 16, 32, 32), torch.tensor([0.25, 0.75]), text(words, pooled)
    packed = x.reshape(BATCH, 16, 16, 2, 16, 2).permute(0, 2, 4, 1, 3, 5).reshape(BATCH, 256, 64)
    places = torch.cartesian_prod(torch.arange(16.0), torch.arange(16.0))
    ids = torch.cat([torch.zeros(256, 1), places], 1)

    def diffusers() -> Tensor:
        tokens = theirs(packed, c.tokens, c.pooled, t, ids, torch.zeros(32, 3), return_dict=False)[0]
        return tokens.reshape(BATCH, 16, 16, 16, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(x.shape)

    yield from compared("Flux, 2 + 4 blocks, 256 + 32 tokens", lambda: ours(x, t, c), "diffusers", diffusers, 0.95)


def pairs() -> Iterator[Pair]:
    """Four models, two lines for each peer."""
    for model in (vit, dit, mmdit, flux):
        torch.manual_seed(0)
        yield from model()
