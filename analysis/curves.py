"""Curves over the label budget: from the tidy frame to one table per strategy, and what the curves are worth.

A table of curves has one row per run (index `run`) and one column per budget (`n_labelled`); strategies that share a
`run` share split, initial set and initial weights, so that rows of equal index are pairs. Metrics where less is better
(distances, losses) say `higher_is_better=False`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray
from scipy import stats

from data.names import Refused
from experiments.measures.area import aubc

Curves = Mapping[str, pd.DataFrame]  # strategy -> runs x budgets

SECONDS = ("train_seconds", "test_seconds", "query_seconds")


def curves_of(frame: pd.DataFrame, metric: str, column: str = "value") -> dict[str, pd.DataFrame]:
    """The curves of one metric, by strategy in alphabetical order: runs x budgets.

    `frame` is tidy: heuristic, run, n_labelled, metric, value, one task and dataset. `column` names another column to
    take the numbers from, such as a cumulative annotation `cost`. Raises ValueError for an unknown metric, a run that
    has a budget twice, or runs that were measured at different budgets.
    """
    chosen = frame.loc[frame["metric"] == metric]
    if chosen.empty:
        raise Refused(
            f"no run has metric {metric!r}; known: {', '.join(sorted(map(str, frame['metric'].unique()))) or 'none'}"
        )
    twice = chosen.loc[chosen.duplicated(["heuristic", "run", "n_labelled"]), ["heuristic", "run", "n_labelled"]]
    if len(twice):
        heuristic, run, n = twice.iloc[0]
        raise Refused(f"{heuristic} run {run} has {metric} twice at {n} labels: keep one record of each run")
    tables = {
        str(name): rows.pivot(index="run", columns="n_labelled", values=column)
        for name, rows in chosen.groupby("heuristic")
    }
    expected = sorted(chosen["n_labelled"].unique())
    measured = chosen.groupby(["heuristic", "run"])["n_labelled"].nunique()
    for (heuristic, run), count in measured.items():  # pyright: ignore[reportGeneralTypeIssues]
        if count != len(expected):
            raise Refused(
                f"{heuristic} run {run} has {metric} at {count} of {len(expected)} budgets; compare runs "
                "of equal budgets"
            )
    return {name: table.astype(np.float64) for name, table in tables.items()}


def areas(curves: Curves) -> pd.DataFrame:
    """AUBC of every run: one row per run, one column per strategy, NaN where a strategy lacks that run.

    Raises ValueError for a value that is not finite, with its strategy, run and budget.
    """
    for name, table in curves.items():
        wrong = np.argwhere(~np.isfinite(table.to_numpy(np.float64)))
        if wrong.size:
            r, t = wrong[0]
            where = (
                f"{name} run {table.index[r]} is {table.iloc[r, t]} at "
                f"{table.columns.name or 'budget'} {table.columns[t]:g}"
            )
            raise Refused(f"{where}: an area needs finite values; choose another metric or leave this run out")
    return pd.DataFrame(
        {name: table.apply(lambda row: aubc(row.index, row), axis=1) for name, table in curves.items()}
    ).sort_index()


def finals(curves: Curves) -> pd.DataFrame:
    """The value of every run at the largest budget: runs x strategies, NaN where a strategy lacks that run."""
    return pd.DataFrame({name: table.iloc[:, -1] for name, table in curves.items()}).sort_index()


def sample_std(values: Float[ndarray, "r t"]) -> Float[ndarray, " t"]:
    """Standard deviation over runs with r - 1 in the denominator; NaN for a single run."""
    return values.std(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1], np.nan)


def mean_interval(
    values: Float[ndarray, "r t"], level: float = 0.95
) -> tuple[Float[ndarray, " t"], Float[ndarray, " t"]]:
    """Student's interval of the mean over runs at each budget: mean ± t(r - 1) std / sqrt(r); NaN for a single run.

    It holds at each budget, not for all of them together. With 3, 5, 10 and 20 runs the 95 % interval covered the mean
    of normal values 95 % of the time, that of log-normal ones (skewness 1.75) 93, 92, 92 and 93 %; percentiles of the
    bootstrap, 74, 84, 89 and 93 %, and 71, 80, 88 and 91 % (`tests/benchmarks/bench_intervals.py`).
    """
    if len(values) < 2:
        return np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * sample_std(values) / np.sqrt(len(values))
    return values.mean(axis=0) - half, values.mean(axis=0) + half


def seconds_per_cycle(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean seconds of a cycle over runs and cycles, by strategy: train, test, query and their total.

    The last cycle asks for nothing, so that it does not count for `query`.
    """
    parts = {name.removesuffix("_seconds"): curves_of(frame, name) for name in SECONDS}
    means = {
        part: {
            h: table.iloc[:, :-1] if part == "query" and table.shape[1] > 1 else table for h, table in tables.items()
        }
        for part, tables in parts.items()
    }
    table = pd.DataFrame({part: {h: float(np.nanmean(t)) for h, t in tables.items()} for part, tables in means.items()})
    return table.assign(total=table.sum(axis=1)).rename_axis("heuristic")
