"""Names that people type, and the one kind of error that tells them what is wrong."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

LONG_WORD = re.compile(r"(\S{80})\S{100,}(\S{20})")  # longer than any name or path that a sentence can be read with
LONGEST = 2000  # characters of a sentence


class Refused(ValueError):
    """A mistake of the user's, or of a file's, in one sentence: the value, what was expected, the nearest valid choice.

    Scripts show the sentence without a traceback; every other error is a fault of the project and keeps its traceback.
    """

    exit_code = 1  # of a script that ends with it

    def __str__(self) -> str:
        return readable(super().__str__())


class Missing(Refused, FileNotFoundError):
    """A file or folder that is not there."""


class NotFinite(Refused, FloatingPointError):
    """A loss or a score that is no number."""


class InProgress(Refused):
    """A run that another process works on."""

    exit_code = 75  # EX_TEMPFAIL of <sysexits.h>: try again later


class Unreachable(Refused, ConnectionError):
    """A server that does not answer."""


def readable(sentence: str) -> str:
    """The sentence with the middle of what is very long left out, and signs that cannot be printed by their number."""
    short = LONG_WORD.sub(r"\1...\2", sentence)
    if len(short) > LONGEST:
        short = f"{short[: LONGEST - 400]} ... {short[-390:]}"
    return "".join(sign if sign.isprintable() or sign == "\n" else repr(sign)[1:-1] for sign in short)


def suggestion(word: object, known: Iterable[object]) -> str:
    """' Did you mean 'bald'?' for 'bold' and 'BALD', or '' where nothing is near."""
    by_lower_case = {str(name).lower(): str(name) for name in known}
    near = difflib.get_close_matches(str(word)[:200].lower(), [*by_lower_case], n=1, cutoff=0.5)
    return f" Did you mean {by_lower_case[near[0]]!r}?" if near else ""


def require_one_of(option: str, value: object, known: Iterable[object], where: str = "") -> None:
    """Refused with the nearest known name, and all of them, where `value` is none of them; `where` may name a line."""
    names = list(known)
    if value not in names:
        listed = ", ".join(map(str, names))
        before = f"{where}: " if where else ""
        raise Refused(f"{before}unknown {option} {value!r}.{suggestion(value, names)} Known: {listed}")
