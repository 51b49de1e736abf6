"""Resumable tables: nothing is measured twice, nothing measured is lost."""

import json
import math

import pytest

from flowlib.errors import InputError
from flowlib.recipes.results import fill, read, spread

CELLS = [{"method": m, "seed": s} for s in (42, 43) for m in ("FM", "RF")]


def counting(log):
    def measure(method, seed):
        log.append((method, seed))
        return {"W2": seed / 100}

    return measure


def test_a_second_call_measures_only_what_is_missing(tmp_path):
    path, log = tmp_path / "new" / "table.jsonl", []
    fill(path, CELLS[:3], counting(log))
    rows = fill(path, CELLS, counting(log))
    assert log == [("FM", 42), ("RF", 42), ("FM", 43), ("RF", 43)]
    assert [(r["method"], r["seed"], r["W2"]) for r in rows] == [(m, s, s / 100) for m, s in log]
    assert all(r["seconds"] >= 0 and {"python", "torch", "scipy", "pot"} <= set(r["versions"]) for r in rows)


def test_rows_before_a_failure_are_kept(tmp_path):
    def measure(method, seed):
        if seed == 43:
            raise RuntimeError("out of memory")
        return {"W2": 1.0}

    with pytest.raises(RuntimeError):
        fill(tmp_path / "t.jsonl", CELLS, measure)
    assert len(read(tmp_path / "t.jsonl")) == 2


def test_a_torn_last_line_is_measured_again(tmp_path):
    path, log = tmp_path / "t.jsonl", []
    fill(path, CELLS, counting(log))
    whole = path.read_text()
    path.write_text(whole[:-20])
    assert len(read(path)) == 3
    assert [(r["method"], r["seed"]) for r in fill(path, CELLS, counting(log))] == log[:4]
    assert log[4:] == [("RF", 43)]
    assert [json.loads(line)["seed"] for line in path.read_text().splitlines()] == [42, 42, 43, 43]


def test_a_spoilt_line_is_named_and_nothing_is_written(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"method": "FM", "seed": 42}\nhello\n')
    with pytest.raises(InputError, match=r"line 2 of .*t\.jsonl: 'hello'"):
        fill(path, CELLS, counting([]))
    assert path.read_text() == '{"method": "FM", "seed": 42}\nhello\n'


def test_spread_is_over_seeds_and_counts_them():
    rows = [{"m": "FM", "W2": 0.3, "seed": 1}, {"m": "FM", "W2": 0.5, "seed": 2}, {"m": "RF", "W2": 9.0}]
    mean, sd, n = spread(rows, "W2", m="FM")
    assert (round(mean, 12), n) == (0.4, 2)
    assert abs(sd - math.sqrt(0.02)) < 1e-12  # of one seed, with n - 1
    assert str(spread(rows, "W2", m="FM")) == "0.400 +- 0.141 (2)"
    assert str(spread(rows, "W2", m="RF")) == "9.000 (1)"
    assert spread(rows, "NPE", m="FM") is None
    assert spread(rows, "W2", m="I-CFM") is None
