"""What the labels of runs cost: from a price for each image to the cumulative cost of every run at every budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from numpy import ndarray
from numpy.typing import ArrayLike

from analysis.curves import Curves
from data.formats.tables import read_table
from data.names import Refused, suggestion


def read_costs(file: Path) -> dict[str, float]:
    """Cost of every image, by its name in picks.csv, from a csv file with columns `file` and `cost` (any unit, >= 0).

    Raises Missing without the file, Refused for missing columns, a file named twice, a cost that is no
    number >= 0, or no text.
    """
    costs: dict[str, float] = {}
    for line, cells in read_table(file, ["file", "cost"]).rows:
        name, written = cells["file"], cells["cost"]
        if name in costs:
            raise Refused(f"{file}, line {line}: {name!r} has a cost already, expected every file once")
        try:
            costs[name] = float(written)
        except ValueError:
            costs[name] = math.nan
        if not 0 <= costs[name] < math.inf:
            raise Refused(f"{file}, line {line}: the cost of {name} is {written!r}, expected a number >= 0")
    return costs


def costs_of(frame: pd.DataFrame, picks: pd.DataFrame, costs: Mapping[str, float]) -> dict[str, pd.DataFrame]:
    """The cumulative cost of the labels of every run at every budget: strategy -> runs x budgets, as in `curves_of`.

    `frame` and `picks` are those of `analysis.runs.load` and `load_picks`. Where a run spent less than its budgets its
    costs are interpolated as its values are, so that each value stays beside what it cost. Raises ValueError for an
    image without a cost, or a run whose picks are missing.
    """
    budgets = sorted(frame["n_labelled"].unique())
    counts = {run_id: np.unique(spent) for run_id, spent in frame.groupby("run_id")["n_spent"]}
    picked = dict(iter(picks.groupby("run_id", sort=False)["file"]))
    tables: dict[str, dict[int, np.ndarray]] = {}
    for run_id, heuristic, run in frame[["run_id", "heuristic", "run"]].drop_duplicates().itertuples(index=False):
        if run_id not in picked:
            raise Refused(f"run {run_id} has no record of its picks, so that their cost is unknown")
        files = picked[run_id].tolist()
        for name in files:
            if name not in costs:
                raise Refused(
                    f"no cost is given for {name!r}, which run {run_id} labelled.{suggestion(name, costs)}"
                )
        each = np.array([costs[name] for name in files], dtype=np.float64)
        paid = annotation_cost(np.arange(len(files)), each, counts[run_id])
        tables.setdefault(str(heuristic), {})[int(run)] = np.interp(budgets, counts[run_id], paid)
    columns = pd.Index(budgets, name="n_labelled")
    return {
        name: pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("run")
        for name, rows in tables.items()
    }


def annotation_cost(
    picks: Int[ndarray, " n"], cost_per_image: Float[ndarray, " images"], n_labelled: ArrayLike
) -> Float[ndarray, " t"]:
    """What the labels of one run cost at each budget: cost[t] = sum of `cost_per_image` over n_labelled[t] picks.

    `picks` are dataset indices in the order of labelling, the initial set first; cost has any unit, >= 0. Raises
    ValueError where a budget counts more images than were picked.
    """
    counts = np.asarray(n_labelled, dtype=np.int64)
    if counts.max() > len(picks):
        raise Refused(f"a budget of {counts.max()} labels needs as many picks, but the run has {len(picks)}")
    return np.concatenate([[0.0], np.cumsum(cost_per_image[picks])])[counts]


def over_cost(curves: Curves, costs: Curves, n_points: int = 200) -> dict[str, pd.DataFrame]:
    """The curves over what the labels cost instead of how many they are, interpolated linearly to one grid of costs.

    `costs` are tables like `curves` with the cumulative cost of each run at each budget, rising. The grid spans what
    every run of every strategy covers, so that nothing is extrapolated; the tables that come back work wherever curves
    do. Raises ValueError for costs that fall or are NaN, and where the runs have no cost in common.
    """
    paid = {name: costs[name].loc[table.index].to_numpy(np.float64) for name, table in curves.items()}
    for name, table in curves.items():
        wrong = np.argwhere(~(np.diff(paid[name], axis=1) >= 0))
        if wrong.size:
            r, t = wrong[0]
            steps = f"{paid[name][r, t + 1]:g} follows {paid[name][r, t]:g}"
            raise Refused(
                f"costs must rise from budget to budget, but those of {name} run {table.index[r]} do not: {steps}"
            )
    low, high = max(c[:, 0].max() for c in paid.values()), min(c[:, -1].min() for c in paid.values())
    if low >= high:
        raise Refused(f"no range of costs is common to all runs: one starts at {low:g}, one ends at {high:g}")
    grid = np.linspace(low, high, n_points)
    columns = pd.Index(grid, name="cost")
    return {
        name: pd.DataFrame(
            [np.interp(grid, c, v) for c, v in zip(paid[name], table.to_numpy(), strict=True)], table.index, columns
        )
        for name, table in curves.items()
    }
