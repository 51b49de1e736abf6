"""The loop, the average and the checkpoint: exact against a loop by hand, atomic, clear when things go wrong."""

import copy
import itertools
import math
from dataclasses import replace
from itertools import repeat

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from flowlib.datasets import between
from flowlib.densities import Gaussian, eight_gaussians
from flowlib.errors import InputError
from flowlib.layers import LabelEmbedding
from flowlib.models import MLP, TextToImage
from flowlib.objectives import flow_matching
from flowlib.training import (
    EMA,
    NonFiniteLoss,
    Plan,
    Run,
    adamw,
    in_precision,
    load_checkpoint,
    save_checkpoint,
    train,
    train_average,
)


def mse(model, x, y):
    return (model(x) - y).square().mean()


def line_and_batch():
    torch.manual_seed(0)
    x = torch.randn(32, 3)
    return nn.Linear(3, 1), (x, x.sum(1, keepdim=True) + 1)


def test_loop_equals_a_loop_by_hand():
    model, batch = line_and_batch()
    twin = copy.deepcopy(model)
    plan = Plan(steps=20, lr=0.05, warmup=5, lr_schedule="cosine", weight_decay=0.1, clip=0.5)
    steps = list(train(mse, model, repeat(batch), plan))
    optimizer = torch.optim.AdamW(twin.parameters(), lr=plan.lr, weight_decay=0.1)
    for n, step in enumerate(steps, start=1):
        optimizer.param_groups[0]["lr"] = plan.lr_at(n)
        loss = mse(twin, *batch)
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
        optimizer.step()
        assert step.n == n
        assert step.loss == pytest.approx(loss.item(), rel=1e-5)
        assert step.grad_norm == pytest.approx(norm.item(), rel=1e-4)
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("parts", [2, 8, 32])
def test_parts_of_a_batch_give_the_gradient_of_the_batch(parts, float64):
    """The mean over the parts of the mean over a part is the mean over the batch; so are the gradients."""
    model, batch = line_and_batch()
    twin = copy.deepcopy(model)
    whole = list(train(mse, model, repeat(batch), Plan(steps=5, batch_size=32, lr=0.05, clip=0.5)))
    split = list(train(mse, twin, repeat(batch), Plan(steps=5, batch_size=32, lr=0.05, clip=0.5, accumulate=parts)))
    for a, b in zip(whole, split, strict=True):
        assert (b.loss, b.grad_norm) == pytest.approx((a.loss, a.grad_norm), rel=1e-12)
    torch.testing.assert_close(twin.weight, model.weight, rtol=1e-10, atol=1e-12)


def test_a_batch_that_cannot_be_cut_evenly():
    model, batch = line_and_batch()
    with pytest.raises(InputError, match="accumulate: expected a divisor of the batch, 32 rows, got 3"):
        list(train(mse, model, repeat(batch), Plan(steps=1, batch_size=33, accumulate=3)))


def test_half_precision_is_of_the_products_only():
    """bfloat16 has 8 significant bits: the loss agrees to about 2^-8, and weights and averages stay float32."""
    model, (x, y) = line_and_batch()
    assert in_precision(mse, "float32") is mse
    seen = []

    def spy(model, x, y):
        prediction = model(x)
        seen.append((prediction.dtype, model.weight.dtype))
        return (prediction - y).square().mean()

    exact, rounded = mse(model, x, y).item(), in_precision(spy, "bfloat16")(model, x, y).item()
    assert seen == [(torch.bfloat16, torch.float32)]
    assert 0 < abs(rounded - exact) / exact < 2**-7
    list(train(in_precision(spy, "bfloat16"), model, repeat((x, y)), Plan(steps=2)))
    assert model.weight.dtype == torch.float32


def test_a_small_update_survives_float32_weights_and_not_bfloat16_ones():
    """Why the weights stay float32: 1 + 2^-9 is 1 in bfloat16."""
    assert torch.tensor(1.0, dtype=torch.bfloat16) + 2**-9 == 1
    assert torch.tensor(1.0) + 2**-9 > 1


def test_several_averages_are_those_of_runs_with_one_each():
    averages = {}
    for decays in ((0.5,), (0.9,), (0.5, 0.9)):
        model, batch = line_and_batch()
        emas = [EMA(model, decay) for decay in decays]
        list(train(mse, model, repeat(batch), Plan(steps=30, lr=0.1), ema=emas))
        averages[decays] = [ema.model.weight for ema in emas]
    assert torch.equal(averages[0.5, 0.9][0], averages[(0.5,)][0])
    assert torch.equal(averages[0.5, 0.9][1], averages[(0.9,)][0])
    assert not torch.equal(averages[(0.5,)][0], averages[(0.9,)][0])


def test_train_average_returns_the_average_and_not_the_last_weights():
    model, batch = line_and_batch()
    twin, plan = copy.deepcopy(model), Plan(steps=30, lr=0.1, ema=0.9)
    ema = EMA(twin, 0.9)
    list(train(mse, twin, repeat(batch), plan, ema=ema))
    average = train_average(mse, model, repeat(batch), plan)
    assert torch.equal(average.weight, ema.model.weight)
    assert torch.equal(model.weight, twin.weight)
    assert not torch.equal(average.weight, model.weight)
    assert not average.training


def test_a_loop_in_two_parts_is_one_loop():
    model, batch = line_and_batch()
    twin = copy.deepcopy(model)
    plan = Plan(steps=9, lr=0.05, warmup=3, lr_schedule="cosine")
    whole = [(s.n, s.loss, s.lr) for s in train(mse, model, repeat(batch), plan)]
    optimizer = adamw(twin, plan)
    first = itertools.islice(train(mse, twin, repeat(batch), plan, optimizer=optimizer), 4)
    parts = [(s.n, s.loss, s.lr) for s in first]
    parts += [(s.n, s.loss, s.lr) for s in train(mse, twin, repeat(batch), plan, optimizer=optimizer, done=4)]
    assert parts == whole


# ---------------------------------------------------------------- Muon


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 6), nn.Linear(6, 2)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Tanh(), nn.Linear(6, 6)) for _ in range(2))

    def forward(self, x):
        h = self.first(x)
        for block in self.blocks:
            h = h + block(h)
        return self.last(h)


def blocks_and_batch():
    torch.manual_seed(0)
    return Blocks(), (torch.randn(16, 3), torch.randn(16, 2))


def test_muon_moves_matrices_of_blocks_by_one_size_in_every_direction():
    """The first step is the gradient made orthogonal, times 0.2 sqrt(6) lr; all else moves as by AdamW."""
    model, batch = blocks_and_batch()
    start, twin = copy.deepcopy(model), copy.deepcopy(model)
    plan = Plan(steps=1, lr=0.01)
    list(train(mse, model, repeat(batch), replace(plan, optimizer="muon")))
    list(train(mse, twin, repeat(batch), plan))
    for (name, now), old, other in zip(model.named_parameters(), start.parameters(), twin.parameters(), strict=True):
        if name in ("blocks.0.1.weight", "blocks.1.1.weight"):
            (gradient,) = torch.autograd.grad(mse(start, *batch), old)
            step = (old - now).detach() / (0.01 * 0.2 * 6**0.5)
            u, sizes, v = torch.linalg.svd(gradient)
            assert sizes[0] > 30 * sizes[-1]  # the gradient has long and short directions
            moved = torch.linalg.svdvals(step)
            assert 0.5 < moved[0] < 1.4
            assert moved[0] / moved[-1] < (sizes[0] / sizes[-1]) / 4  # after five iterations, in bfloat16
            assert (u.T @ step @ v.T).diagonal()[:2].min() > 0.5  # down the gradient
        else:
            assert torch.equal(now, other), name


def test_a_run_by_muon_resumes_as_if_nothing_had_happened():
    plan = Plan(steps=8, lr=0.02, warmup=2, lr_schedule="cosine", optimizer="muon")
    runs = [Run(mse, blocks_and_batch()[0], lambda g: repeat(blocks_and_batch()[1]), plan) for _ in range(3)]
    whole = [step.loss for step in runs[0].steps]
    first = [step.loss for step in itertools.islice(runs[1].steps, 3)]
    runs[2].load_state(*runs[1].state())
    assert first + [step.loss for step in runs[2].steps] == whole


def test_muon_without_blocks_says_so():
    model, batch = line_and_batch()
    with pytest.raises(InputError, match="adamw, for a model without blocks"):
        next(train(mse, model, repeat(batch), Plan(steps=1, optimizer="muon")))


def test_compiled_kernels_change_rounding_only(monkeypatch):
    """The plumbing, through the compiler's tracer without its slow back end."""
    compile = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: compile(self, backend="eager"))
    losses = []
    for compiled in (False, True):
        model, batch = line_and_batch()
        run = Run(mse, model, lambda generator: repeat(batch), Plan(steps=3, lr=0.1), compiled=compiled)  # noqa: B023
        losses.append([step.loss for step in run.steps])
        assert list(run.state()[0]["model"]) == ["weight", "bias"]  # names as without the compiler
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize("what", ["class", "caption"])
def test_withheld_conditions_compile_for_batches_of_any_size(what, unchecked):
    """Through the compiler's tracer, which on a GPU meets the last, smaller batch of a judgement, too."""
    if what == "class":
        model, c = LabelEmbedding(10, 4, dropout=0.5), torch.arange(8)
    else:
        model, c = TextToImage(nn.Identity(), nn.Identity(), 0.5), torch.ones(8, 3, dtype=torch.long)
    drop = torch.compile(model.drop, backend="eager", dynamic=None)
    for n in (8, 4, 2):
        torch.manual_seed(0)
        expected = model.drop(c[:n])
        torch.manual_seed(0)
        assert torch.equal(drop(c[:n]), expected)


def test_lr_schedule():
    plan = Plan(steps=100, lr=1.0, warmup=10, lr_schedule="cosine")
    assert plan.lr_at(1) == pytest.approx(0.1)
    assert plan.lr_at(10) == 1.0
    assert plan.lr_at(55) == pytest.approx(0.5)
    assert plan.lr_at(100) == pytest.approx(0.0, abs=1e-12)
    assert Plan(steps=100, lr=2.0).lr_at(77) == 2.0


def test_same_seed_same_losses():
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        batches = between(Gaussian(torch.zeros(2)), eight_gaussians(), 64, generator=torch.Generator().manual_seed(3))
        losses.append([s.loss for s in train(flow_matching, MLP(2), batches, Plan(steps=5))])
    assert losses[0] == losses[1]


def test_model_is_in_training_mode_and_ends_in_evaluation_mode():
    model, batch = line_and_batch()
    assert [model.training for _ in train(mse, model, repeat(batch), Plan(steps=2))] == [True, True]
    assert not model.training


def test_ema_is_the_weighted_mean():
    """With decay b after the warm-up has ended, theta_ema <- b theta_ema + (1 - b) theta, by hand."""
    model = nn.Linear(1, 1)
    ema = EMA(model, 0.5)
    expected = model.weight.item()
    for k, value in enumerate((1.0, 2.0, -1.0)):
        nn.init.constant_(model.weight, value)
        b = min(0.5, (1 + k) / (10 + k))
        expected = b * expected + (1 - b) * value
        ema.update(model)
    assert ema.model.weight.item() == pytest.approx(expected)


def test_ema_copies_buffers_and_leaves_the_model_alone():
    model = nn.BatchNorm1d(2)
    ema = EMA(model, 0.999)
    model(torch.randn(8, 2))
    before = copy.deepcopy(model.state_dict())
    ema.update(model)
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, dict(ema.model.named_buffers())[name])
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_non_finite_loss_stops_before_the_weights_are_spoilt():
    model, (x, y) = line_and_batch()
    batches = [(x, y), (x, y), (x, torch.full_like(y, torch.nan)), (x, y)]
    with pytest.raises(NonFiniteLoss, match="loss is nan at step 3"):
        list(train(mse, model, batches, Plan(steps=4)))
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def test_batches_that_end_early():
    model, batch = line_and_batch()
    with pytest.raises(InputError, match="batches: expected 5 batches, one a step, got 2"):
        list(train(mse, model, [batch] * 2, Plan(steps=5)))


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"lr": -1.0},
        {"warmup": -1},
        {"lr_schedule": "linear"},
        {"clip": 0.0},
        {"ema": 1.0},
        {"more_ema": (0.9, 1.0)},
        {"accumulate": 0},
        {"accumulate": 7},
        {"precision": "float16"},
        {"lr": math.nan},
    ],
)
def test_bad_plan(change, unchecked):
    (name,) = change
    with pytest.raises(InputError, match=f"^{name}: expected"):
        Plan(**change)


def test_checkpoint_returns_what_was_saved(tmp_path):
    model, _ = line_and_batch()
    path = tmp_path / "new" / "line.safetensors"
    save_checkpoint(path, model, {"steps": "20"})
    other = nn.Linear(3, 1)
    assert load_checkpoint(path, other) == {"steps": "20"}
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert [p.name for p in path.parent.iterdir()] == ["line.safetensors"]


def test_half_a_checkpoint_is_rounded_and_widened_again(tmp_path):
    model = nn.BatchNorm1d(300)  # with a counter, which is no number to round
    nn.init.normal_(model.weight)
    whole, half, other = tmp_path / "whole.safetensors", tmp_path / "half.safetensors", nn.BatchNorm1d(300)
    save_checkpoint(whole, model)
    save_checkpoint(half, model, half=True)
    assert half.stat().st_size < 0.65 * whole.stat().st_size
    load_checkpoint(half, other)
    assert other.weight.dtype == torch.float32
    assert torch.equal(other.weight, model.weight.half().float())
    assert torch.equal(other.num_batches_tracked, model.num_batches_tracked)
    save_checkpoint(whole, other, half=True)
    assert load_checkpoint(whole, model) == {}
    assert torch.equal(model.weight, other.weight)


def test_a_failed_save_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    model, _ = line_and_batch()
    path = tmp_path / "line.safetensors"
    save_checkpoint(path, model)
    before = path.read_bytes()

    def no_space(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", no_space)
    nn.init.zeros_(model.weight)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(path, model)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_bad_checkpoints(tmp_path):
    model, _ = line_and_batch()
    path = tmp_path / "line.safetensors"
    save_checkpoint(path, model)
    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes(path.read_bytes()[:-5])
    foreign = tmp_path / "foreign.pt"
    torch.save(model.state_dict(), foreign)
    wider = tmp_path / "wider.safetensors"
    save_checkpoint(wider, nn.Linear(4, 1))
    odd = tmp_path / "odd.safetensors"
    save_file(model.state_dict(), odd, {"flowlib": "not JSON"})
    weights = model.weight.clone()
    for bad, message in (
        (odd, "path: expected JSON under 'flowlib' in its metadata"),
        (truncated, "path: expected a whole safetensors file"),
        (foreign, "path: expected a whole safetensors file"),
        (wider, "path: expected weights of this model, got .*differs in 1 tensors, first weight"),
        (tmp_path / "none.safetensors", "path: expected a checkpoint, got no file at"),
    ):
        with pytest.raises(InputError, match=message):
            load_checkpoint(bad, model)
    assert torch.equal(model.weight, weights)


def test_unwritable_folder(tmp_path):
    model, _ = line_and_batch()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="path: expected a folder that can be written to"):
        save_checkpoint(tmp_path / "file" / "line.safetensors", model)


def test_an_average_that_would_never_move_is_refused():
    with pytest.raises(InputError, match="decay: expected 0 <= decay < 1, got 1"):
        EMA(nn.Linear(1, 1), 1.0)
