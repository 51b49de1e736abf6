"""What a chapter's ``checks.py`` is written with: a failed check tells what was expected, what came, and a hint.

A check is a function ``check_4_1`` under the decorator ``check``, which takes what the student wrote and compares::

    from flowlib.coursework.checks import check, expect_close, expect_true

    @check
    def check_4_1(velocity):
        x_0, x_1, t = ...
        expect_close(velocity(x_0, x_1, t), x_1 - x_0, hint="differentiate the path by t")

The number comes from the function's name. The decorator puts exceptions of the student's code in plain words and, where
all went well, prints ``4.1 correct``. Import the names as above: the grader loads this file afresh before each check.
"""

from __future__ import annotations

import functools
import os
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

NOT_WRITTEN = "Exercise "  # how the message of an exercise's stub begins


class CheckFailed(AssertionError):
    """An answer that is not right yet: what was expected and what came, and a hint; one or two lines in a notebook."""

    def __init__(self, message: str, hint: str = "", number: str = "") -> None:
        title = f"{number} not yet: " if number else ""
        super().__init__(f"{title}{message}" + (f"\nHint: {hint}" if hint else ""))
        self.message, self.hint = message, hint

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback, which would point into the check and not at the mistake."""
        return str(self).splitlines()


def check(function: Callable[..., None]) -> Callable[..., None]:
    """Make ``function``, named ``check_4_1``, the check of exercise 4.1."""
    number = function.__name__.removeprefix("check_").replace("_", ".")

    @functools.wraps(function)
    def checked(*answers: Any, **named: Any) -> None:
        try:
            function(*answers, **named)
        except CheckFailed as failure:
            raise CheckFailed(failure.message, failure.hint, number) from None
        except Exception as error:
            raise CheckFailed(*_in_plain_words(error), number=number) from error
        print(f"{number} correct")

    return checked


def _in_plain_words(error: Exception) -> tuple[str, str]:
    """Return the message and the hint for an exception that the student's code raised while it was checked."""
    if isinstance(error, NotImplementedError) and str(error).startswith(NOT_WRITTEN):
        return "nothing is written there", "put your code in place of the line that raises NotImplementedError"
    message = f"your code raised {type(error).__name__}: {error}"
    # code typed into a cell is in no file: the last such line is the one that a student can change
    typed = [frame for frame in traceback.extract_tb(error.__traceback__) if not os.path.exists(frame.filename)]
    if not typed:
        return message, ""
    line = f": {typed[-1].line}" if typed[-1].line else ""
    return message, f"look at line {typed[-1].lineno} of its cell, in {typed[-1].name}{line}"


def expect_true(condition: Any, message: str, hint: str = "") -> None:
    """Fail with ``message``, which says what was expected and what came, unless ``condition`` holds."""
    if not bool(condition):
        raise CheckFailed(message, hint)


def expect_close(
    got: Any, want: Any, *, hint: str = "", rtol: float = 1e-4, atol: float = 1e-5, name: str = "the answer"
) -> None:
    """Fail unless ``|got - want| <= atol + rtol |want|`` in every number, and the shapes agree.

    Numbers, lists, arrays and tensors are compared as float64; the tolerances leave room for float32.
    """
    values, wanted = _numbers(got, name), _numbers(want, "the expected value")
    if values.shape != wanted.shape and not values.size == wanted.size == 1:
        raise CheckFailed(f"{name}: expected shape {wanted.shape}, got shape {values.shape}", hint)
    values = values.reshape(wanted.shape)
    lost = ~np.isfinite(values) & np.isfinite(wanted)
    if lost.any():
        amount = f"{int(lost.sum())} of {values.size} numbers are NaN or infinite" if values.size > 1 else f"{values}"
        raise CheckFailed(f"{name}: expected finite numbers, got {amount}", hint)
    with np.errstate(invalid="ignore"):  # infinity minus infinity, where infinity is what is wanted
        error = np.abs(values - wanted)
    wrong = np.where(np.isfinite(wanted), error > atol + rtol * np.abs(wanted), values != wanted)
    if wrong.any():
        raise CheckFailed(f"{name}: {_worst(values, wanted, np.where(wrong, error, -1.0))}", hint)


def _worst(values: np.ndarray, wanted: np.ndarray, error: np.ndarray) -> str:
    place = np.unravel_index(int(error.argmax()), error.shape)
    said = f"expected {wanted[place]:.6g}, got {values[place]:.6g}"
    if values.size == 1:
        return said
    return f"{said} at {[int(i) for i in place]}; {int((error >= 0).sum())} of {values.size} numbers differ"


def _numbers(value: Any, name: str) -> np.ndarray:
    if value is None:
        raise CheckFailed(f"{name}: expected numbers, got None", "does the function end with a return?")
    if isinstance(value, str) or callable(value):  # numpy would read "0.5" as a number
        raise CheckFailed(f"{name}: expected numbers, got {type(value).__name__}")
    try:
        # .double() first: numpy has no bfloat16
        return np.asarray(value.detach().cpu().double() if hasattr(value, "detach") else value, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError):
        raise CheckFailed(f"{name}: expected numbers, got {type(value).__name__}") from None
