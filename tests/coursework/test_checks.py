"""A failed check says what was expected, what came and a hint, in words for a student."""

import numpy as np
import pytest

from flowlib.coursework.checks import CheckFailed, check, expect_close, expect_true


def words(function, *answers):
    with pytest.raises(CheckFailed) as caught:
        function(*answers)
    return str(caught.value)


@check
def check_4_1(double):
    """Expect the double of one and two."""
    expect_close(double(np.array([1.0, 2.0])), [2.0, 4.0], hint="twice", name="double(x)")
    expect_true(double(0.0) == 0, "expected 0 at 0", hint="no constant")


def typed(source):
    """A function whose code is in no file, as in a notebook's cell."""
    namespace = {"np": np}
    exec(compile(source, "<cell>", "exec"), namespace)
    return namespace["double"]


def test_right_answers_are_told_in_one_line(capsys):
    check_4_1(lambda x: 2 * x)
    assert capsys.readouterr().out == "4.1 correct\n"
    assert check_4_1.__doc__ == "Expect the double of one and two."


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("lambda x: x * x", "4.1 not yet: double(x): expected 2, got 1 at [0]; 1 of 2 numbers differ\nHint: twice"),
        ("lambda x: 2 * x.sum()", "4.1 not yet: double(x): expected shape (2,), got shape ()\nHint: twice"),
        (
            "lambda x: None",
            "4.1 not yet: double(x): expected numbers, got None\nHint: does the function end with a return?",
        ),
        ("lambda x: 'two'", "4.1 not yet: double(x): expected numbers, got str"),
        ("lambda x: double", "4.1 not yet: double(x): expected numbers, got function"),
        ("lambda x: {'x': x}", "4.1 not yet: double(x): expected numbers, got dict"),
        (
            "lambda x: x * np.nan",
            "4.1 not yet: double(x): expected finite numbers, got 2 of 2 numbers are NaN or infinite",
        ),
        ("lambda x: 2 * x + (np.ndim(x) == 0)", "4.1 not yet: expected 0 at 0\nHint: no constant"),
        (
            "lambda x, y: x",
            "4.1 not yet: your code raised TypeError: <lambda>() missing 1 required positional argument",
        ),
    ],
)
def test_wrong_answers_are_told_in_plain_words(source, message):
    assert words(check_4_1, typed(f"double = {source}")).startswith(message)


def test_the_line_that_raised_is_told():
    message = words(check_4_1, typed("def double(x):\n    y = x\n    return np.linalg.inv(y)"))
    assert message.startswith("4.1 not yet: your code raised LinAlgError:")
    assert message.endswith("Hint: look at line 3 of its cell, in double")


def test_a_stub_is_told_from_other_missing_things():
    stub = typed("def double(x):\n    raise NotImplementedError('Exercise 4.1: your code here')")
    assert words(check_4_1, stub).startswith("4.1 not yet: nothing is written there\nHint: put your code")
    other = typed("def double(x):\n    raise NotImplementedError('not for Half')")
    assert "your code raised NotImplementedError: not for Half" in words(check_4_1, other)


@pytest.mark.parametrize(
    ("got", "want"),
    [(0.5, 0.5000001), (np.float32(0.1), 0.1), ([1, 2], (1.0, 2.0)), ([3.0], 3), (np.inf, np.inf), (True, 1)],
)
def test_what_is_close_is_accepted(got, want):
    expect_close(got, want)


@pytest.mark.parametrize(("got", "want"), [(0.51, 0.5), ([1, 2], [2, 1]), (np.inf, -np.inf), (np.inf, 1), (0, np.nan)])
def test_what_is_not_close_is_refused(got, want):
    with pytest.raises(CheckFailed):
        expect_close(got, want)


def test_tensors_are_compared_as_numbers():
    torch = pytest.importorskip("torch")
    expect_close(torch.ones(2, dtype=torch.bfloat16, requires_grad=True), torch.ones(2))
    assert words(expect_close, torch.ones(4, 1), torch.ones(4)) == ("the answer: expected shape (4,), got shape (4, 1)")
    assert words(expect_close, torch.tensor(0.25), 0.5) == "the answer: expected 0.5, got 0.25"
    assert words(expect_close, torch.tensor(torch.nan), 0.5) == "the answer: expected finite numbers, got nan"


def test_a_notebook_shows_two_lines_and_no_traceback():
    assert CheckFailed("expected 1, got 2", "count", "4.1")._render_traceback_() == [
        "4.1 not yet: expected 1, got 2",
        "Hint: count",
    ]
