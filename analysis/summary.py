"""python -m analysis.summary [RUNS] [--dataset NAME] [--metric NAME] [--out FILE.png]: completed runs as a table and a figure.

The table is Markdown: one row per strategy, mean ± sample standard deviation over its runs at every budget, and the area under the
budget curve. Reads the folders that the scripts leave; no Sacred needed.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure
from numpy import ndarray

from analysis.curves import aubc
from analysis.figures import draw_curves
from analysis.plots import write_figure

Found = dict[str, dict[int, ndarray]]  # heuristic -> run -> curve.npy


def completed(runs: Path, dataset: str, command: str = "main") -> Found:
    """The curves of all completed runs on a dataset. The newest of equal (heuristic, run) counts.

    Raises ValueError where none was found.
    """
    found: Found = defaultdict(dict)
    for folder in sorted((f for f in runs.iterdir() if f.name.isdigit()), key=lambda f: int(f.name)):
        if not (folder / "curve.npy").exists():
            continue
        config, run = (json.loads((folder / name).read_text()) for name in ("config.json", "run.json"))
        if run["status"] == "COMPLETED" and run["command"] == command and config["dataset"] == dataset:
            found[config["heuristic"]][config["run"]] = np.load(folder / "curve.npy")
    if not found:
        raise ValueError(f"no completed run of {command} on dataset {dataset!r} below {runs}")
    return dict(found)


def at_budgets(curves: dict[int, ndarray], metric: str) -> tuple[Float[ndarray, " t"], Float[ndarray, "runs t"]]:
    """Budgets and one row of values per run. Raises ValueError where the runs were measured at different budgets."""
    budgets = [curve["n_labelled"].tolist() for curve in curves.values()]
    if any(b != budgets[0] for b in budgets):
        raise ValueError(f"runs {sorted(curves)} have different budgets; give them folders of their own")
    return np.array(budgets[0]), np.stack([curves[run][metric] for run in sorted(curves)])


def table(found: Found, metric: str) -> str:
    """Mean ± standard deviation at every budget as Markdown, best area first."""
    rows = []
    for heuristic, curves in found.items():
        budgets, values = at_budgets(curves, metric)
        areas = np.array([aubc(budgets, row) for row in values])
        cells = [_spread(column) for column in [*values.T, areas]]
        rows.append((areas.mean(), f"| `{heuristic}` | {len(curves)} | " + " | ".join(cells) + " |"))
    head = ["strategy", "runs", *(f"{int(b)}" for b in budgets), "area"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + [row for _, row in sorted(rows, reverse=True)])


def _spread(values: Float[ndarray, " runs"]) -> str:
    spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
    return f"{values.mean():.3f}{spread}"


def draw(found: Found, metric: str, title: str, upper: float | None = None) -> Figure:
    """Mean curves with a band of one standard deviation, labelled at their ends; `upper` is the value with all labels."""
    measured = {heuristic: (sorted(curves), *at_budgets(curves, metric)) for heuristic, curves in found.items()}
    tables = {name: pd.DataFrame(values, index=runs, columns=budgets) for name, (runs, budgets, values) in measured.items()}
    return draw_curves(tables, metric, title, upper)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="?", type=Path, default=Path("runs"))
    parser.add_argument("--dataset", default="glas")
    parser.add_argument("--metric", default="dice")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    try:
        found = completed(asked.runs, asked.dataset)
        print(table(found, asked.metric))
        if asked.out:
            try:
                upper = float(np.mean([c[asked.metric][-1] for c in completed(asked.runs, asked.dataset, "supervised")["random"].values()]))
            except (ValueError, KeyError):
                upper = None
            print(write_figure(draw(found, asked.metric, f"{asked.dataset}: mean and standard deviation over runs", upper), asked.out))
    except (ValueError, OSError) as error:
        raise SystemExit(f"{error}") from None


if __name__ == "__main__":
    main()
