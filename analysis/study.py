"""Which runs make one study: one task, one dataset, one recipe, so that a difference between strategies is theirs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.provenance import same_recipe
from analysis.records import Source, read
from analysis.runs import FIRST, TAKEN, load
from data.catalogue import OWN
from data.names import Refused, suggestion
from experiments.measures.table import is_of_class
from experiments.tracking.head_options import NEUTRAL, idle
from experiments.tracking.options import CHOOSING, WHERE

# accuracy_melanoma, dice_axon, ap_RBC; what follows is no class in dice_pooled, dice_testB and sensitivity_small
TRIVIAL = {
    "segment": "all foreground",
    "classify": "majority class",
    "detect": "one mean box",
}  # predictions without a look at an image


@dataclass(frozen=True)
class Yardsticks:
    """What the curves of a study are to be read against."""

    trivial: float | None = None  # what a prediction reaches that looks at no image
    trivial_by: str = ""  # which prediction
    full: float | None = None  # all labels with the same training, mean over
    full_runs: int = 0
    oracle_runs: int = 0  # whose first labels were chosen by the true classes
    runs: int = 0

    @property
    def trivial_mark(self) -> tuple[str, float] | None:
        """The trivial value and what it is called, as `analysis.figures.draw_curves` takes it."""
        return None if self.trivial is None else (f"trivial: {self.trivial_by}", self.trivial)

    @property
    def full_count(self) -> str:
        """The number of runs with all labels, in words."""
        return f"{self.full_runs} run{'' if self.full_runs == 1 else 's'}"

    def titled(self, title: str) -> str:
        """The title of a figure, which says what was given away at the start."""
        some = "" if self.oracle_runs == self.runs else f" in {self.oracle_runs} of {self.runs} runs"
        return (
            f"{title} · oracle's start{some}: the first labels are balanced by true class"
            if self.oracle_runs
            else title
        )


def only_study(frame: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """The frame of `analysis.runs.load`, if its runs are one study; strategies are divided by the options in `by`.

    Else a ValueError names what is mixed: tasks, datasets, options of one strategy, or options of data and training
    between strategies, which must be equal unless `by` divides them. Options that a run was made before are not held
    against it, nor those that change nothing in it, as the rate of steps where a head is fitted.
    """
    for column in ("task", "dataset"):
        found = sorted(set(frame[column]))
        if len(found) > 1:
            several = ", ".join(found)
            raise Refused(f"these runs are of several {column}s ({several}): choose one with --{column}")
    split = split_by(frame, by)
    runs = split.drop_duplicates("run_id")
    where = {"dataset_title", *WHERE} - ({"data_root"} if runs["option_dataset"].iloc[0] in OWN else set())
    options = {
        str(column): str(column).removeprefix("option_") for column in runs.columns if column not in (*FIRST, *TAKEN)
    }
    decisive = {
        column: name for column, name in options.items() if name not in where and name != "metric" and column not in by
    }
    runs = _used(runs, options)
    for name, group in runs.groupby("heuristic"):
        _refuse_mixed(group, decisive, f"the runs of {name}")
    _refuse_mixed(runs, {column: name for column, name in decisive.items() if name not in CHOOSING}, "these runs")
    return split


def _used(runs: pd.DataFrame, options: dict[str, str]) -> pd.DataFrame:
    """The runs without the values of options that change nothing beside the others of the same run."""
    rows = [dict(zip(options.values(), row, strict=True)) for row in runs[list(options)].to_numpy(dtype=object)]
    unused = [idle(row) - NEUTRAL.keys() for row in rows]
    masked = {column: [name in some for some in unused] for column, name in options.items()}
    return runs.assign(**{column: runs[column].mask(np.array(which)) for column, which in masked.items()})


def _refuse_mixed(runs: pd.DataFrame, options: dict[str, str], whose: str) -> None:
    for column, name in options.items():
        by_value: dict[str, list[int]] = {}
        for value, run_id in zip(runs[column], runs["run_id"], strict=True):
            if not pd.isna(value):
                by_value.setdefault(str(value), []).append(run_id)
        if len(by_value) > 1:
            listed = "; ".join(f"{value} (runs {_some(ids)})" for value, ids in by_value.items())
            raise Refused(
                f"{whose} mix values of {name}: {listed}. Choose with --where {name}=..., or divide with --by {name}"
            )


def _some(ids: Sequence[int]) -> str:
    shown = [str(i) for i in ids]
    return ", ".join(shown if len(shown) < 6 else [*shown[:3], "...", shown[-1]])


def split_by(frame: pd.DataFrame, options: Sequence[str]) -> pd.DataFrame:
    """The frame with strategies divided by the values of options: `bald, channels_last` beside `bald`.

    ValueError for an unknown option.
    """
    known = [column for column in frame if column not in (*FIRST, *TAKEN)]
    for name in options:
        if name not in known:
            raise Refused(f"no run has option {name!r} to divide by.{suggestion(name, known)}")
    names = frame["heuristic"].astype(str)
    for option in options:
        names = names + frame[option].map(
            lambda v, name=option: "" if v is False else f", {name}" if v is True else f", {name}={v}"
        )
    split = frame.assign(heuristic=names)
    split.attrs = frame.attrs
    return split


def main_metric(frame: pd.DataFrame) -> str:
    """The metric that the runs were asked to report. ValueError where it is not the same for all."""
    names = sorted(frame["option_metric"].dropna().unique()) if "option_metric" in frame else []
    if len(names) != 1:
        raise Refused(f"the runs name {', '.join(names) or 'no'} main metric: choose one with --metric")
    return names[0]


def without(frame: pd.DataFrame, metric: str) -> list[int]:
    """The numbers of the runs of a frame that did not measure `metric`."""
    measured = set(frame.loc[frame["metric"] == metric, "run_id"])
    return sorted(set(frame["run_id"].tolist()) - measured)


def full_runs(source: Source, frame: pd.DataFrame) -> set[int]:
    """The numbers of the completed runs of `supervised` with the data and the training of the frame's runs."""
    stored = {record.run_id: record for record in read(source).records}
    ours = [stored[i].config for i in set(frame["run_id"]) if i in stored]
    same = [
        r
        for r in stored.values()
        if (r.command, r.status) == ("supervised", "COMPLETED") and r.task in set(frame["task"])
    ]
    return {record.run_id for record in same if same_recipe(record.config, ours)}


def full_result(source: Source, frame: pd.DataFrame, metric: str) -> float | None:
    """Mean of `metric` over `full_runs`; None without any."""
    ids = full_runs(source, frame)
    if not ids:
        return None
    rows = load(source, command="supervised", ids=ids, newest=True, metrics=[metric])
    return float(rows["value"].to_numpy().mean())


def yardsticks(source: Source, frame: pd.DataFrame, metric: str) -> Yardsticks:
    """What the runs of a frame noted of trivial predictions and of their start, and `full_result`."""
    records, ids = read(source), set(frame["run_id"])
    ours = [record for record in records.records if record.run_id in ids]
    noted = [record.trivial[metric] for record in ours if metric in record.trivial]
    full = full_result(records, frame, metric)
    return Yardsticks(
        trivial=float(np.mean(noted)) if noted else None,
        trivial_by=TRIVIAL.get(str(frame["task"].iloc[0]), "a constant"),
        full=full,
        full_runs=0 if full is None else len(full_runs(records, frame)),
        oracle_runs=sum(record.oracle_start for record in ours),
        runs=len(ours),
    )


def per_class(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """The metrics of single classes among the names: measure -> class -> name of the metric."""
    found: dict[str, dict[str, str]] = {}
    for name in filter(is_of_class, sorted(names)):
        measure, _, of_class = name.removesuffix("]").partition("[")
        found.setdefault(measure, {})[of_class] = name
    return found
