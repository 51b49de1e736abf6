"""What a DiT costs on a CPU: forward and backward of DiT-S/2 on latents of 4 x 32 x 32, against two peers, in turn.

The peers hold the same weights: diffusers' ``DiTTransformer2DModel``, and the paper's own block written out as its code
has it, with timm's attention and perceptron. One thread, batch 4; rounds alternate, each starting with another model;
what counts is the median over rounds of the peer's time over ours, in seconds of the processor. The aim: at least 1.
"""

import statistics
import time

import torch
from diffusers import DiTTransformer2DModel
from torch import nn

from flowlib.models import DiT
from flowlib.pretrained.dit import to_diffusers

BATCH, ROUNDS, HEADS, WIDTH = 4, 7, 6, 384


class PaperBlock(nn.Module):
    """DiT's block as the paper's code has it."""

    def __init__(self, block):
        super().__init__()
        self.modulation, self.qkv, self.out = block.modulation.linear, block.attention.qkv, block.attention.out
        self.up, self.down = block.mlp[0], block.mlp[2]
        self.norm = nn.LayerNorm(WIDTH, elementwise_affine=False, eps=1e-6)

    def attention(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, HEADS, d // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        return self.out(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d))

    def mlp(self, x):
        return self.down(nn.functional.gelu(self.up(x), approximate="tanh"))

    def forward(self, x, e, context=None):
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = self.modulation(nn.functional.silu(e)).chunk(6, dim=1)
        modulated = self.norm(x) * (1 + scale_1.unsqueeze(1)) + shift_1.unsqueeze(1)
        x = x + gate_1.unsqueeze(1) * self.attention(modulated)
        modulated = self.norm(x) * (1 + scale_2.unsqueeze(1)) + shift_2.unsqueeze(1)
        return x + gate_2.unsqueeze(1) * self.mlp(modulated)


def models():
    """Ours, diffusers' and the paper's: functions of (x, t, c), with the same weights."""
    torch.manual_seed(0)
    ours = DiT.of("S/2").eval()
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.02)
    theirs = DiTTransformer2DModel(
        num_attention_heads=HEADS, attention_head_dim=64, num_layers=12, norm_eps=1e-6
    ).eval()
    theirs.eval().load_state_dict(to_diffusers(ours.state_dict(), patch=2))
    paper = DiT.of("S/2").eval()
    paper.load_state_dict(ours.state_dict())
    paper.blocks = nn.ModuleList(PaperBlock(block) for block in paper.blocks)
    return {"flowlib": ours, "diffusers": lambda x, t, c: theirs(x, 1000 * t, c).sample, "the paper's block": paper}


def seconds(model, x, t, c):
    start = time.process_time()
    model(x, t, c).square().mean().backward()
    return time.process_time() - start


def main():
    torch.set_num_threads(1)
    batch = torch.randn(BATCH, 4, 32, 32), torch.rand(BATCH), torch.arange(BATCH)
    all_models = models()
    out = {name: model(*batch) for name, model in all_models.items()}
    torch.testing.assert_close(out["the paper's block"], out["flowlib"], rtol=1e-4, atol=1e-5)
    for model in all_models.values():  # warm up
        seconds(model, *batch)
    names, times = list(all_models), []
    for number in range(ROUNDS):
        turn = names[number % len(names) :] + names[: number % len(names)]
        times.append({name: seconds(all_models[name], *batch) for name in turn})
    for name in names:
        ratios = sorted(row[name] / row["flowlib"] for row in times)
        line = f"{name:18s} {1e3 * statistics.median(row[name] for row in times):6.0f} ms"
        if name != "flowlib":
            line += f", {statistics.median(ratios):.2f} times ours ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(line)


if __name__ == "__main__":
    main()
