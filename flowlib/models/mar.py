"""MAR: a transformer that draws a picture patch by patch, in any order, with a flow for every patch.

What it changes from DiT:

- each patch is there twice: as *content*, which others read, and as a *query*, which knows its place and asks what
  belongs there;
- a mask says who reads whom. It is the order in which the patches are drawn, and nothing else in the network knows it;
- the velocity is not that of the picture but of one patch, from a small head that is told what the query has found.

Source: Li et al. 2024 (MAR) for the head and the sets of patches; Yang et al. 2019 (XLNet) for contents and queries.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from flowlib.errors import InputError
from flowlib.layers import AdaLN, LabelEmbedding, LearnedPositions, layer_norm, mlp, patch_grid, start_xavier
from flowlib.models.dit import start_at_rest
from flowlib.models.vit import ViTBlock
from flowlib.shapes import PerSample
from flowlib.tensors import check_time


class FlowHead(nn.Module):
    """Velocity ``v(x, t, z)`` of one token x, told what the transformer found, z: DiT without attention.

    The time enters as a number, not as waves of 1000 t, so that the field is smooth in it and quick to solve.

    Args:
        dim: D, numbers in a token.
        context: size of z.
        width: of the hidden layers.
        depth: number of blocks, each ``x + gate * mlp((1 + scale) * norm(x) + shift)``.

    Raises:
        InputError: tokens or contexts of another size, times outside [0, 1].

    Source: Li et al. 2024 (MAR), section 4.1, where the head predicts noise. Chapter 17.
    """

    def __init__(self, dim: int, context: int, *, width: int = 64, depth: int = 3) -> None:
        super().__init__()
        self.dim, self.context = dim, context
        self.embed = nn.Linear(dim, width)
        self.embed_time = mlp([1, width, width])
        self.embed_context = nn.Linear(context, width)
        self.norm = layer_norm(width)
        self.modulations = AdaLN(width, depth)
        self.blocks = nn.ModuleList(mlp([width, width, width]) for _ in range(depth))
        self.last = AdaLN(width, 1, gate=False)
        self.head = nn.Linear(width, dim)
        start_at_rest(self, self.head, ())

    def forward(self, x: Float[Tensor, "B D"], t: PerSample, z: Float[Tensor, "B C"]) -> Float[Tensor, "B D"]:
        """Velocity at tokens x, (B, D), times t, (B,), and contexts z, (B, C)."""
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise InputError("x", expected=f"tokens of shape (B, {self.dim})", got=f"shape {tuple(x.shape)}")
        if z.shape != (len(x), self.context):
            raise InputError("z", expected=f"contexts of shape {(len(x), self.context)}", got=f"shape {tuple(z.shape)}")
        check_time(t, x)
        e = self.embed_time(t[:, None]) + self.embed_context(z)
        y = (self.embed(x) + e)[:, None]  # one token a sample; without e its norm would hide how large x is
        for block, branch in zip(self.blocks, self.modulations(e), strict=True):
            y = y + branch.out(block(branch.into(self.norm(y))))
        (last,) = self.last(e)
        return self.head(last.into(self.norm(y)))[:, 0]


class MAR(nn.Module):
    """Contexts ``z = context(tokens, rounds, c)`` of the patches of a picture, and a velocity ``head(x, t, z)`` of one.

    ``rounds`` gives for each patch the round in which it is drawn. The context of patch i depends on the patches of
    earlier rounds, on its own place and on the class: not on itself, nor on any patch of its own round or a later one.
    ``arange(N)`` is the raster order, ``randperm(N)`` a random one, ``arange(N) // 4`` draws four at once.

    Args:
        channels: C of the pictures.
        num_classes: number of classes of c; 0 for a model without condition.
        size: height and width of the pictures, or one number for both.
        patch: side of a patch in pixels.
        width: features of a token.
        depth: number of blocks.
        heads: of each attention.
        head_depth: number of blocks of the flow head, which is as wide as the transformer.

    Raises:
        InputError: tokens that are no patches of such a picture, rounds of another shape, labels that are missing or
            out of range, a patch that does not divide the picture, heads that do not divide the width.

    Source: Li et al. 2024 (MAR), section 3; Yang et al. 2019 (XLNet), section 2.3, for the two streams. Chapter 17.
    """

    def __init__(
        self,
        channels: int = 1,
        num_classes: int = 10,
        *,
        size: int | tuple[int, int] = 8,
        patch: int = 2,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
        head_depth: int = 3,
    ) -> None:
        super().__init__()
        height, breadth = (size, size) if isinstance(size, int) else size
        self.patch, dim = patch, channels * patch**2
        h, w = patch_grid(torch.empty(0, channels, height, breadth, device="meta"), patch)
        self.shape = (h * w, dim)
        self.embed_patch = nn.Linear(dim, width)
        self.query = nn.Parameter(0.02 * torch.randn(width))
        self.positions = LearnedPositions(h * w, width)
        self.embed_class = LabelEmbedding(num_classes, width, dropout=0.0) if num_classes else None
        self.blocks = nn.ModuleList(ViTBlock(width, heads) for _ in range(depth))
        self.norm = layer_norm(width, affine=True)
        self.apply(start_xavier)
        self.head = FlowHead(dim, width, width=width, depth=head_depth)

    def context(
        self, tokens: Float[Tensor, "B N D"], rounds: Int[Tensor, "*B N"], c: Tensor | None = None
    ) -> Float[Tensor, "B N C"]:
        """What each patch can know before it is drawn, (B, N, width).

        Args:
            tokens: patches of the pictures, (B, N, D); what stands at a place that is not yet drawn does not matter.
            rounds: when each patch is drawn, (N,) for all pictures or (B, N).
            c: classes, (B,).
        """
        self._check(tokens, rounds, c)
        content = self.positions(self.embed_patch(tokens))
        query = self.positions(self.query.expand_as(content))
        x = torch.cat([content, query], 1)
        if self.embed_class is not None:
            x = x + self.embed_class(c)[:, None]
        bias = order_bias(rounds, x)
        for block in self.blocks:
            x = block(x, bias)
        return self.norm(x[:, tokens.shape[1] :])

    def _check(self, tokens: Tensor, rounds: Tensor, c: Tensor | None) -> None:
        if tuple(tokens.shape[1:]) != self.shape:
            raise InputError(
                "tokens",
                expected="shape (B, {}, {})".format(*self.shape),
                got=f"shape {tuple(tokens.shape)}",
                cure="patchify(x, model.patch) cuts pictures of the size that the model was built for",
            )
        n = self.shape[0]
        if rounds.shape not in ((n,), (len(tokens), n)):
            raise InputError("rounds", expected=f"shape ({n},) or {(len(tokens), n)}", got=f"{tuple(rounds.shape)}")
        if self.embed_class is not None:
            self.embed_class.check(c, len(tokens))
        elif c is not None:
            raise InputError("c", expected="None, this model has no classes", got=f"shape {tuple(c.shape)}")


def order_bias(rounds: Int[Tensor, "*B N"], like: Tensor) -> Float[Tensor, "*B 1 M M"]:
    """The order as a bias of attention over N contents and then N queries: 0 where row reads column, -inf elsewhere.

    A content reads the contents of its own round and of earlier ones; a query reads those of earlier ones, and itself.

    Args:
        rounds: when each token is drawn, (N,) or (B, N).
        like: a tensor of the dtype and on the device of the scores.
    """
    rounds = rounds.to(like.device)
    mine, theirs = rounds[..., :, None], rounds[..., None, :]
    itself = torch.eye(rounds.shape[-1], dtype=torch.bool, device=rounds.device).expand_as(mine < theirs)
    contents = torch.cat([theirs <= mine, torch.zeros_like(itself)], -1)
    queries = torch.cat([theirs < mine, itself], -1)
    reads = torch.cat([contents, queries], -2)[..., None, :, :]
    return torch.zeros_like(reads, dtype=like.dtype).masked_fill(~reads, -torch.inf)
