"""Flux on captioned shapes: sizes, a student that starts as its teacher, guidance that is told."""

import sys

import pytest
import torch
from safetensors.torch import save_file

from flowlib.datasets import captioned_shapes, tokenize, told_shapes
from flowlib.errors import InputError
from flowlib.recipes import draw_captions, draw_guided, flux_shapes, flux_shapes_guided, mmdit_shapes
from flowlib.sampling import guide


@pytest.fixture
def teacher(monkeypatch, tmp_path):
    """Weights of a teacher that has seen little, where the student looks for them."""
    cache = sys.modules[flux_shapes.__module__]._teacher.cache_clear
    model = flux_shapes("full").build()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.02 * torch.randn(p.shape, generator=generator))
    file = tmp_path / "flux_shapes.safetensors"
    save_file(model.state_dict(), file)
    monkeypatch.setattr("flowlib.recipes.stages.WEIGHTS", tmp_path)
    monkeypatch.chdir(tmp_path)
    cache()
    yield model.eval()
    cache()


def test_the_shipped_size_fits_with_the_book():
    with torch.device("meta"):
        parameters = sum(p.numel() for p in flux_shapes("full").model().parameters())
        more = sum(p.numel() for p in flux_shapes_guided("full").model().parameters()) - parameters
    assert 4 * parameters < 15e6
    assert more == 256 * 96 + 96 + 96 * 96 + 96  # the embedding of w


def test_flux_reads_by_the_encoder_of_mmdit_and_leaves_it_as_it_is():
    trained = mmdit_shapes("full").load().encoder.state_dict()
    run = flux_shapes().changed(steps=3, warmup=0, batch_size=4).start()
    patches = run.model.net.embed_patch.weight.clone()
    assert [step.n for step in run.steps] == [1, 2, 3]
    for model in (run.model, run.ema.model):
        torch.testing.assert_close(model.encoder.state_dict(), trained, rtol=0, atol=0)
    assert not torch.equal(run.model.net.embed_patch.weight, patches)


def test_without_the_weights_of_mmdit_the_error_says_what_comes_before(monkeypatch, tmp_path):
    monkeypatch.setattr("flowlib.recipes.stages.WEIGHTS", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="flowlib train mmdit_shapes"):
        flux_shapes().start()


def test_the_student_starts_as_its_teacher_and_learns_what_it_is_told(teacher):
    run = flux_shapes_guided().changed(steps=40, warmup=5, batch_size=8).start()
    x, _, ids = next(told_shapes(6, torch.Generator().manual_seed(1)))
    t = torch.linspace(0.1, 0.9, 6)
    student = run.model.eval()
    for w in (1.0, 4.0):
        torch.testing.assert_close(student(x, t, ids, w=w), teacher(x, t, ids))
    wanted = guide(teacher, 5.0, null=0)(x, t, ids)
    losses = [step.loss for step in run.steps]
    assert sum(losses[-8:]) < sum(losses[:8])
    before, after = teacher(x, t, ids), run.ema.model(x, t, ids, w=5.0)
    assert float((after - wanted).square().mean().detach()) < float((before - wanted).square().mean())


def test_the_student_draws_by_one_evaluation_a_call(teacher):
    calls = []
    student = flux_shapes_guided().build().eval()
    student.net.register_forward_hook(lambda *_: calls.append(1))
    captions = captioned_shapes(2, 0, most=2).captions
    draw_guided(student, captions, torch.Generator().manual_seed(0), w=3.0, steps=4)
    once = len(calls)
    teacher.net.register_forward_hook(lambda *_: calls.append(1))
    draw_captions(teacher, captions, torch.Generator().manual_seed(0), w=3.0, steps=4)
    assert len(calls) - once == 2 * once
    assert tokenize(captions).shape == (2, 10)
