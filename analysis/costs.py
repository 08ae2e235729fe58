"""What the labels of runs cost: from a price for each image to the cumulative cost of every run at every budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.curves import annotation_cost
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
    """The cumulative cost of the labels of every run at every budget: strategy -> runs x budgets, as in
    `curves_of`.

    `frame` and `picks` are those of `analysis.runs.load` and `load_picks`. Refused for an image without a cost,
    or a run whose picks are missing.
    """
    budgets = sorted(frame["n_labelled"].unique())
    picked = dict(iter(picks.groupby("run_id", sort=False)["file"]))
    tables: dict[str, dict[int, np.ndarray]] = {}
    for run_id, heuristic, run in frame[["run_id", "heuristic", "run"]].drop_duplicates().itertuples(index=False):
        if run_id not in picked:
            raise Refused(f"run {run_id} has no record of its picks, so that their cost is unknown")
        files = picked[run_id].tolist()
        for name in files:
            if name not in costs:
                raise Refused(f"no cost is given for {name!r}, which run {run_id} labelled.{suggestion(name, costs)}")
        each = np.array([costs[name] for name in files], dtype=np.float64)
        tables.setdefault(str(heuristic), {})[int(run)] = annotation_cost(np.arange(len(files)), each, budgets)
    columns = pd.Index(budgets, name="n_labelled")
    return {
        name: pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("run")
        for name, rows in tables.items()
    }
