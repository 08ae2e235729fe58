"""All that a page about a study tells, from records that are read once."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from analysis.curves import Curves, curves_of
from analysis.figure_parts import BASELINE
from analysis.picked import Balance, class_balance
from analysis.provenance import Document
from analysis.records import Record, read
from analysis.study import Yardsticks, main_metric, without, yardsticks
from analysis.summary import chosen_runs, refuse_empty
from data.catalogue import OWN
from data.files import folder_of
from data.names import Refused
from experiments.measures.table import higher_is_better
from experiments.tracking.checkpoints import run_key


@dataclass(frozen=True)
class Study:
    """Runs of one task on one dataset, and what is known of them."""

    frame: pd.DataFrame  # of `analysis.runs.load`
    metric: str
    runs: Mapping[int, Document]  # of the runs in the frame
    left_out: Sequence[str]  # a sentence about each reason why runs or parts are missing
    yard: Yardsticks
    balance: Balance | str  # or why it is not known
    baseline: str
    read: Mapping[str, Any]  # what the newest run noted of its data, see `data.inventory`; empty for older ones

    @property
    def higher(self) -> bool:
        """Whether more of the metric is better."""
        return higher_is_better(self.metric)

    @cached_property
    def curves(self) -> Curves:
        """Runs x budgets by strategy."""
        return curves_of(self.frame, self.metric)


def gather(asked: argparse.Namespace) -> Study:
    """Read all that a report needs. Raises what `analysis.runs.load` raises."""
    refuse_empty(asked)
    records = read(asked.source)
    frame = chosen_runs(asked, records)
    metric = asked.metric or main_metric(frame)
    measured = set(frame["run_id"]) - set(lacking := without(frame, metric))
    chosen = [record for record in records.records if record.run_id in set(frame["run_id"])]
    unfinished = _unfinished(records.records, chosen)
    left_out = (
        [f"Runs on this dataset that did not end well or are not over, and are left out: {unfinished}."]
        if unfinished
        else []
    )
    left_out += [f"Run {run_id} did not measure {metric} and is left out." for run_id in lacking]
    left_out += [f"Run {name} is damaged and left out: {reason}." for name, reason in frame.attrs["damaged"].items()]
    try:
        balance = class_balance(records, frame) or "There is one class alone, or nothing was picked: no shares to show."
    except FileNotFoundError:  # its message holds paths, which are nobody's business
        balance = (
            f"The classes of the picks are not shown: the dataset {frame['dataset'].iloc[0]} was not "
            "found where this page was made."
        )
    except ValueError as error:
        balance = f"The classes of the picks are not shown: {error}."
    runs = {record.run_id: record.document for record in chosen if record.run_id in measured}
    newest = max((record for record in chosen if record.run_id in measured), key=lambda record: record.started)
    read_by = newest.info.get("read")
    return Study(
        frame,
        metric,
        runs,
        left_out,
        yardsticks(records, frame, metric),
        balance,
        _baseline(frame, asked.baseline),
        read_by if isinstance(read_by, Mapping) else {},
    )


def _unfinished(records: Sequence[Record], chosen: Sequence[Record]) -> int:
    """How many runs of active learning on the dataset of the chosen ones no record completed.

    Attempts that were continued are one run with what completed it. One's own data are the same where their folder is.
    """
    places = {_place(record) for record in chosen}
    keys: dict[bool, set[str]] = {True: set(), False: set()}
    for record in records:
        if record.command == "main" and _place(record) in places:
            keys[record.status == "COMPLETED"].add(run_key(f"{record.task}-main", record.config))
    return len(keys[False] - keys[True])


def _place(record: Record) -> tuple[str, ...]:
    """Task and dataset; of one's own data the folder too."""
    own = record.config["dataset"] in OWN
    folder = str(folder_of(str(record.config.get("data_root") or "")).resolve()) if own else ""
    return record.task, record.config["dataset"], folder


def _baseline(frame: pd.DataFrame, asked: str | None) -> str:
    """The baseline as the frame names it: where strategies are divided, the only part of it that there is.

    ValueError for one that was asked for and that no run has; without runs of the usual one the report says so.
    """
    names = sorted(set(frame["heuristic"]))
    parts = [name for name in names if name.startswith(f"{asked or BASELINE}, ")]
    if len(parts) == 1:
        return parts[0]
    if asked and asked not in names:
        raise Refused(f"no strategy {asked!r} to compare with; known: {', '.join(names)}")
    return asked or BASELINE
