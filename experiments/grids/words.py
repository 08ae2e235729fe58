"""The words of a grid: values with commas and ranges, and every combination of them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from data.names import Refused, suggestion
from experiments.tracking.options import TABLES
from experiments.tracking.pretrain_options import ALL

COMMANDS = ("main", "supervised")  # those that know a finished run; without labels the first
MOST = 10_000  # command lines
BRACKETS = {"(": ")", "[": "]", "{": "}"}
NUMBER = r"\s*[-+.]?\d[\d.e+-]*\s*"


def split_values(text: str) -> list[str]:
    """Split at commas that stand in no bracket and no quotes; Refused where one is left open or a value is empty."""
    pieces, closing = [""], list[str]()
    for token in re.findall(
        r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|.""", text, re.DOTALL
    ):  # a whole quotation or one letter
        if token in ("'", '"'):
            raise Refused(f"{text!r} lacks a closing {token}")
        if token == "," and not closing:
            pieces.append("")
            continue
        if token in BRACKETS:
            closing.append(BRACKETS[token])
        elif closing and token == closing[-1]:
            closing.pop()
        pieces[-1] += token
    if closing:
        raise Refused(f"{text!r} lacks a closing {closing[-1]}")
    if "" in pieces and len(pieces) > 1:
        raise Refused(f"{text!r} has an empty value beside a comma")
    return pieces


def values_of(word: str) -> list[str]:
    """The words that one word of a grid stands for: `run=0..2` is run=0, run=1, run=2; a preset is itself."""
    name, equals, text = word.partition("=")
    if not equals:
        return split_values(word)
    values: list[str] = []
    for piece in split_values(text):
        whole = re.fullmatch(r"(-?\d+)\.\.(-?\d+)", piece)
        if whole is None and re.fullmatch(rf"{NUMBER}\.\.[^/]*|[^/]*\.\.{NUMBER}", piece):
            right = f"write whole numbers on both sides, like {name}=0..4, and text in quotes"
            raise Refused(f"{name}={piece} is no range: {right}")
        if whole is None:
            values.append(piece)
            continue
        first, last = int(whole[1]), int(whole[2])
        if first > last:
            raise Refused(f"{name}={piece} counts down; write {name}={last}..{first}")
        if last - first >= MOST:
            raise Refused(f"{name}={piece} are {last - first + 1} values, more than the {MOST} of a grid")
        values += map(str, range(first, last + 1))
    return [f"{name}={value}" for value in dict.fromkeys(values)]


def expand(words: Sequence[str]) -> list[tuple[str, ...]]:
    """Every combination of the values of all words; the last word changes fastest. Refused for one given twice."""
    given: dict[str, list[str]] = {}
    for name, equals, text in (word.partition("=") for word in words):
        if equals:
            given.setdefault(name.strip(), []).append(text)
    for name, texts in given.items():
        if len(texts) > 1:
            at_once = f"{name}={','.join(texts)}"
            raise Refused(f"{name} is given {len(texts)} times; write all its values at once: {at_once}")
    columns = [values_of(word) for word in words]
    count = math.prod(map(len, columns))
    if count > MOST:
        raise Refused(f"these are {count} command lines, more than the {MOST} of a grid")
    return list(product(*columns))


def parse(words: Sequence[str]) -> tuple[str, str, list[str]]:
    """Script, command and the words after `with`. Raises Refused with the nearest name."""
    end = words.index("with") if "with" in words else len(words)
    script, command, *more = [*words[:end], "main"]
    script = Path(script).stem  # experiments/segment.py is segment
    if script not in ALL:
        raise Refused(f"unknown script {script!r}.{suggestion(script, ALL)} Known: {', '.join(sorted(ALL))}")
    known = COMMANDS if script in TABLES else COMMANDS[:1]
    if command not in known or len(more) > 1:
        hint = suggestion(command, known) if "with" in words else " Presets and options come after the word `with`."
        raise Refused(f"unknown command {command!r}.{hint} Known: {', '.join(known)}")
    return script, command, list(words[end + 1 :])
