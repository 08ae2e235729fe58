"""Which runs make one study: one task, one dataset, one recipe, so that a difference between strategies is theirs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.provenance import documents, same_recipe
from analysis.runs import FIRST, TAKEN, load
from experiments.tracking.checkpoints import CHOOSING, OWN_FOLDERS, WHERE
from heuristics.core.registry import suggestion

LOWER_IS_BETTER = {"hd95", "object_hausdorff", "nll", "ece", "train_loss", "train_seconds", "test_seconds", "query_seconds", "loader_share"}


def only_study(frame: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """The frame of `analysis.runs.load`, if its runs are one study; strategies are divided by the values of the options in `by`.

    Else a ValueError names what is mixed: tasks, datasets, options of one strategy, or options of data and training between strategies,
    which must be equal unless `by` divides them. Options that a run was made before are not held against it.
    """
    for column in ("task", "dataset"):
        found = sorted(set(frame[column]))
        if len(found) > 1:
            several = ", ".join(found)
            raise ValueError(f"these runs are of several {column}s ({several}): choose one with --{column}")
    split = split_by(frame, by)
    runs = split.drop_duplicates("run_id")
    where = WHERE - {"data_root"} if runs["dataset"].iloc[0] in OWN_FOLDERS else WHERE
    options = {str(column): str(column).removeprefix("option_") for column in runs.columns if column not in (*FIRST, *TAKEN)}
    decisive = {column: name for column, name in options.items() if name not in where and name != "metric" and column not in by}
    for name, group in runs.groupby("heuristic"):
        _refuse_mixed(group, decisive, f"the runs of {name}")
    _refuse_mixed(runs, {column: name for column, name in decisive.items() if name not in CHOOSING}, "these runs")
    return split


def _refuse_mixed(runs: pd.DataFrame, options: dict[str, str], whose: str) -> None:
    for column, name in options.items():
        by_value: dict[str, list[int]] = {}
        for value, run_id in zip(runs[column], runs["run_id"], strict=True):
            if not pd.isna(value):
                by_value.setdefault(str(value), []).append(run_id)
        if len(by_value) > 1:
            listed = "; ".join(f"{value} (runs {_some(ids)})" for value, ids in by_value.items())
            raise ValueError(f"{whose} mix values of {name}: {listed}. Choose with --where {name}=..., or divide with --by {name}")


def _some(ids: Sequence[int]) -> str:
    shown = [str(i) for i in ids]
    return ", ".join(shown if len(shown) < 6 else [*shown[:3], "...", shown[-1]])


def split_by(frame: pd.DataFrame, options: Sequence[str]) -> pd.DataFrame:
    """The frame with strategies divided by the values of options: `box_entropy, pseudo_labels` beside `box_entropy`.

    ValueError for an unknown option.
    """
    known = [column for column in frame if column not in (*FIRST, *TAKEN)]
    for name in options:
        if name not in known:
            raise ValueError(f"no run has option {name!r} to divide by.{suggestion(name, known)}")
    names = frame["heuristic"].astype(str)
    for option in options:
        names = names + frame[option].map(lambda v, name=option: "" if v is False else f", {name}" if v is True else f", {name}={v}")
    split = frame.assign(heuristic=names)
    split.attrs = frame.attrs
    return split


def higher_is_better(metric: str) -> bool:
    """Whether more of a metric is better; distances, losses and times are the others."""
    return metric.removeprefix("mc_") not in LOWER_IS_BETTER


def main_metric(frame: pd.DataFrame) -> str:
    """The metric that the runs were asked to report. ValueError where it is not the same for all."""
    names = sorted(frame["option_metric"].dropna().unique()) if "option_metric" in frame else []
    if len(names) != 1:
        raise ValueError(f"the runs name {', '.join(names) or 'no'} main metric: choose one with --metric")
    return names[0]


def without(frame: pd.DataFrame, metric: str) -> list[int]:
    """The numbers of the runs of a frame that did not measure `metric`."""
    measured = set(frame.loc[frame["metric"] == metric, "run_id"])
    return sorted(set(frame["run_id"].tolist()) - measured)


def full_runs(source: str | Path, frame: pd.DataFrame) -> set[int]:
    """The numbers of the completed runs of `supervised` with the data and the training of the frame's runs."""
    stored = documents(source)
    ours = [stored[i]["config"] for i in set(frame["run_id"]) if i in stored]
    same = {i for i, d in stored.items() if d["command"] == "supervised" and d["status"] == "COMPLETED"}
    return {i for i in same if stored[i]["experiment"]["name"] in set(frame["task"]) and same_recipe(stored[i]["config"], ours)}


def full_result(source: str | Path, frame: pd.DataFrame, metric: str) -> float | None:
    """Mean of `metric` over `full_runs`; None without any."""
    ids = full_runs(source, frame)
    if not ids:
        return None
    rows = load(source, command="supervised", ids=ids, newest=True, metrics=[metric])
    return float(rows["value"].to_numpy().mean())
