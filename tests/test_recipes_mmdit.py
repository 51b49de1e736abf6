"""Recipes of MM-DiT: which emoji are held out, what the published size reads, and that a caption finds its picture."""

import pytest
import torch
from pictures import write_sets
from safetensors.torch import save_file

from flowlib.datasets import emoji, tokenize
from flowlib.datasets.sources import VARIABLE
from flowlib.errors import InputError
from flowlib.recipes import draw_captions, mmdit_2b, mmdit_shapes
from flowlib.recipes.mmdit_2b import encoded, told_latents
from flowlib.recipes.mmdit_emoji import told_emoji, words


def test_every_twentieth_emoji_is_held_out(tmp_path, monkeypatch):
    """By the number in their first pixel: no picture is in both parts, and each has its own name."""
    write_sets(tmp_path, monkeypatch)
    data, parts = emoji(), {}
    for held_out in (False, True):
        stream = told_emoji(4, torch.Generator().manual_seed(0), held_out=held_out)
        batches = [next(stream) for _ in range(20)]
        for _, x_1, c in batches:
            names = words().read(c)
            numbers = [int(name.split()[-1]) for name in names]
            assert torch.equal(x_1, data.x[numbers])
            parts.setdefault(held_out, set()).update(numbers)
    assert parts[True] == {19, 39}
    assert parts[False] == set(range(40)) - parts[True]


def test_the_published_size_reads_latents_or_makes_them_up(tmp_path, monkeypatch, unchecked):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert mmdit_2b().data == "random latents and captions: for speed alone"
    with torch.device("meta"):
        model = mmdit_2b("full").model()
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(2.028e9, rel=1e-3)
    assert encoded("laptop").tokens.shape == (16, 10, 32)
    state = {"x": torch.randn(5, 16, 32, 32), "tokens": torch.randn(5, 10, 32), "pooled": torch.randn(5, 16)}
    (tmp_path / "sd3_latents").mkdir()
    save_file(state, tmp_path / "sd3_latents" / "train.safetensors")
    assert mmdit_2b().data == "latents and encoded captions"
    _, x_1, tokens, pooled = next(told_latents(5, torch.Generator().manual_seed(0), scale="laptop"))
    for n in range(5):  # each latent keeps its own caption
        row = next(i for i in range(5) if torch.equal(x_1[n], state["x"][i]))
        assert torch.equal(tokens[n], state["tokens"][row])
        assert torch.equal(pooled[n], state["pooled"][row])
    save_file(state | {"pooled": torch.randn(4, 16)}, tmp_path / "sd3_latents" / "train.safetensors")
    with pytest.raises(InputError, match=r"latents: expected one each of shapes .* got .*'pooled': \(4, 16\)"):
        encoded("laptop")


def test_guidance_starts_from_the_empty_caption(generator):
    """At weight 0 every caption gives the picture of none."""
    model = mmdit_shapes().build().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    captions = ["a small red circle", "a large blue square above a small green circle"]

    def draw(captions, w):
        return draw_captions(model, captions, torch.Generator().manual_seed(0), w=w, steps=2)

    with torch.no_grad():
        assert torch.equal(draw(captions, 1.0), draw(captions, 1.0))
        torch.testing.assert_close(draw(captions, 0.0), draw(["", ""], 1.0), rtol=1e-4, atol=1e-4)
        assert float((draw(captions, 0.0) - draw(captions, 1.0)).abs().max()) > 1e-2
    assert not tokenize([""]).any()
