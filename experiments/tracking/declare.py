"""An option is declared once: its default, what it may be, its sentence, and what it decides.

From the declarations come Sacred's configuration with its comments, the check of a command line, and the key of a run.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sacred.config.config_summary import ConfigSummary

from data.files import under_root
from data.limits import Limit, check_value
from data.names import Missing, Refused, suggestion
from experiments.tracking.formerly import INSTEAD, by_todays_options

RESULT = "result"  # another value, another result
CHOICE = "choice"  # what is labelled next: training once on everything does not depend on it
NOTHING = "nothing"  # where and how to run, not what: a run may be resumed with another value
SUITED, QUICK = "suited", "quick"  # words in place of the value of an option that is taken from the data


@dataclass(frozen=True)
class Option:
    """One option of a script."""

    default: Any
    meaning: str  # one sentence, shown by `print_config`
    limit: Limit | None = None
    decides: str = RESULT
    # options of earlier versions -> the dataset that they were for, and the entry of this one that they are now
    formerly: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    suitable: bool = False  # whether it may be taken from the data, see `tracking.suited`


Options = Mapping[str, Option]
Values = dict[str, Any]
Preset = tuple[str, Mapping[str, Any]]  # a sentence, and the options that it sets


def with_defaults(options: Options, **defaults: Any) -> dict[str, Option]:
    """The same options, some with other defaults."""
    return {**options, **{name: replace(options[name], default=value) for name, value in defaults.items()}}


def suitable(options: Options, *names: str) -> dict[str, Option]:
    """The same options, of which these may be taken from the data."""
    return {**options, **{name: replace(options[name], suitable=True) for name in names}}


def names_that_decide(options: Options, *kinds: str) -> frozenset[str]:
    """The options that decide one of these kinds."""
    return frozenset(name for name, option in options.items() if option.decides in kinds)


def resolve(options: Options, presets: Mapping[str, Preset], words: Sequence[str]) -> Values:
    """The value of every option, from the words of a command line after `with`.

    Presets and files are taken in their order, then name=value. Naming another dataset forgets the options of the one
    before. `dataset_options={}` and `heuristic_options={}` clear what presets set. `seed` follows `run` unless it was
    typed. Raises Refused for an unknown name or file, for a value without a name, and for what is typed twice.
    """
    typed: dict[str, str] = {}
    named: list[str] = []
    for word in words:
        name, equals, text = (part.strip() for part in word.partition("="))
        if equals and not name:
            raise Refused(f"{word!r} names no option: expected name=value, such as run=3")
        if not equals:
            named.append(name)
        elif name in typed:
            raise Refused(f"{name} is given twice: {name}={typed[name]} and {name}={text}")
        else:
            typed[name] = text
    chosen: list[tuple[str, Any]] = []
    for name in named:
        chosen += preset(options, presets, name).items()
    return settle(options, chosen, {name: literal(name, text) for name, text in typed.items()})


def settle(options: Options, chosen: Iterable[tuple[str, Any]], typed: Mapping[str, Any]) -> Values:
    """Every option's value: its default, then what presets chose in order, then what was typed (a dot for entries)."""
    values: Values = {
        name: dict(o.default) if isinstance(o.default, dict) else o.default for name, o in options.items()
    }
    for name, value in chosen:
        _set(options, values, name, value, merge=True)
    for name, value in sorted(typed.items(), key=lambda item: ("." in item[0], item[0] != "dataset")):
        _set(options, values, name, value, merge=False)
    if "seed" not in typed:
        values["seed"] = values["run"]
    return values


def check(options: Options, values: Mapping[str, Any]) -> None:
    """Refused for an unknown option, and for a value of the wrong type, name or range."""
    for name, value in values.items():
        if name not in options:
            raise Refused(f"unknown option {name!r}.{suggestion(name, options)} All options: print_config")
        option = options[name]
        default = option.default
        if option.suitable and isinstance(value, str) and value in (SUITED, QUICK):
            continue
        if (type(value), value) != (type(default), default):  # names of a default's table need not be imported
            check_value(name, value, default, option.limit)


def literal(name: str, text: str) -> Any:
    """A value as it is typed: a Python literal where it is one, else the text itself; nothing is ever executed."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        value = text
    if name in ("run", "seed") and (type(value) is not int or str(value) != text):
        raise Refused(f"{name}={text}: expected a whole number such as {name}=3")
    return value


class Configuration:
    """The declarations as Sacred's configuration: values by default, sentences as comments."""

    def __init__(self, options: Options):
        self.options = options

    def __call__(self, fixed: Any = None, preset: Any = None, fallback: Any = None) -> ConfigSummary:
        given = dict(fixed or {})
        values = settle(self.options, (), {})
        added = {name for name in given if name not in values}
        modified = {name for name in given if name in values and given[name] != values[name]}
        summary = ConfigSummary(added, modified, docs={name: option.meaning for name, option in self.options.items()})
        summary.update({**values, **given})
        return summary


def _set(options: Options, values: Values, name: str, value: Any, merge: bool) -> None:
    whole, dot, entry = name.partition(".")
    if whole in (new := renamed(options)):
        raise Refused(f"option {whole!r} has another name now: {new[whole]}={value}")
    if whole not in options and whole in INSTEAD and "unlabelled" in options:
        raise Refused(f"option {whole!r} is another one now: use {INSTEAD[whole]}")
    if whole not in options:
        raise Refused(f"unknown option {whole!r}.{suggestion(whole, options)} All options: print_config")
    if name == "dataset" and value != values[name]:
        values["dataset_options"] = {}
    if not dot:
        values[name] = {**values[name], **value} if merge and isinstance(value, Mapping) else value
    elif not isinstance(values[whole], dict):
        raise Refused(f"{name}: option {whole!r} has no entries; write {whole}={options[whole].default!r}")
    else:
        values[whole] = {**values[whole], entry: value}


def preset(options: Options, presets: Mapping[str, Preset], name: str) -> Mapping[str, Any]:
    """The options that a preset sets, or a configuration file of that name."""
    file = under_root(name)
    if name in presets:
        found = presets[name][1]
    elif file.suffix == "" and not file.exists():
        raise Refused(f"unknown preset {name!r}.{suggestion(name, presets)} Known: {', '.join(presets)}")
    else:
        found = by_new_names(options, read_configuration(file))
    # The dataset first: naming it forgets the options of another.
    return dict(sorted(found.items(), key=lambda item: item[0] != "dataset"))


def renamed(options: Options) -> dict[str, str]:
    """Options of earlier versions -> what they are called now."""
    return {old: f"{name}.{entry}" for name, o in options.items() for old, (_, entry) in o.formerly.items()}


def by_new_names(options: Options, found: Mapping[str, Any]) -> Values:
    """What a file sets, where options of earlier versions count only for the dataset that they were for."""
    todays = by_todays_options(found)
    values = {name: value for name, value in todays.items() if name not in renamed(options)}
    dataset = found.get("dataset", options["dataset"].default)
    for name, option in options.items():
        taken = {entry: found[old] for old, (of, entry) in option.formerly.items() if old in found and of == dataset}
        if taken:
            values[name] = taken | values.get(name, {})
    return values


def read_configuration(file: Path) -> Values:
    """The options that a JSON file sets, such as a run's config.json, but for `seed`: the seed follows `run`.

    Nothing in it is ever executed: pickles, and JSON with the tags of jsonpickle, are refused.
    """
    if file.suffix != ".json":
        raise Refused(
            f"{file} is no configuration file: expected JSON, ending in .json, such as the config.json of a run"
        )
    if not file.is_file():
        raise Missing(f"there is no configuration file {file}")
    try:
        found = json.loads(file.read_text(encoding="utf-8-sig"), object_pairs_hook=_plain(file))
    except (ValueError, RecursionError) as error:
        if isinstance(error, Refused):
            raise
        raise Refused(f"{file} is no JSON ({error}); comments are not allowed in it") from None
    except OSError as error:
        raise Missing(f"{file} cannot be read: {error.strerror}") from None
    if not isinstance(found, dict):
        raise Refused(
            f'{file} holds a {type(found).__name__}, expected an object of options, like {{"heuristic": "bald"}}'
        )
    return {name: value for name, value in found.items() if name != "seed"}


def _plain(file: Path) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        for name, _ in items:
            if name.startswith(("py/", "json://")):
                raise Refused(
                    f"{file} holds {name!r}, which would make Python objects of a file: only plain values are read"
                )
        return dict(items)

    return pairs
