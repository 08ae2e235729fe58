"""Record runs as one tidy frame, from a runs folder or from MongoDB; and what they picked."""

from __future__ import annotations

import csv
import io
import json
import warnings
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.copies import told, without_copies
from analysis.curves import SECONDS
from analysis.records import BROKEN, STATUSES, Curves, Record, Records, Source, answering, read, reason_of
from data.names import Refused, suggestion
from experiments.tracking.checkpoints import run_key

FIRST = ["run_id", "status", "task", "dataset", "heuristic", "run", "seed"]
TAKEN = (
    "run_id",
    "status",
    "task",
    "dataset",
    "n_labelled",
    "n_spent",
    "metric",
    "value",
)  # by columns; an option of this name becomes option_<name>
INITIAL = -1  # the cycle of the images that were labelled before the first training


def load(
    source: Source,
    *,
    task: str | None = None,
    dataset: str | None = None,
    command: str = "main",
    statuses: Collection[str] | None = ("COMPLETED",),
    ids: Collection[int] | None = None,
    newest: bool = False,
    metrics: Collection[str] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """All measurements of the chosen runs, one row for each run, number of labelled images and metric.

    `source` is a runs folder, a `mongodb://` address, or what `analysis.records.read` made of one. Columns: run_id,
    status, task, dataset, heuristic, run, seed, all other options (nested ones as JSON; the options `metric` and
    `dataset` as option_metric, option_dataset), n_labelled, n_spent, metric, value; rows are sorted by run and metric.
    `n_spent` is how many images had a label by then, `n_labelled` the budget that curves are compared at: more where a
    run of whole volumes left some unspent. One's own data are named by their folder. Options choose runs:
    `load("runs", task="segment", heuristic=["bald", "random"], lr=0.01)`, as do `ids`. `statuses=None` takes runs of
    any status; one that says RUNNING without a heartbeat for two minutes is DEAD. `newest` takes the newest of equal
    runs. Copies of a run (`analysis.copies`) count once; they are one warning, and `frame.attrs["copies"]` maps the run
    that counts to them. Records that cannot be read are one warning each, and stand in `frame.attrs["damaged"]`.

    Raises ValueError where nothing is found, where equal runs or completed runs with different budgets would be mixed,
    or for an unknown option, status or metric; FileNotFoundError without the folder; ConnectionError where MongoDB does
    not answer.
    """
    with answering():
        chosen, copies, damaged, reader = _choose(source, task, dataset, command, statuses, ids, newest, options)
        curves = reader.curves(chosen, None if metrics is None else [*metrics, "n_labelled"], damaged)
        measured = {name for curve in curves.values() for name in curve}
        for name in set(metrics or ()) - measured:
            known = {known for curve in reader.curves(chosen, None, {}).values() for known in curve}
            raise Refused(f"no run has metric {name!r}.{suggestion(name, known)}")
    chosen = [stored for stored in chosen if stored.run_id in curves]
    if not chosen:
        _report(damaged)
        raise Refused(
            f"all runs that match are damaged: {', '.join(sorted(damaged, key=lambda name: (len(name), name)))}"
        )
    given = {stored.run_id: _given(stored, curves[stored.run_id]) for stored in chosen}
    curves = {stored.run_id: _at_budgets(curves[stored.run_id], given[stored.run_id]) for stored in chosen}
    _refuse_mixed_budgets(chosen, curves)
    _report(damaged, copies)
    frame = _long(chosen, curves, given)
    frame.attrs |= {"damaged": damaged, "copies": copies}
    return frame


def load_picks(
    source: Source,
    *,
    task: str | None = None,
    dataset: str | None = None,
    command: str = "main",
    statuses: Collection[str] | None = ("COMPLETED",),
    ids: Collection[int] | None = None,
    newest: bool = False,
    **options: Any,
) -> pd.DataFrame:
    """All images that the chosen runs labelled, in order: run_id, heuristic, run, cycle, index, file, score.

    `cycle` is the one after whose training an image was picked, -1 for the initial set; `index` counts in the whole
    dataset; `score` is NaN where there is none. Chooses, reports and raises as `load` does.
    """
    with answering():
        chosen, copies, damaged, reader = _choose(source, task, dataset, command, statuses, ids, newest, options)
        tables = list(reader.picks(chosen, damaged))
    rows: list[tuple] = []
    for stored, text in tables:
        try:
            picked = list(csv.DictReader(io.StringIO(text)))
            head = (stored.run_id, str(stored.config["heuristic"]), int(stored.config["run"]))
            rows += [
                (
                    *head,
                    INITIAL if p["cycle"] == "initial" else int(p["cycle"]),
                    int(p["index"]),
                    p["file"],
                    float(p["score"] or "nan"),
                )
                for p in picked
            ]
        except BROKEN as error:
            damaged[str(stored.run_id)] = f"picks.csv: {reason_of(error)}"
    _report(damaged, copies)
    frame = pd.DataFrame(rows, columns=["run_id", "heuristic", "run", "cycle", "index", "file", "score"])
    frame.attrs |= {"damaged": damaged, "copies": copies}
    return frame.astype({"run_id": "int64", "run": "int64", "cycle": "int64", "index": "int64", "score": "float64"})


def _choose(
    source: Source,
    task: str | None,
    dataset: str | None,
    command: str,
    statuses: Collection[str] | None,
    ids: Collection[int] | None,
    newest: bool,
    options: Mapping[str, Any],
) -> tuple[list[Record], dict[int, list[int]], dict[str, str], Records]:
    for status in statuses or ():
        if status not in STATUSES:
            raise Refused(f"unknown status {status!r}.{suggestion(status, STATUSES)} Known: {', '.join(STATUSES)}")
    reader = read(source)
    damaged, records = dict(reader.damaged), sorted(reader.records, key=lambda stored: stored.run_id)
    known = {name for stored in records for name in stored.config}
    for name in options:
        if records and name not in known:
            raise Refused(f"no run has option {name!r}.{suggestion(name, known)}")
    for name, wanted in options.items():
        _refuse_unknown_values(
            name, wanted, [s.config[name] for s in records if name in s.config and task in (None, s.task)]
        )
    named = [s for s in records if dataset in (None, s.dataset, s.config["dataset"])]
    of_kind = [s for s in named if s.command == command and task in (None, s.task) and _matches(s.config, options)]
    chosen = [s for s in of_kind if (statuses is None or s.status in statuses) and (ids is None or s.run_id in ids)]
    described = "any status" if statuses is None else f"status {' or '.join(statuses)}"
    missing = sorted(set(ids or ()) - {s.run_id for s in chosen})
    if missing:
        raise Refused(f"runs {missing} are not among the readable runs of {command} with {described} that match")
    if not chosen:
        _report(damaged)
        others = ", ".join(f"{n} {status}" for status, n in sorted(Counter(s.status for s in of_kind).items()))
        tasks, datasets = {s.task for s in records}, {s.dataset for s in records}
        hint = (
            suggestion(task, tasks) if task and task not in tasks else suggestion(dataset, datasets) if dataset else ""
        )
        asked = {"task": task} | dict(options) | {"dataset": dataset}
        wanted = "".join(f", {name}={value!r}" for name, value in asked.items() if value is not None)
        told = f"{wanted}{f'; there are {others}' if others else ''}{hint and f'.{hint}'}"
        raise Refused(f"found no run of {command} with {described}{told}")
    return *without_copies(_without_duplicates(chosen, newest)), damaged, reader


def _without_duplicates(chosen: Sequence[Record], newest: bool) -> list[Record]:
    """Refuse runs that differ in nothing that matters, or keep the newest of them."""
    equal: dict[str, list[Record]] = defaultdict(list)
    for stored in chosen:
        equal[run_key(f"{stored.task}-{stored.command}", stored.config)].append(stored)
    repeated = [[s.run_id for s in group] for group in equal.values() if len(group) > 1]
    if repeated and not newest:
        listed = "; ".join(str(group) for group in repeated[:20]) + ("; ..." if len(repeated) > 20 else "")
        raise Refused(
            f"{len(repeated)} sets of equal runs (same task, dataset, heuristic, run and options): {listed}. "
            "Choose with newest=True, ids=[...] or an option such as heuristic='bald'"
        )
    kept = [max(group, key=lambda s: (s.started, s.run_id)) for group in equal.values()]
    return sorted(kept, key=lambda s: s.run_id)


def _given(stored: Record, curves: Curves) -> dict[int, int]:
    """What a run had spent at each measurement -> what it was given to spend, more where it labels whole volumes."""
    spent = sorted({step for steps, _ in curves.values() for step in steps})
    if stored.config.get("unit") != "volume" or stored.command != "main":
        return {step: step for step in spent}
    n_initial, n_query = int(stored.config["n_initial"]), int(stored.config["n_query"])
    if spent and spent[0] > n_initial:
        larger = f"its first volume has more slices than n_initial={n_initial}, so that nothing tells its value there"
        raise Refused(f"run {stored.run_id} began with {spent[0]} labels: {larger}; leave it out with ids=[...]")
    return {step: n_initial + cycle * n_query for cycle, step in enumerate(spent)}


def _at_budgets(curves: Curves, given: Mapping[int, int]) -> Curves:
    """The curves of a run at what it was given to spend.

    Between what it did spend they are interpolated linearly, and beyond the last of that its value holds. Seconds are
    of a cycle and stay with it.
    """
    if all(spent == budget for spent, budget in given.items()):
        return curves
    found: Curves = {}
    for name, (steps, values) in curves.items():
        budgets = [given[step] for step in steps]
        found[name] = budgets, values if name in SECONDS else np.interp(budgets, steps, values).tolist()
    return found


def _refuse_mixed_budgets(chosen: Sequence[Record], curves: Mapping[int, Curves]) -> None:
    """Completed runs on one dataset must be measured at the same numbers of labels; unfinished ones stop early."""
    groups: dict[tuple[str, str], dict[tuple[int, ...], list[Record]]] = defaultdict(lambda: defaultdict(list))
    for stored in chosen:
        if stored.status == "COMPLETED":
            budgets = tuple(sorted({step for steps, _ in curves[stored.run_id].values() for step in steps}))
            groups[stored.task, stored.dataset][budgets].append(stored)
    for (task, dataset), by_budget in groups.items():
        if len(by_budget) > 1:
            listed = "; ".join(
                f"runs {[s.run_id for s in group]} at {_shortened(budgets)}" for budgets, group in by_budget.items()
            )
            all_runs = [s.config for group in by_budget.values() for s in group]
            differ = [
                n for n in ("n_initial", "n_query", "n_cycles", "n_val") if len({str(c.get(n)) for c in all_runs}) > 1
            ]
            filters = f"an option ({', '.join(differ)})" if differ else "an option"
            raise Refused(f"{task} on {dataset} mixes budgets: {listed}. Choose with {filters} or ids=[...]")


def _shortened(budgets: Sequence[int]) -> str:
    shown = [str(b) for b in budgets]
    return ", ".join(shown if len(shown) < 8 else [*shown[:3], "...", shown[-1]]) + " labels"


def _long(
    chosen: Sequence[Record], curves: Mapping[int, Curves], given: Mapping[int, Mapping[int, int]]
) -> pd.DataFrame:
    """One row per run, metric and budget; the options of a run are repeated in each."""
    described, positions, steps, counts, names, values = [], [], [], [], [], []
    for position, s in enumerate(chosen):
        options = {
            f"option_{n}" if n in TAKEN else n: json.dumps(v, sort_keys=True) if isinstance(v, dict | list) else v
            for n, v in s.config.items()
        }
        described.append(options | {"run_id": s.run_id, "status": s.status, "task": s.task, "dataset": s.dataset})
        spent = {budget: step for step, budget in given[s.run_id].items()}
        for name, (at, measured) in sorted(curves[s.run_id].items()):
            if name == "n_labelled":  # is a column
                continue
            positions += [position] * len(at)
            names += [name] * len(at)
            steps += at
            counts += [spent[budget] for budget in at]
            values += measured
    table = pd.DataFrame(described)
    table = table[FIRST + sorted(set(table.columns) - set(FIRST))]
    frame = table.take(np.array(positions, dtype=np.int64)).reset_index(drop=True)
    numbers = {"n_labelled": np.array(steps, "int64"), "n_spent": np.array(counts, "int64")}
    measured = {"metric": np.array(names, "str"), "value": np.array(values, "float64")}
    return pd.concat([frame, pd.DataFrame(numbers | measured)], axis=1)


def _refuse_unknown_values(name: str, wanted: Any, there: Sequence[Any]) -> None:
    """One wrong value in a list would quietly leave a strategy out."""
    for value in wanted if isinstance(wanted, list | tuple | set | range) else []:
        if there and value not in there:
            known = sorted({str(other) for other in there})
            raise Refused(f"no run has {name}={value!r}.{suggestion(str(value), known)} Known: {', '.join(known)}")


def _matches(config: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    return all(
        config.get(n) in v if isinstance(v, list | tuple | set | range) else config.get(n) == v
        for n, v in asked.items()
    )


def _report(damaged: Mapping[str, str], copies: Mapping[int, Sequence[int]] | None = None) -> None:
    if copies:
        warnings.warn(told(copies), stacklevel=3)
    for name, reason in damaged.items():
        warnings.warn(f"run {name} is damaged and left out ({reason})", stacklevel=3)
