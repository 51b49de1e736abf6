"""The shell: the main job, and one clear line for every input that cannot be used."""

import errno
import json
import signal

import pytest
import torch

from flowlib.cli import main
from flowlib.errors import InputError
from flowlib.recipes import RECIPES, RESULTS, rf_cifar10_small, rf_toy
from flowlib.training import Journal, load_checkpoint, read_log

pytestmark = pytest.mark.usefixtures("unchecked")


def test_train_sample_evaluate(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "rf_toy", "--steps", "20", "--device", "cpu", "--out", str(out)]) == 0
    assert "W2" in capsys.readouterr().out
    card = json.loads((out / "rf_toy.json").read_text())
    assert card["recipe"] == "rf_toy"
    assert card["plan"]["steps"] == 20
    weights = out / "rf_toy.safetensors"
    assert load_checkpoint(weights, rf_toy().build())["steps"] == "20"
    picture = tmp_path / "samples.png"
    assert main(["sample", "rf_toy", "--weights", str(weights), "-n", "50", "--out", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["evaluate", "rf_toy", "--weights", str(weights)]) == 0
    assert "W2 floor" in capsys.readouterr().out


def test_weights_know_their_scale(tmp_path):
    with pytest.raises(InputError, match=r"recipe rf_cifar10_small, scale full, steps 9000, which differs in"):
        rf_cifar10_small("laptop").load()
    picture = tmp_path / "one.png"
    assert main(["sample", "rf_cifar10_small", "-n", "1", "--device", "cpu", "--out", str(picture)]) == 0
    assert picture.is_file()


def test_same_seed_trains_the_same_weights(tmp_path):
    for name in ("a", "b"):
        main(["train", "rf_toy", "--steps", "5", "--device", "cpu", "--out", str(tmp_path / name)])
    a, b = ((tmp_path / name / "rf_toy.safetensors").read_bytes() for name in ("a", "b"))
    assert a == b


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "rf_toyy"], "invalid choice 'rf_toyy' for argument 'recipe'"),
        (["train", "rf_toy", "--stepps", "3"], "Unrecognized options: --stepps"),
        (["train", "rf_toy", "--steps", "many"], "Error parsing --steps"),
        (["train", "rf_toy", "--scale", "huge"], "invalid choice 'huge' for argument '--scale'"),
    ],
)
def test_misspelt_commands_exit_with_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "rf_toy", "--lr", "-1"], "flowlib: lr: expected a positive number, got -1.0."),
        (["train", "rf_toy", "--lr", "inf"], "flowlib: lr: expected a positive number, got inf."),
        (["train", "rf_toy", "--weight-decay", "-1"], "weight_decay: expected no negative number, got -1.0."),
        (["train", "rf_toy", "--seed", str(10**20)], "seed: expected a number of 64 bits"),
        (["train", "rf_toy", "--save-every", "0"], "--save-every: expected at least 1 step, got 0."),
        (["train", "rf_toy", "--sample-every", "-1"], "--sample-every: expected a number of steps, or 0 for none"),
        (["train", "rf_toy", "--out", "{tmp}/file/run"], "path: expected a folder that can be written to"),
        (["sample", "rf_toy", "--weights", "{tmp}/none.safetensors"], "path: expected a checkpoint, got no file at"),
        (["sample", "rf_toy", "--weights", "{tmp}/file"], "path: expected a whole safetensors file"),
        (["sample", "judge_digits"], "recipe: expected a model that can be sampled, got judge_digits."),
        (["sample", "rf_toy", "-n", "0"], "-n: expected at least 1, got 0."),
        (["sample", "rf_digits", "--out", "{tmp}/x.xyz"], "--out: expected a name that ends in .png or .jpg or"),
        (["sample", "rf_toy"], "Train it with `flowlib train rf_toy`, or name weights with --weights."),
        (["chapters", "--root", "{tmp}", "readme"], "root: expected the root of the book"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, tmp_path, capsys):
    (tmp_path / "file").write_text("not a checkpoint")
    assert main([a.replace("{tmp}", str(tmp_path)) for a in arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu(capsys):
    assert main(["train", "rf_toy", "--device", "cuda"]) == 2
    assert "--device: expected a GPU that torch can use, got none" in capsys.readouterr().err


def test_a_diverging_run_keeps_the_last_good_weights(tmp_path, capsys):
    assert main(["train", "rf_toy", "--steps", "50", "--lr", "1e30", "--device", "cpu", "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "loss is" in error
    saved = tmp_path / "rf_toy.stopped.safetensors"
    assert str(saved) in error
    model = rf_toy().build()
    load_checkpoint(saved, model)


def losses(folder):
    return [(row["n"], row["loss"]) for row in read_log(folder)]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_same_command_goes_on_where_a_signal_stopped_it(number, code, tmp_path, capsys, monkeypatch):
    command = ["train", "rf_toy", "--steps", "12", "--save-every", "5", "--device", "cpu", "--out"]
    assert main([*command, str(tmp_path / "whole")]) == 0
    write = Journal.write

    def write_and_stop(journal, step):
        write(journal, step)
        if step.n == 7:
            signal.raise_signal(number)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "write", write_and_stop)
        assert main([*command, str(tmp_path / "parts")]) == code
    assert "flowlib: stopped after step 7; the same command goes on from there" in capsys.readouterr().err
    torch.rand(3)
    assert main([*command, str(tmp_path / "parts")]) == 0
    assert losses(tmp_path / "parts" / "rf_toy.run") == losses(tmp_path / "whole" / "rf_toy.run")
    whole, parts = ((tmp_path / name / "rf_toy.safetensors").read_bytes() for name in ("whole", "parts"))
    assert whole == parts
    assert main([*command, str(tmp_path / "parts")]) == 0
    assert "has its 12 steps already; --steps gives it more, --fresh starts again" in capsys.readouterr().out
    assert main([*command, str(tmp_path / "parts"), "--lr", "0.002"]) == 2
    assert "lr: expected 0.004, as in the run that" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "parts"), "--lr", "0.002", "--fresh"]) == 0


def test_a_disk_that_is_full_at_the_end(tmp_path, capsys, monkeypatch):
    """The weights do not fit any more; the checkpoint of the last step is there, and the same command goes on."""
    command = ["train", "rf_toy", "--steps", "3", "--device", "cpu", "--out", str(tmp_path)]

    def full(path, *arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("flowlib.cli.runs.save_checkpoint", full)
        assert main(command) == 2
    error = capsys.readouterr().err
    assert "rf_toy.safetensors: expected room to write, got No space left on device." in error
    assert main(command) == 0
    assert [row["n"] for row in read_log(tmp_path / "rf_toy.run")] == [1, 2, 3]


def test_pictures_of_samples_at_intervals(tmp_path):
    command = ["train", "rf_toy", "--steps", "4", "--sample-every", "2", "--device", "cpu", "--more-ema", "0.5", "0.9"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    folder = tmp_path / "rf_toy.run"
    assert sorted(path.name for path in folder.glob("*.png")) == ["samples_00000002.png", "samples_00000004.png"]
    shorter = folder / "step_00000004" / "ema_1.safetensors"  # the first of the further averages is weights like any
    picture = tmp_path / "picture.png"
    assert main(["sample", "rf_toy", "--weights", str(shorter), "-n", "9", "--out", str(picture)]) == 0


@pytest.mark.parametrize("name", ["vit_cifar10"])
def test_a_set_that_is_not_there(name, tmp_path, capsys, monkeypatch):
    command = ["train", name, "--steps", "1", "--batch-size", "2", "--device", "cpu", "--out", str(tmp_path / "run")]
    monkeypatch.setenv("FLOWLIB_DATA", str(tmp_path))
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "cifar10: expected train*.parquet in" in error
    assert "flowlib data get cifar10" in error
    monkeypatch.setenv("FLOWLIB_DATA", str(tmp_path / "nowhere"))
    assert main(command) == 2
    assert "FLOWLIB_DATA: expected a folder" in capsys.readouterr().err


def test_data(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FLOWLIB_DATA", str(tmp_path))
    assert main(["data", "list"]) == 0
    listed = capsys.readouterr().out
    assert "cifar10" in listed
    assert "not here: " in listed
    assert main(["data", "verify", "cifar10"]) == 2
    assert main(["data", "get", "cifar11"]) == 2
    assert "expected one of cifar10," in capsys.readouterr().err


def test_results(tmp_path, capsys, monkeypatch):
    calls = []
    monkeypatch.setitem(RESULTS, "table", lambda path, seeds=(0, 1): calls.append((path, seeds)))
    assert main(["results", "table", "--out", str(tmp_path / "t.jsonl")]) == 0
    assert main(["results", "table", "--seeds", "7", "8", "--out", str(tmp_path / "t.jsonl")]) == 0
    assert calls == [(tmp_path / "t.jsonl", (0, 1)), (tmp_path / "t.jsonl", (7, 8))]
    assert main(["results", "tabel"]) == 2
    assert "name: expected one of" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(RECIPES))
@pytest.mark.parametrize("scale", ["laptop", "full"])
def test_both_scales_are_values_of_one_recipe(name, scale):
    assert RECIPES[name](scale).name == name


@pytest.mark.parametrize("name", ["cnf_moons", "glow_digits", "maf_moons", "rf_digits", "rf_toy", "spline_moons"])
def test_the_full_size_takes_a_step(name):
    """What fits into a test; tests/test_recipes.py takes ten steps of every recipe at laptop scale."""
    recipe = RECIPES[name]("full").changed(steps=1, batch_size=8)
    run = recipe.start()
    assert [step.n for step in run.steps] == [1]
    assert recipe.draw is not None
    assert len(recipe.draw(run.ema.model, 10, torch.Generator().manual_seed(0))) == 10
