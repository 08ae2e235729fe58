"""Where runs came from: the command lines, machines and versions that Sacred wrote down."""

from __future__ import annotations

import ast
import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from analysis.stored import BROKEN, PATIENCE, is_mongo, run_folders
from experiments.tracking.checkpoints import CHOOSING, WHERE
from experiments.tracking.mongo import open_database

Document = Mapping[str, Any]  # what Sacred stores of a run, and its options as "config"
PACKAGES = ("torch", "torchvision", "numpy", "sacred")
FIELDS = ("status", "command", "experiment", "host", "meta", "config", "start_time", "stop_time")


def documents(source: str | Path) -> dict[int, Document]:
    """Sacred's record of every readable run by its number, from a runs folder or a `mongodb://` address; `analysis.runs` names the others.

    Raises FileNotFoundError without the folder.
    """
    if is_mongo(source):
        stored = open_database(str(source), PATIENCE)["runs"].find({}, dict.fromkeys(FIELDS, 1))
        return {record["_id"]: record for record in stored if isinstance(record["_id"], int) and _is_whole(record)}
    found = {}
    for folder in run_folders(Path(source)):
        try:
            run, config = (json.loads((folder / name).read_bytes()) for name in ("run.json", "config.json"))
            record = {name: run.get(name) for name in FIELDS} | {"config": config}
        except BROKEN:
            continue
        if _is_whole(record):
            found[int(folder.name)] = record
    return found


def _is_whole(record: Document) -> bool:
    """Whether a record has what all runs have; other programs may keep theirs in the same place."""
    experiment, config = record.get("experiment"), record.get("config")
    texts = (record.get("status"), record.get("command"))
    return isinstance(experiment, dict) and "name" in experiment and isinstance(config, dict) and all(isinstance(t, str) for t in texts)


def command_line(document: Document) -> str:
    """The command that made a run, to be typed in the project's folder.

    The words are those that were typed; a run that another program started is described by its presets and changed options.
    """
    experiment, meta = document["experiment"], document.get("meta") or {}
    typed = (meta.get("options") or {}).get("UPDATE")
    words = list(typed) if typed else [*(meta.get("named_configs") or ()), *_assignments(meta.get("config_updates") or {})]
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
    return sorted({str(name) for document in documents for name in (document.get("meta") or {}).get("named_configs") or ()})


def environments(documents: Iterable[Document]) -> list[tuple[dict[str, str], int]]:
    """The different surroundings of the runs, each with the number of runs, most first: software, system, processor, threads,
    accelerators, code."""
    counted = Counter(tuple(_environment(document).items()) for document in documents)
    return [(dict(items), count) for items, count in counted.most_common()]


def _environment(document: Document) -> dict[str, str]:
    host, experiment = document.get("host") or {}, document["experiment"]
    split = [str(package).partition("==") for package in experiment.get("dependencies") or ()]
    versions = {name: version for name, _, version in split}
    cards = [str(card.get("model", "unknown")) for card in (host.get("gpus") or {}).get("gpus", ())]
    code = {(str(r["commit"])[:10], bool(r["dirty"])) for r in experiment.get("repositories") or ()}
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
    """Whether a run on all labels has the data and training of one of `runs`: all options that choose no images, have the same values."""
    ours = _recipe(supervised)
    return any(_recipe(config) == ours for config in runs)


def _recipe(config: Mapping[str, Any]) -> dict[str, Any]:
    aside = WHERE | CHOOSING | {"run", "seed"}
    return {name: value for name, value in config.items() if name not in aside}
