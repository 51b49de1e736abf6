"""What a run says of itself: with TensorBoard and without."""

import sys
import types
from dataclasses import replace

import pytest
from small_runs import PLAN, go, small_run

from flowlib.training import Journal, Step, read_log

NAMES = ("loss", "grad_norm", "lr", "samples_per_second")


@pytest.fixture
def boards(monkeypatch):
    """TensorBoard, as far as it is used: writers that remember what they were given."""
    made = []

    class Writer:
        def __init__(self, folder, purge_step):
            self.folder, self.purge_step, self.scalars, self.closed = folder, purge_step, [], False
            made.append(self)

        def add_scalar(self, name, value, step):
            self.scalars.append((name, value, step))

        def close(self):
            self.closed = True

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    return made


def test_the_board_is_given_what_the_log_is_given(boards, tmp_path):
    go(tmp_path, every=4, plan=replace(PLAN, steps=8))
    go(tmp_path, every=4, plan=replace(PLAN, steps=12))
    first, second = boards
    assert [board.folder for board in boards] == 2 * [str(tmp_path)]
    assert [board.purge_step for board in boards] == [1, 9]  # steps that a kill makes it do again are forgotten
    rows = read_log(tmp_path)
    found = first.scalars + second.scalars
    assert [(name, step) for name, _, step in found] == [(name, row["n"]) for row in rows for name in NAMES]
    for name in NAMES[:3]:
        assert [value for other, value, _ in found if other == name] == [row[name] for row in rows]


def test_a_line_that_a_power_cut_spoilt_does_not_count(tmp_path):
    go(tmp_path, every=4, plan=replace(PLAN, steps=8))
    rows, log = read_log(tmp_path), tmp_path / "log.jsonl"
    lines = log.read_bytes().split(b"\n")
    lines[2], lines[5] = b'{"n": 3, "lo', b"\0\xff\0"
    log.write_bytes(b"\n".join(lines))
    assert read_log(tmp_path) == [row for row in rows if row["n"] not in (3, 6)]
    go(tmp_path, every=4, plan=replace(PLAN, steps=12))  # and the run goes on
    assert read_log(tmp_path)[-1]["n"] == 12


def test_the_rate_is_that_of_the_last_step(boards, tmp_path):
    journal = Journal(tmp_path, 0, 32)
    for n, seconds in ((1, 2.0), (2, 2.5)):
        journal.write(Step(n, 1.0, 1.0, 1.0, seconds))
    journal.close()
    assert [value for name, value, _ in boards[0].scalars if name == "samples_per_second"] == [16.0, 64.0]
    assert [row["samples_per_second"] for row in read_log(tmp_path)] == [16.0, 64.0]
    assert boards[0].closed


def test_without_tensorboard_there_is_the_log(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    journal = Journal(tmp_path, 0, 32)
    journal.write(Step(1, 1.0, 1.0, 1.0, 1.0))
    journal.close()
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]
    assert [row["n"] for row in read_log(tmp_path)] == [1]


def test_the_real_board_shows_each_step_once(tmp_path):
    """A run that is killed at step 10 and goes on from step 8, as TensorBoard's own reader sees it."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    plan = replace(PLAN, steps=20)
    for done, last in ((0, 10), (8, 20)):
        journal = Journal(tmp_path, done, plan.batch_size)
        for step in small_run(plan).steps:
            if done < step.n <= last:
                journal.write(step)
        journal.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    rows = read_log(tmp_path)
    assert [event.step for event in events.Scalars("loss")] == [row["n"] for row in rows] == list(range(1, 21))
    for name in NAMES[:3]:
        assert [event.value for event in events.Scalars(name)] == pytest.approx([row[name] for row in rows])
