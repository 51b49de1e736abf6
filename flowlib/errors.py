"""One kind of error for every input that a user can get wrong."""

from __future__ import annotations

CODE = {"flowlib", "pip", "t", "x"}  # words at which a cure may start that are to be typed, not read


class InputError(ValueError):
    """An argument that cannot be used, told in one line: which, what was expected, what came, the likely cure.

    The command line prints the line and exits with code 2; every other exception is a defect of ours and keeps its
    traceback.

    >>> str(InputError("t", expected="values in [0, 1]", got="1.5", cure="divide DDPM steps by their number"))
    't: expected values in [0, 1], got 1.5. Divide DDPM steps by their number.'
    """

    def __init__(self, argument: str, *, expected: str, got: object, cure: str = "") -> None:
        first = cure.split(" ", 1)[0]
        if first.isalpha() and first not in CODE:  # "t.expand(len(x)) makes ..." is to be copied as it stands
            cure = cure[0].upper() + cure[1:]
        hint = f" {cure.rstrip('.')}." if cure else ""
        super().__init__(f"{argument}: expected {expected}, got {got}.{hint}")
        self.argument = argument
