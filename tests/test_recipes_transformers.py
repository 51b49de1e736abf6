"""Recipes of ViT and DiT: what is done to the pictures, and that a run of each goes."""

import pytest
import torch
from pictures import write_sets
from safetensors.torch import save_file

from flowlib.datasets import cifar10, digits, from_noise
from flowlib.datasets.sources import VARIABLE
from flowlib.errors import InputError
from flowlib.evaluation import accuracy
from flowlib.models import DiT
from flowlib.recipes import dit_cifar10, dit_digits, dit_imagenet256_xl2, judge_digits, vit_cifar10, vit_digits
from flowlib.recipes.dit_cifar10 import evaluate
from flowlib.recipes.dit_digits import draw_guided, variety
from flowlib.recipes.dit_imagenet256_xl2 import latents
from flowlib.recipes.judges import judges_of
from flowlib.recipes.vit_cifar10 import mixed, shifted
from flowlib.recipes.vit_digits import bent


def test_shifted_pictures_are_rolled_ones_with_a_black_border(generator):
    x = torch.randn(40, 2, 6, 9, generator=generator)
    y, moves = shifted(x, 2, generator), set()
    padded = torch.nn.functional.pad(x, (2,) * 4, value=-1)
    for b in range(len(x)):
        found = [(i, j) for i in range(5) for j in range(5) if torch.equal(padded[b, :, i : i + 6, j : j + 9], y[b])]
        assert len(found) == 1
        moves.update(found)
    assert len(moves) > 15  # of 25, in 40 draws


def test_bent_pictures_are_turned_stretched_and_moved_by_no_more_than_is_said(generator):
    """The centre of a blob says where it went, its second moments how it was turned and stretched."""
    side = 41
    grid = (torch.arange(side) - side // 2) / (side / 2)
    down, across = torch.meshgrid(grid, grid, indexing="ij")
    ink = (-(across**2) / 0.08 - down**2 / 0.02).exp()  # a lying ellipse
    x = (2 * ink - 1).expand(300, 1, side, side)
    assert torch.allclose(bent(x, generator, turn=0, stretch=0, move=0), x, atol=1e-5)

    def moments(y):
        weight = (y[:, 0] + 1) / (y[:, 0] + 1).sum((1, 2), keepdim=True)
        at = [(weight * places).sum((1, 2)) for places in (across, down)]
        (a, b), off = ((weight * p**2).sum((1, 2)) for p in (across, down)), (weight * across * down).sum((1, 2))
        return at, a, b, off

    (right, under), *_ = moments(bent(x, generator, turn=0, stretch=0, move=0.125))
    for moved in (right, under):
        assert 0.12 < float(moved.max()) < 0.1255
        assert -0.1255 < float(moved.min()) < -0.12
    assert abs(float((right * under).mean())) < 0.002  # each axis for itself
    (right, under), a, b, off = moments(bent(x, generator, turn=0.15, stretch=0, move=0))
    angle = 0.5 * torch.atan2(2 * off, a - b)
    assert 0.14 < float(angle.max()) < 0.152
    assert -0.152 < float(angle.min()) < -0.14
    assert float(torch.stack([right, under]).abs().max()) < 1e-3
    _, a, b, _ = moments(bent(x, generator, turn=0, stretch=0.1, move=0))
    for variance, at_rest in ((a, 0.04), (b, 0.01)):
        scale = (variance / at_rest).sqrt()  # 1 / (1 + u / 10), and interpolation widens by a percent or two
        assert 0.9 < float(scale.min()) < 0.94
        assert 1.09 < float(scale.max()) < 1.15


def test_mixed_pictures_carry_the_classes_of_their_pixels(generator):
    """Pictures of one number each, so that the share of a class can be read from the picture."""
    c = torch.arange(200) % 5
    x = c.float()[:, None, None, None].expand(200, 3, 8, 10)
    y, weights = mixed(x, c, 5, generator)
    for k in range(5):
        torch.testing.assert_close((y == k).float().mean((1, 2, 3)), weights[:, k])
    kept = weights[torch.arange(200), c]
    assert 0.5 < float(kept.mean()) < 0.9
    assert float(kept.min()) < 0.3


def test_variety_is_the_distance_within_a_class():
    x, c = torch.tensor([0.0, 0.0, 3.0, 10.0, 7.0])[:, None], torch.tensor([0, 1, 0, 1, 0])
    assert float(variety(x, c)) == pytest.approx((3 + 10) / 2)


def test_guidance_acts_on_every_channel(generator):
    """Guided velocity minus the unconditional one is w times the difference, channel by channel."""
    from flowlib.sampling import guide

    v = DiT(3, 4, patch=2, width=16, depth=1, heads=2).eval()
    for parameter in v.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    x, t, c = torch.randn(5, 3, 4, 6, generator=generator), torch.rand(5, generator=generator), torch.arange(5) % 4
    v_c, v_u = v(x, t, c), v(x, t, torch.full_like(c, 4))
    assert bool(((v_c - v_u).abs().amax((0, 2, 3)) > 1e-2).all())
    torch.testing.assert_close(guide(v, 3.0, null=4)(x, t, c), v_u + 3 * (v_c - v_u))
    assert torch.equal(guide(v, 1.0, null=4)(x, t, c), v_c)


@pytest.mark.parametrize("scale", ["laptop", "full"])
@pytest.mark.parametrize("recipe", [vit_digits, dit_digits, vit_cifar10, dit_cifar10])
def test_both_scales_build_and_the_full_one_fits_with_the_book(recipe, scale):
    with torch.device("meta"):
        model = recipe(scale).model()
    megabytes = 4e-6 * sum(p.numel() for p in model.parameters())
    assert megabytes < {"vit_digits": 3, "dit_digits": 3, "dit_cifar10": 15, "vit_cifar10": 60}[recipe.__name__]


@pytest.mark.parametrize("recipe", [vit_digits, dit_digits])
def test_a_short_run_learns(recipe):
    run = recipe("laptop").changed(steps=25, warmup=0).start()
    losses = [step.loss for step in run.steps]
    assert sum(losses[-3:]) < 0.97 * sum(losses[:3])


def test_dit_digits_draws_what_it_is_asked_for(generator):
    model = dit_digits("laptop").build()
    x = draw_guided(model, digits("test").c[:3], generator, w=2.0, steps=2)
    again = draw_guided(model, digits("test").c[:3], torch.Generator().manual_seed(0), w=2.0, steps=2)
    assert torch.equal(x, again)
    assert x.shape == (3, 1, 8, 8)


def test_the_shipped_dit_is_read_and_guidance_trades_variety_for_it():
    """360 digits in 8 Heun steps are recognised; guidance raises that, and narrows the classes."""
    net, judge, c = dit_digits().load(), judge_digits().load(), digits("test").c
    drawn = {w: draw_guided(net, c, torch.Generator().manual_seed(0), w=w) for w in (0.5, 1.0, 2.0)}
    read = {w: float(accuracy(judge, x, c)) for w, x in drawn.items()}
    apart = {w: float(variety(x, c)) for w, x in drawn.items()}
    assert read[1.0] >= 0.985
    assert read[2.0] >= max(0.99, read[1.0])
    assert read[1.0] > read[0.5] + 0.1
    assert apart[2.0] < apart[1.0] < apart[0.5]


def test_photographs_are_read_by_the_judges_at_hand_in_the_order_they_were_drawn(tmp_path, monkeypatch):
    write_sets(tmp_path, monkeypatch)
    x, c = torch.randn(300, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(300) % 10
    parts = iter(x.split(250))
    model = dit_cifar10().build().eval()
    found = evaluate(model, draw=lambda *_: next(parts), held_out=lambda n, _: cifar10("test"), n=300)
    for judge in judges_of("cifar10"):
        assert found[f"recognised by {judge.name} (25 Heun steps, w=2)"] == accuracy(judge.model, x, c)
    assert len(found) == 1 + len(judges_of("cifar10"))
    data = from_noise(cifar10("test"), len(cifar10("test").x), torch.Generator().manual_seed(1))
    x_0, x_1, _ = next(data)
    assert float(found["held-out loss"]) == pytest.approx(float((x_1 - x_0).square().mean()), rel=0.05)  # v = 0 so far


def test_the_imagenet_run_says_when_its_latents_are_random(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    recipe = dit_imagenet256_xl2("laptop")
    assert recipe.data == "random latents: for speed alone"
    assert [step.n for step in recipe.changed(steps=1, batch_size=2).start().steps] == [1]
    folder = tmp_path / "imagenet256_latents"
    folder.mkdir()
    x, c = torch.randn(9, 4, 32, 32), torch.arange(9)
    save_file({"x": x, "c": c}, folder / "train.safetensors")
    assert dit_imagenet256_xl2("full").data == "latents of ImageNet at 256 x 256"
    assert torch.equal(latents().x, x)
    save_file({"x": x}, folder / "train.safetensors")
    with pytest.raises(InputError, match=r"latents: expected x \(N, 4, 32, 32\) and c \(N,\)"):
        latents()
