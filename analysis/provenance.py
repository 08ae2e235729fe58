"""Where runs came from: the command lines, machines and versions that Sacred wrote down."""

from __future__ import annotations

import ast
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from analysis.records import Source, read
from experiments.tracking.options import CHOOSING, WHERE

Document = Mapping[str, Any]  # what Sacred stores of a run, and its options as "config"
PACKAGES = ("torch", "torchvision", "numpy", "sacred")


def documents(source: Source) -> dict[int, Document]:
    """Sacred's record of every readable run by its number; `analysis.runs.load` names the others.

    Raises as `analysis.records.read`.
    """
    return {record.run_id: record.document for record in read(source).records}


def command_line(document: Document) -> str:
    """The command that made a run, to be typed in the project's folder.

    The words are those that were typed; a run that another program started is described by its presets and changed
    options.
    """
    experiment, meta = document["experiment"], document.get("meta") or {}
    typed = (meta.get("options") or {}).get("UPDATE")
    words = (
        list(typed) if typed else [*(meta.get("named_configs") or ()), *_assignments(meta.get("config_updates") or {})]
    )
    command = [document["command"]] if document["command"] != "main" else []
    script = experiment.get("mainfile") or f"experiments/{experiment['name']}.py"
    return shlex.join(["python", script, *command, *(["with", *map(str, words)] if words else [])])


def _assignments(updates: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, value in updates.items():
        if isinstance(value, Mapping) and value:
            yield from _assignments(value, f"{before}{name}.")
        else:
            yield f"{before}{name}={_literal(value)}"


def _literal(value: Any) -> str:
    """As Sacred reads it back: text stands for itself unless it would be read as something else."""
    if not isinstance(value, str):
        return repr(value)
    try:
        ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value or repr(value)
    return repr(value)


def presets(documents: Iterable[Document]) -> list[str]:
    """The presets that were named, in alphabetical order."""
    return sorted(
        {str(name) for document in documents for name in (document.get("meta") or {}).get("named_configs") or ()}
    )


def environments(documents: Iterable[Document]) -> list[tuple[dict[str, str], int]]:
    """The different surroundings of the runs, each with the number of runs, most first.

    They are software, system, processor, threads, accelerators and code.
    """
    counted = Counter(tuple(_environment(document).items()) for document in documents)
    return [(dict(items), count) for items, count in counted.most_common()]


def _environment(document: Document) -> dict[str, str]:
    host, experiment = document.get("host") or {}, document["experiment"]
    split = [str(package).partition("==") for package in experiment.get("dependencies") or ()]
    versions = {name: version for name, _, version in split}
    cards = [str(card.get("model", "unknown")) for card in (host.get("gpus") or {}).get("gpus", ())]
    known = host.get("code") or {}
    places = [known] if known.get("commit") else experiment.get("repositories") or ()  # as earlier versions kept it
    code = {(str(r["commit"])[:10], bool(r["dirty"])) for r in places}
    return {
        "python": str(host.get("python_version", "unknown")),
        **{name: versions.get(name, "unknown") for name in PACKAGES},
        "system": str((host.get("os") or ["unknown"])[-1]),
        "processor": str(host.get("cpu", "unknown")),
        "threads": str(host.get("threads", "unknown")),
        "accelerators": ", ".join(f"{n} x {card}" for card, n in sorted(Counter(cards).items())) or "none",
        "code": ", ".join(commit + (" with changes" if dirty else "") for commit, dirty in sorted(code)) or "unknown",
    }


def same_recipe(supervised: Mapping[str, Any], runs: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a run on all labels has the data and training of one of `runs`: the options that choose no images."""
    ours = _recipe(supervised)
    return any(_recipe(config) == ours for config in runs)


def _recipe(config: Mapping[str, Any]) -> dict[str, Any]:
    aside = WHERE | CHOOSING | {"run", "seed"}
    return {name: value for name, value in config.items() if name not in aside}
