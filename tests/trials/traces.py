"""All that a study leaves and that must not depend on how often it was killed; and what must not be left at all."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from data.cache import damage_of
from data.files import LEFT

TIMED = ("_seconds", "_share", "seconds")  # endings of columns that measure the machine
DELIVERED = ("picks.npy", "picks.csv", "confusion.csv", "froc.npy", "advice.json")  # the same to the last bit
ASIDE = ("holder", "lock")


def traces_of(folder: Path) -> dict[str, Any]:
    """Name -> content of everything that matters below a trial's folder."""
    found: dict[str, Any] = {"completed": _completed(folder / "runs")}
    for file in sorted((folder / "runs" / "resume").glob("*/state.json")):
        key, state = file.parent.name, json.loads(file.read_text())
        found[f"{key} state"] = _stateless(state)
        found |= _of_record(key, folder / "runs" / state["finished_by"]) if state["finished_by"] else {}
        found |= {f"{key} {model.name}": _tensors(model) for model in file.parent.glob("*.pt")}
    for file in sorted(folder.glob("out/state.json")):
        found["study"] = _stateless(json.loads(file.read_text()))
        found |= {f"study {model.name}": _tensors(model) for model in file.parent.glob("*.pt")}
        listed = [each for kept in file.parent.glob("[rp]*") for each in kept.rglob("*") if each.is_file()]
        found |= {f"study {each.relative_to(file.parent)}": _content(each) for each in listed}
    return found


def difference(expected: dict[str, Any], found: dict[str, Any]) -> str:
    """What differs, in words; '' where all is equal to the last bit."""
    missing, more = expected.keys() - found.keys(), found.keys() - expected.keys()
    if missing or more:
        return f"missing {sorted(missing)}, beyond {sorted(more)}"
    differ = [name for name in expected if repr(expected[name]) != repr(found[name])]
    return "; ".join(f"{name} differs: {_first(expected[name], found[name])}" for name in differ)


def left_behind(folder: Path) -> list[Path]:
    """Temporary files and folders of processes that were killed."""
    building = re.compile(r"\..+-[a-z0-9_]{8}")  # a folder of `data.cache`, before it has its name
    return [
        each
        for each in folder.rglob(".*")
        if LEFT.fullmatch(each.name) or building.fullmatch(each.name) or each.name.startswith((".round_", ".predict"))
    ]


def locks_held(folder: Path) -> list[Path]:
    """Locks that nobody can take, although no process of the trial is left."""
    held = []
    for file in (each for each in folder.rglob("*lock") if each.is_file()):
        try:
            with FileLock(file, timeout=0):
                pass
        except Timeout:
            held.append(file)
    return held


def damaged(folder: Path) -> list[str]:
    """What is wrong with the decoded images, every byte of which is read."""
    wholes = [each for each in (folder / "cache").rglob("*") if each.is_dir() and (each / "whole.json").exists()]
    return [f"{each.name}: {damage}" for each in wholes if (damage := damage_of(each, fully=True))]


def _first(expected: Any, found: Any) -> str:
    """Where two values begin to differ."""
    one, two = repr(expected), repr(found)
    at = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    return f"...{one[max(0, at - 60) : at + 60]}... is ...{two[max(0, at - 60) : at + 60]}..."


def _completed(runs: Path) -> list[tuple[str, str]]:
    """Command and result of each record that says COMPLETED; an evaluation may be repeated, and counts once."""
    records = [json.loads(record.read_text()) for record in runs.glob("[0-9]*/run.json")]
    found = sorted((run["command"], repr(run["result"])) for run in records if run["status"] == "COMPLETED")
    return [pair for i, pair in enumerate(found) if pair[0] != "evaluate" or pair not in found[:i]]


def _of_record(key: str, record: Path) -> dict[str, Any]:
    curve = np.load(record / "curve.npy")
    untimed = [name for name in curve.dtype.names if not name.endswith(TIMED)]
    metrics = json.loads((record / "metrics.json").read_text())
    kept = {name: [m["values"], m["steps"]] for name, m in metrics.items() if not name.endswith(TIMED)}
    there = {name: _checksum(record / name) for name in DELIVERED if (record / name).exists()}
    return {f"{key} curve": curve[untimed].tolist(), f"{key} metrics": kept, f"{key} files": there}


def _stateless(state: dict[str, Any]) -> dict[str, Any]:
    """A state without what names a record or measures the machine."""
    rows = [{n: v for n, v in row.items() if not n.endswith(TIMED)} for row in state["curve"]]
    without = ("curve", "finished_by", "finished_start", "delivered", "weights")
    return {**{name: value for name, value in state.items() if name not in without}, "rows": rows}


def _tensors(file: Path) -> str:
    """Digest of all numbers in a file of weights."""
    digest = hashlib.sha256()

    def take(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, each in value.items():
                take(f"{name}.{key}", each)
        elif isinstance(value, torch.Tensor):
            digest.update(f"{name} {value.dtype}".encode() + value.detach().contiguous().numpy().tobytes())
        else:
            digest.update(f"{name} {value!r}".encode())

    take("", torch.load(file, weights_only=True, map_location="cpu"))
    return digest.hexdigest()


def _content(file: Path) -> Any:
    """What a file of a list holds, without what measures the machine where it is a state."""
    return _stateless(json.loads(file.read_text())) if file.name == "state.json" else _checksum(file)


def _checksum(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
