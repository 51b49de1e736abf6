"""Runs that are killed, stopped, damaged and spread over processes, against a run that nothing happened to."""

import errno
import itertools
import json
import os
import random
import shutil
import signal
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import small_runs
import torch
from small_runs import PLAN, go, small_run, still, timeless, together_plan

from flowlib.errors import InputError
from flowlib.training import (
    Journal,
    NonFiniteLoss,
    Stopped,
    checkpoints,
    kept,
    load_checkpoint,
    load_run,
    read_log,
    save_run,
    snapshot,
)

SHORT = replace(PLAN, steps=20)


def plain_stream(generator):
    """Batches of an iterator that does not know its position."""
    while True:
        yield tuple(torch.randn(2, 32, 2, generator=generator))


def bits(run):
    """Everything of a run that the next step depends on."""
    groups, facts = run.state()
    flat = {f"{g}/{k}": v for g, group in groups.items() for k, v in group.items()}
    return flat, {k: v for k, v in facts.items() if k != "seconds"}


def same(one, other):
    return (
        one[1] == other[1]
        and one[0].keys() == other[0].keys()
        and all(torch.equal(one[0][k], other[0][k]) for k in one[0])
    )


@pytest.fixture(scope="module")
def server():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(small_runs.__file__).parent), prepend=os.pathsep)  # where the server looks
        context = small_runs.server()
        first = context.Process(target=int)
        first.start()
        first.join()
    return context


# --- exact resume


@pytest.mark.parametrize("batches", [None, plain_stream])
@pytest.mark.parametrize("plan", [SHORT, replace(SHORT, accumulate=4), replace(SHORT, precision="bfloat16")])
def test_a_run_goes_on_as_if_nothing_had_happened(batches, plan, tmp_path):
    whole = small_run(plan, batches=batches)
    expected = [(step.loss, step.grad_norm) for step in whole.steps]
    found = []
    for stop in (1, 3, 11, 20):  # inside a pass over the data, at its end, and at the end of the run
        part = small_run(plan, batches=batches)
        if checkpoints(tmp_path):
            torch.rand(5)  # another process has another past
        load_run(tmp_path, part)
        found += [(step.loss, step.grad_norm) for step in itertools.islice(part.steps, stop - part.n)]
        save_run(tmp_path, part)
    assert found == expected
    assert same(bits(part), bits(whole))
    assert part.seconds > 0


def test_twenty_kills_change_nothing(tmp_path, server):
    """SIGKILL at random moments; the log of the pieces is that of one run, bit for bit, and no checkpoint is lost."""
    go(tmp_path / "whole")
    expected = [(row["loss"], row["grad_norm"]) for row in read_log(tmp_path / "whole")]
    moments, kills, rounds = random.Random(0), 0, 0
    while kills < 20:
        rounds += 1
        folder, last = tmp_path / f"killed_{rounds}", 0
        while last < PLAN.steps:
            process = server.Process(target=go, args=(folder,))
            process.start()
            process.join(moments.uniform(0.05, 0.5) if kills < 20 else None)
            if process.exitcode is None:
                process.kill()
                process.join()
                kills += process.exitcode == -signal.SIGKILL
            else:
                assert process.exitcode == 0
            newest = checkpoints(folder)
            assert not newest or int(newest[0].name[5:]) >= last  # never fewer steps than before the kill
            last = int(newest[0].name[5:]) if newest else 0
            run = small_run()
            assert load_run(folder, run) == (newest[0] if newest else None)
        assert [(row["loss"], row["grad_norm"]) for row in read_log(folder)] == expected
        assert [row["n"] for row in read_log(folder)] == list(range(1, PLAN.steps + 1))
        assert len(checkpoints(folder)) == 2
    assert kills == 20


def test_a_kill_at_every_touch_of_the_disk(tmp_path, server):
    """Before each file that is opened, renamed or removed, from the start of a part of the run to its end."""
    plan = replace(PLAN, steps=6)
    go(tmp_path / "base", every=2, plan=replace(plan, steps=4))
    found = []
    for k in itertools.count(1):
        folder = tmp_path / f"killed_{k}"
        shutil.copytree(tmp_path / "base", folder)
        process = server.Process(target=small_runs.go_until, args=(folder, k, plan))
        process.start()
        process.join()
        run = small_run(plan)
        assert load_run(folder, run) == checkpoints(folder)[0]
        found.append(run.n)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
    assert found == sorted(found)  # from the old checkpoint to the new one, in one touch
    assert set(found) == {4, 6}
    assert 15 < k < 100


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops(number, tmp_path):
    handler = signal.getsignal(number)
    steps = kept(small_run(SHORT), tmp_path)
    assert [next(steps).n for _ in range(3)] == [1, 2, 3]
    signal.raise_signal(number)
    with pytest.raises(Stopped, match="stopped after step 3; the same command goes on") as stopped:
        next(steps)
    assert stopped.value.signal == number
    assert signal.getsignal(number) == handler
    assert [p.name for p in checkpoints(tmp_path)] == ["step_00000003"]
    rest = [step.loss for step in kept(small_run(SHORT), tmp_path)]
    assert rest == [step.loss for step in small_run(SHORT).steps][3:]


def test_a_signal_during_the_last_checkpoint_stops_what_would_follow(tmp_path, monkeypatch):
    def interrupted(*arguments):
        save_run(*arguments)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("flowlib.training.keep.save_run", interrupted)
    with pytest.raises(Stopped, match="stopped after step 20"):
        list(kept(small_run(SHORT), tmp_path, every=100))
    assert [p.name for p in checkpoints(tmp_path)] == ["step_00000020"]


def test_after_a_fresh_start_the_same_command_would_not_go_on(tmp_path):
    steps = kept(small_run(SHORT), tmp_path, fresh=True)
    next(steps)
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(Stopped, match="the same command without --fresh goes on"):
        next(steps)


def test_the_newest_two_are_kept_and_a_half_written_one_is_no_checkpoint(tmp_path):
    (tmp_path / ".step_00000004.part").mkdir()
    for _ in kept(small_run(SHORT), tmp_path, every=4):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step_00000016", "step_00000020"]
    assert load_checkpoint(tmp_path / "step_00000020" / "ema_0.safetensors", small_runs.Dropped()) == {}
    again = small_run(SHORT)
    load_run(tmp_path, again)
    assert save_run(tmp_path, again) == tmp_path / "step_00000020"  # the same step once more
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step_00000016", "step_00000020"]
    with pytest.raises(InputError, match="steps: expected at least 20, which the run has done, got 10"):
        next(kept(small_run(replace(PLAN, steps=10)), tmp_path))
    assert [step.n for step in kept(small_run(replace(PLAN, steps=22)), tmp_path)] == [21, 22]
    assert next(kept(small_run(SHORT), tmp_path, fresh=True)).n == 1
    assert checkpoints(tmp_path) == []


# --- what can go wrong


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "one bit": flip,
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "foreign": lambda path: path.write_bytes(b"\x80\x04 a pickle"),
}
FILES = ["state.json", "model.safetensors", "ema_1.safetensors", "optimizer.safetensors", "random.safetensors"]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_checkpoint_is_an_error_and_the_one_before_still_serves(file, damage, tmp_path):
    for _ in kept(small_run(replace(PLAN, steps=4)), tmp_path, every=2):
        pass
    newest, older = checkpoints(tmp_path)
    DAMAGES[damage](newest / file)
    run = small_run(SHORT)
    before = bits(run)
    with pytest.raises(InputError, match=f"path: expected a whole checkpoint, got .*{file}") as raised:
        load_run(tmp_path, run)
    assert f"to go on from {older.name}" in str(raised.value)
    assert same(bits(run), before)
    for path in newest.iterdir():
        path.unlink()
    newest.rmdir()
    assert load_run(tmp_path, run) == older


def test_a_checkpoint_of_another_run_or_of_the_future(tmp_path, monkeypatch):
    for _ in kept(small_run(replace(PLAN, steps=2)), tmp_path, facts={"recipe": "a"}):
        pass
    for run, facts, message in (
        (small_run(replace(PLAN, lr=0.5)), {"recipe": "a"}, "lr: expected 0.001, as in the run that .*, got 0.5"),
        (small_run(replace(PLAN, more_ema=())), {"recipe": "a"}, r"more_ema: expected \[0.9\], .* got \[\]"),
        (small_run(), {"recipe": "b"}, "recipe: expected a, as in the run that .* got b.* --fresh"),
        (small_run(model=still_wider), {"recipe": "a"}, "path: expected weights of this model, got .* differs in"),
    ):
        before = bits(run)
        with pytest.raises(InputError, match=message):
            load_run(tmp_path, run, facts)
        assert same(bits(run), before)
    monkeypatch.setattr(snapshot, "FORMAT", 0)
    with pytest.raises(InputError, match=r"path: expected a checkpoint of format 0 or older, got .* of format 1"):
        load_run(tmp_path, small_run(), {"recipe": "a"})


def still_wider():
    return small_runs.MLP(2, width=24)


@pytest.mark.parametrize("at", range(6))
def test_a_full_disk_loses_no_checkpoint(at, tmp_path, monkeypatch):
    """The disk is full at the first file of the checkpoint, at the second, ... at the last."""
    plan = replace(PLAN, steps=8)
    for _ in kept(small_run(plan), tmp_path / "whole", every=2):
        pass
    write, calls = snapshot.write_at_once, itertools.count(-12)  # two whole checkpoints of six files come first

    def full(path, content):
        if next(calls) >= at:
            write(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    monkeypatch.setattr(snapshot, "write_at_once", full)
    folder = tmp_path / "full"
    run = kept(small_run(plan), folder, every=2)
    with pytest.raises(InputError, match=r"path: expected room for a checkpoint of 0.0 MB, got .*No space left"):
        list(run)
    assert [p.name for p in sorted(folder.iterdir())] == ["step_00000002", "step_00000004"]
    monkeypatch.undo()
    rest = [step.loss for step in kept(small_run(plan), folder, every=2)]
    assert rest == [step.loss for step in small_run(plan).steps][4:]


def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    run = small_run(SHORT)
    with pytest.raises(InputError, match="path: expected a folder that can be written to"):
        next(kept(run, tmp_path / "file"))

    def read_only(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.mkstemp", read_only)
    with pytest.raises(InputError, match=r"folder that can be written to, got .*Read-only file system"):
        next(kept(run, tmp_path / "read_only"))
    assert run.n == 0  # before any work


@pytest.mark.parametrize("bad", ["loss", "gradient norm"])
def test_a_loss_that_is_not_finite_names_step_batch_and_checkpoint(bad, tmp_path):
    calls = itertools.count(1)

    def loss(v, x_0, x_1, c):
        value = timeless(v, x_0, x_1, c)
        if next(calls) < 8:
            return value
        return value * torch.nan if bad == "loss" else (value - value.detach()).abs().sqrt()

    run = small_run(replace(SHORT, seed=5), loss=loss)
    with pytest.raises(NonFiniteLoss) as raised:
        list(kept(run, tmp_path, every=3))
    for words in (f"{bad} is", "at step 8", "batch 8 of seed 5", f"last good checkpoint: {tmp_path / 'step_00000006'}"):
        assert words in str(raised.value)
    assert all(bool(p.isfinite().all()) for p in run.model.parameters())


def test_bad_interval(tmp_path):
    with pytest.raises(InputError, match="every: expected at least 1 step, got 0"):
        next(kept(small_run(), tmp_path, every=0))


def test_the_log_forgets_what_is_done_again(tmp_path):
    for step in small_run(SHORT).steps:
        if step.n == 1:
            journal = Journal(tmp_path, 0, 32)
        journal.write(step)
    journal.close()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"n": 21, "lo')  # a kill in the middle of a line
    assert [row["n"] for row in read_log(tmp_path)] == list(range(1, 21))
    Journal(tmp_path, 12, 32).close()
    assert [row["n"] for row in read_log(tmp_path)] == list(range(1, 13))
    row = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])
    assert row["loss"] == next(small_run(SHORT).steps).loss  # every digit


# --- many processes


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    go(folder, every=10, plan=together_plan(30), loss=timeless, model=still)
    return folder


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_have_the_loss_of_one(parallel, tmp_path, server, one_process):
    """The same losses within 1e-5; then one process goes on from the checkpoint of two, and two from that of one."""
    expected = [row["loss"] for row in read_log(one_process)]
    together(server, tmp_path, 20, parallel)
    assert [row["n"] for row in read_log(tmp_path)] == list(range(1, 21))
    go(tmp_path, every=5, plan=together_plan(25), loss=timeless, model=still)
    together(server, tmp_path, 30, parallel)
    found = [row["loss"] for row in read_log(tmp_path)]
    assert found == pytest.approx(expected, abs=1e-5)
    assert max(expected) - min(expected) > 0.1  # there was something to learn
    mine, theirs = (snapshot._read(checkpoints(f)[0], "")[0]["ema_0"] for f in (tmp_path, one_process))
    for name in theirs:
        torch.testing.assert_close(mine[name], theirs[name], rtol=1e-4, atol=1e-5)


def together(server, folder, steps, parallel):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = [server.Process(target=small_runs.go_together, args=(r, port, folder, steps, parallel)) for r in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]


def test_parallel_needs_torchrun():
    with pytest.raises(InputError, match="--parallel: expected processes started by torchrun, got one process"):
        small_run(parallel="ddp")
