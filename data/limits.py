"""What a value may be: ranges and choices that stand beside a parameter or an option, and one check for all of them.

def probcover(..., delta: Annotated[float, Between(0, 1e9)] = 0.0)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from data.names import Refused, require_one_of, suggestion

WORDS = {int: "a whole number", float: "a number", bool: "True or False", str: "text", dict: "a dictionary"}
WORDS |= {list: "a list", tuple: "a list"}


@dataclass(frozen=True)
class Between:
    """A number from `low` to `high`, both included."""

    low: float | int
    high: float | int

    def check(self, name: str, value: Any) -> None:
        if not self.low <= value <= self.high:
            raise Refused(f"{name}={value!r} must be between {self.low:g} and {self.high:g}")


@dataclass(frozen=True)
class OneOf:
    """One of some names; a function gives them where their table is expensive to import.

    What begins with `prefix` is checked where it is used.
    """

    names: Iterable[object] | Callable[[], Iterable[object]]
    but: Mapping[str, str] = field(default_factory=dict)  # names that people know and that cannot be had, and why
    prefix: str = ""

    def check(self, name: str, value: Any) -> None:
        if self.prefix and value.startswith(self.prefix):
            return
        if value in self.but:
            raise Refused(self.but[value])
        where, _, option = name.rpartition(": ")
        known = [*(self.names() if callable(self.names) else self.names)]
        require_one_of(option, value, [*known, *([f"{self.prefix}<name>"] if self.prefix else [])], where)


@dataclass(frozen=True)
class Numbers:
    """A list of numbers from `low` to `high`: of any length or `count`, in any order or `rising`, `whole` or not."""

    low: float | int
    high: float | int
    count: int = 0
    rising: bool = False
    whole: bool = False

    def check(self, name: str, value: Any) -> None:
        kind = int if self.whole else int | float
        numbers = [v for v in value if isinstance(v, kind) and not isinstance(v, bool) and self.low <= v <= self.high]
        ordered = not self.rising or all(a < b for a, b in zip(numbers, numbers[1:], strict=False))
        if len(numbers) < len(value) or not ordered or (self.count and len(numbers) != self.count):
            many = f"{self.count} " if self.count else ""
            sort = f"{'rising ' if self.rising else ''}{'whole ' if self.whole else ''}numbers"
            raise Refused(f"{name}={value!r} must be a list of {many}{sort} between {self.low:g} and {self.high:g}")


Limit = Between | OneOf | Numbers


def check_value(name: str, value: Any, default: Any, limit: Limit | None) -> None:
    """Refused where the value has not the type of its default or is outside its limit.

    A default of None stands for a list that may be left out.
    """
    kind = list if default is None else type(default)
    if default is None and value is None:
        return
    whole = isinstance(value, int) and not isinstance(value, bool)
    number = whole or (isinstance(value, float) and value == value)
    fits = {int: whole, float: number, list: isinstance(value, list | tuple), tuple: isinstance(value, list | tuple)}
    if not fits.get(kind, isinstance(value, kind)):
        like = "" if default is None else f", like {default!r}"
        raise Refused(f"{name}={value!r} must be {WORDS[kind]}{like}")
    for text in [value] if kind is str else list(value) if isinstance(value, dict) else []:
        if not isinstance(text, str) or not text.isprintable():
            raise Refused(f"{name}={value!r} must be {WORDS[kind]}, and {text!r} is no text that can be printed")
        if kind is dict and (text.startswith(("$", "py/", "json://")) or set(text) & set(".=")):
            rule = "a name of an entry has no '.' or '=', and does not start with '$', 'py/' or 'json://'"
            raise Refused(f"{name}.{text}: {rule}")
    if limit is not None:
        limit.check(name, value)


def options_of(function: Callable[..., Any], without: Iterable[str] = ()) -> dict[str, tuple[Any, Limit | None]]:
    """The parameters of a function that have a default, each with its default and the limit in its annotation."""
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    found = {
        p.name: (p.default, p.annotation) for p in parameters if p.default is not p.empty and p.name not in set(without)
    }
    return {name: (default, _limit(annotation)) for name, (default, annotation) in found.items()}


def check_options(owner: str, known: Mapping[str, tuple[Any, Limit | None]], chosen: Mapping[str, Any]) -> None:
    """Refused for an option that `owner` has not, or a value that it cannot have."""
    for name, value in chosen.items():
        if name not in known:
            listed = ", ".join(known) or "none"
            raise Refused(f"{owner} has no option {name!r}.{suggestion(name, known)} Its options: {listed}")
        check_value(f"{owner}: {name}", value, *known[name])


def _limit(annotation: Any) -> Limit | None:
    return next((part for part in get_args(annotation) if isinstance(part, Limit)), None)
