"""Bad values of every option, drawn from its declaration: its type, range and names.

What must become of a value is said here from the declaration as it is written for people (a number from .. to .., one of
..), without the code that checks it. REFUSED must be refused; FINE looks odd and is valid, so that it must be taken.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, NamedTuple

from data.limits import Between, Numbers, OneOf
from experiments.tracking.declare import Option

REFUSED, FINE = "refused", "fine"
LONG = "long" * 1500
ESCAPE, TURN, HALF = "\x1b[31mred", "a\u202eb", "\udce9"  # a terminal's, one that turns the direction, no text at all
ODD = {"unicode": "½ñ漢", "very long": LONG, "control": f"a{ESCAPE}", "turned": TURN, "no text": HALF}


class Input(NamedTuple):
    """One bad input: which option it is about, of which kind, the words that are typed, what must happen."""

    option: str
    kind: str
    words: tuple[str, ...]
    expected: str
    command: str = "main"


def of_option(name: str, option: Option) -> Iterator[Input]:
    """Bad values of an option, and misspelt names of it."""
    if option.default is False or option.default is True:
        values = _of_switch()
    elif isinstance(option.default, int | float):
        values = _of_number(option.default, option.limit)
    elif isinstance(option.default, str):
        values = _of_text(option.limit, option.default)
    elif isinstance(option.default, list):
        values = _of_list(option.limit)
    else:
        values = _of_dictionary()
    for kind, text in values:
        yield Input(name, kind, (f"{name}={text}",), REFUSED)
    if not isinstance(option.default, dict):
        yield Input(name, "entry", (f"{name}.part=1",), REFUSED)
    yield Input(name, "twice", (f"{name}={option.default}", f"{name}={option.default}"), REFUSED)


def of_name(name: str, known: set[str]) -> Iterator[Input]:
    """Misspelt names of an option."""
    spelt = {"letter lost": name[:-1], "letters swapped": name[:1] + name[2:3] + name[1:2] + name[3:]}
    spelt |= {"upper case": name.upper(), "hyphen": name.replace("_", "-") + "-", "letter doubled": name + name[-1]}
    spelt |= {"odd letter": name + "ñ", "very long name": name + LONG, "no name": ""}
    for kind, wrong in spelt.items():
        if wrong not in known:
            yield Input(name, f"name: {kind}", (f"{wrong}=1",), REFUSED)


def _of_number(default: float, limit: Any) -> Iterator[tuple[str, str]]:
    yield "empty", ""
    yield "word", "three"
    yield "switch", "True"
    yield "nothing", "None"
    yield "nan", "nan"
    yield "list", "[1, 2]"
    yield "nested dictionary", "{'a': {'b': [1]}}"
    yield "infinite", "1e999"
    yield "minus infinite", "-1e999"
    yield "many digits", "9" * 4000
    yield "too many digits", "9" * 6000
    yield "two numbers", "1 2"
    yield "sum", "1 +"
    yield "call", "__import__('os').getcwd()"
    yield "other digits", "３"
    if isinstance(default, int):
        yield "fraction", "2.5"
        yield "whole as fraction", "2.0"
    if isinstance(limit, Between):
        least = 1 if isinstance(default, int) else 1e-6 + abs(limit.low) * 1e-9
        most = 1 if isinstance(default, int) else 1e-6 + abs(limit.high) * 1e-9
        yield "below", repr(limit.low - least)
        yield "above", repr(limit.high + most)
        yield "far below", "-1e30" if isinstance(default, float) else str(-(10**30))
        yield "far above", "1e30" if isinstance(default, float) else str(10**30)
    yield from ODD.items()


def _of_switch() -> Iterator[tuple[str, str]]:
    yield from {
        "empty": "", "lower case": "true", "word": "yes", "number": "1", "nought": "0", "nothing": "None",
        "list": "[True]", "dictionary": "{'a': True}", "misspelt": "Flase", **ODD,
    }.items()  # fmt: skip


def _of_text(limit: Any, default: str) -> Iterator[tuple[str, str]]:
    yield from _no_text()
    if not isinstance(limit, OneOf):
        yield from {name: ODD[name] for name in ("control", "turned", "no text")}.items()
        return
    names = [str(name) for name in (limit.names() if callable(limit.names) else limit.names)]
    for kind, wrong in {
        "letter lost": default[:-1], "letter doubled": default + default[-1:], "upper case": default.upper(),
        "of another option": "sometimes", "with a space": f"{default} x", "two names": ",".join(names[:2]),
        "path": "../" + default, "empty": "", "space": " ", **ODD,
    }.items():  # fmt: skip
        if wrong.strip() not in names:
            yield kind, wrong
    for kind, wrong in ((f"not to be had: {name}", name) for name in limit.but):
        yield kind, wrong
    if limit.prefix:
        yield "prefix alone", limit.prefix
        yield "prefix and nonsense", f"{limit.prefix}no_such_network"
        yield "prefix and a very long name", f"{limit.prefix}{LONG}"


def _no_text() -> Iterator[tuple[str, str]]:
    """What Python reads as something else."""
    yield from {
        "number": "3", "fraction": "2.5", "switch": "True", "nothing": "None", "list": "['a']", "bytes": "b'a'",
        "nested dictionary": "{'a': {'b': 1}}", "set": "{1, 2}", "complex": "1j", "many digits": "9" * 4000,
    }.items()  # fmt: skip


def _of_list(limit: Any) -> Iterator[tuple[str, str]]:
    yield from {
        "empty": "", "word": "three", "number": "3", "nothing": "None", "dictionary": "{'a': 1}", "words": "['a', 'b']",
        "nested": "[[1], [2]]", "switches": "[True, False]", "infinite": "[1, 1e999]", "not closed": "[1, 2", **ODD,
        "very long list": repr([-1.0] * 3000),
    }.items()  # fmt: skip
    if isinstance(limit, Numbers):
        yield "below", repr([limit.low - 1])
        yield "above", repr([limit.high * 2 + 1])
        if limit.count:
            yield "too many", repr([limit.low + i for i in range(1, limit.count + 2)])
            yield "none", "[]"
        if limit.rising:
            yield "falling", repr([limit.low + 2, limit.low + 1])


def _of_dictionary() -> Iterator[tuple[str, str]]:
    yield from {
        "empty": "", "word": "three", "number": "3", "nothing": "None", "list": "[1]", "numbers as names": "{1: 2}",
        "unknown entry": "{'no_such_entry': 1}", "nested": "{'no_such_entry': {'b': {'c': 1}}}", "no name": "{'': 1}",
        "tag": "{'py/object': 'os.system'}", "dot": "{'a.b': 1}", "control": repr({ESCAPE: 1}), "very long": f"{{'{LONG}': 1}}",
        "not closed": "{'a': 1", "of tuples": "{(1, 2): 3}", "unicode": "{'½': 1}",
    }.items()  # fmt: skip


def is_literal(text: str) -> bool:
    """Whether Python reads it as a value, so that it is no text."""
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return False
    return True
