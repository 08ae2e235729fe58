"""Rules that end labelling, scored on stored runs: one Markdown table a task.

    python -m analysis.stopping runs --task segment --out stopping.png

Every run is replayed: where each rule of `experiments.stopping` would have stopped it, how many labels that is too
many, and what of the metric it gives away. Definitions: docs/stopping.md.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.curves import mean_interval
from analysis.records import read
from analysis.replaying import SCORES, scored
from analysis.stopping_figure import draw_rules
from analysis.study import main_metric
from analysis.summary import add_choices, chosen_runs, markdown, refuse_empty
from analysis.wording import counted, say
from data.names import Refused
from experiments.pictures.canvas import kind_of_figure, write_figure


def means(scores: pd.DataFrame) -> pd.DataFrame:
    """One row a rule, in their order: `runs`, `stopped`, `early`, and mean, low and high of each of SCORES.

    Runs of one dataset with the same `run` share division and start: their mean counts once, and the 95 % interval is
    Student's over these.
    """
    rows = {}
    columns = ["stopped", "early", *SCORES]
    for rule, of_rule in scores.groupby("rule", sort=False):
        parts = of_rule.groupby(["dataset", "run"])
        groups = np.array([rows[columns].to_numpy(dtype=np.float64).mean(axis=0) for _, rows in parts])
        (low, high), middle = mean_interval(groups), groups.mean(axis=0)
        row = {"runs": len(of_rule), "stopped": middle[0], "early": middle[1]}
        for i, name in enumerate(SCORES, 2):
            row |= {name: middle[i], f"{name}_low": low[i], f"{name}_high": high[i]}
        rows[rule] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("rule")


def table(found: pd.DataFrame) -> str:
    """The means of one task as Markdown, in percent."""
    head = ["rule", "runs", "stopped before the end", "before the oracle", "labels used, %", "too many, %"]
    lines = [[*head, "metric lost to the full budget, %", "to the oracle, %"], ["---"] * 8]
    for rule, row in found.to_dict("index").items():
        cells = [f"{100 * row['stopped']:.0f} %", f"{100 * row['early']:.0f} %"]
        for name in SCORES:
            middle, low, high = (100 * row[f"{name}{end}"] for end in ("", "_low", "_high"))
            cells.append(f"{middle:.1f}" + (f" ({low:.1f} to {high:.1f})" if np.isfinite(low) else ""))
        lines.append([str(rule), f"{row['runs']:.0f}", *cells])
    return markdown(lines)


def gather(asked: argparse.Namespace) -> dict[str, pd.DataFrame]:
    """The scores of all runs that the arguments choose, by task."""
    records = read(asked.source)
    found: dict[str, list[pd.DataFrame]] = {}
    for task, dataset in sorted({(r.task, r.dataset) for r in records.records if r.command == "main"}):
        if (asked.task or task) == task and (asked.dataset or dataset) == dataset:
            one = copy.copy(asked)
            one.task, one.dataset = task, dataset
            frame = chosen_runs(one, records)
            found.setdefault(task, []).append(scored(records, frame, asked.metric or main_metric(frame), asked.target))
    if not found:
        raise Refused(f"{asked.source} holds no run of main that matches")
    return {task: pd.concat(parts, ignore_index=True) for task, parts in found.items()}


def titled(task: str, scores: pd.DataFrame) -> str:
    """A task, and of how many runs of what its table is."""
    sets = ", ".join(sorted(scores["dataset"].unique()))
    return f"{task}: {counted(len(set(scores['run_id'])), 'run')} of {sets}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_choices(parser)
    parser.add_argument("--target", type=float, metavar="VALUE", help="of the metric, for the rules that have one")
    parser.add_argument("--out", help="figure to draw, .png or .pdf")
    asked = parser.parse_args()
    try:
        refuse_empty(asked)
        if asked.out:
            kind_of_figure(Path(asked.out))
        by_task = gather(asked)
        found = {titled(task, scores): means(scores) for task, scores in by_task.items()}
        say("\n\n".join(f"**{title}**\n\n{table(rules)}" for title, rules in found.items()))
        if asked.out:
            say(str(write_figure(draw_rules(found), Path(asked.out))))
    except (ValueError, OSError) as error:
        raise SystemExit(f"{error}") from None


if __name__ == "__main__":
    main()
