"""python -m analysis.summary [SOURCE] --dataset NAME [--metric NAME] [--out FILE.png]: runs as a table and a figure.

SOURCE is a runs folder (runs by default) or a mongodb:// address. The table is Markdown: one row per strategy, best
area first, mean ± sample standard deviation over its runs at every budget, and the area under the budget curve. With
--target also the labels that a run needs for it; runs that never reach it count with the last budget and make the mean
a lower bound, runs that begin there make it an upper one. With --baseline random every other strategy is compared with
that one, paired by run, and a verdict says what the runs allow to say.
"""

from __future__ import annotations

import argparse
import ast
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from analysis.caveats import about_yardsticks
from analysis.comparisons import pairwise
from analysis.copies import told
from analysis.costs import costs_of, over_cost, read_costs
from analysis.curves import Curves, areas, curves_of
from analysis.figures import draw_curves
from analysis.records import Records, read
from analysis.runs import load, load_picks
from analysis.savings import label_saving, labels_needed
from analysis.study import Yardsticks, main_metric, only_study, without, yardsticks
from analysis.verdict import verdict
from analysis.wording import interval, number, saved, say
from data.names import Refused
from experiments.measures.table import higher_is_better
from experiments.pictures.canvas import kind_of_figure, write_figure

MOST = 8  # budgets in a table of curves that have more than twice as many, as those over costs have


def chosen_options(words: Sequence[str]) -> dict[str, Any]:
    """`--where steps=200 heuristic=random,bald` as options of `load`; ValueError for a word without name and value."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not (name and equals and text):
            raise Refused(f"--where {word}: expected option=value, or option=value,value")
        if name in found:
            raise Refused(f"--where {name} stands there twice; {name}=one,other takes runs of both values")
        whole = _value(text)
        found[name] = [_value(part) for part in text.split(",")] if whole == text and "," in text else whole
    return found


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _finite(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Refused(f"{name} {text}: expected a finite number, a value of the metric")
    return value


def refuse_empty(asked: argparse.Namespace) -> None:
    """An empty word is a variable of the shell that was not set, and would choose something else than was meant."""
    for name, value in vars(asked).items():
        if "" in (value if isinstance(value, list) else [value]):
            raise Refused(f"{name} is an empty word: give a value, or leave it out")


def table(
    curves: Curves, target: float | None = None, more_is_better: bool = True, yard: Yardsticks | None = None
) -> str:
    """Mean ± standard deviation at every budget as Markdown, best area first; below, what a trivial prediction has."""
    area = areas(curves)
    order = [str(name) for name in area.mean().sort_values(ascending=not more_is_better, kind="stable").index]
    columns = curves[order[0]].columns
    shown = np.linspace(0, len(columns) - 1, MOST).round().astype(int) if len(columns) > 2 * MOST else slice(None)
    head = ["strategy", "runs", *(f"{budget:g}" for budget in columns[shown]), "area"]
    head += [] if target is None else [f"labels for {target:g}"]
    lines = [head, ["---"] * len(head)]
    for name in order:
        values = curves[name].to_numpy(np.float64)
        cells = [spread(column) for column in [*values.T[shown], area[name].dropna().to_numpy()]]
        cells += [] if target is None else [_needed(curves[name], target, more_is_better)]
        lines.append([f"`{name}`".replace("|", "\\|"), str(len(values)), *cells])
    if yard and yard.trivial is not None:
        known = [f"{yard.trivial:.3f}"] * (len(head) - 2 - (target is not None))
        lines.append([f"trivial: {yard.trivial_by}", "", *known, *([""] if target is not None else [])])
    return markdown(lines)


def spread(values: Float[ndarray, " runs"], write: Callable[[float], str] = "{:.3f}".format) -> str:
    """Mean ± sample standard deviation, which a single value has not."""
    beside = f" ± {write(values.std(ddof=1))}" if len(values) > 1 else ""
    return f"{write(values.mean())}{beside}"


def _needed(runs: pd.DataFrame, target: float, more_is_better: bool) -> str:
    """Mean ± standard deviation of the labels that runs need, a bound where some begin at the target or miss it."""
    needed = np.array([labels_needed(runs.columns, row, target, more_is_better) for row in runs.to_numpy(np.float64)])
    early, never = int((needed <= runs.columns[0]).sum()), int(np.isinf(needed).sum())
    mean = np.minimum(needed, runs.columns[-1]).mean()
    if early and never:
        return f"unknown ({early} at once and {never} never, of {len(needed)})"
    if early or never:
        return (
            f"≤ {mean:.1f} ({early} of {len(needed)} at once)"
            if early
            else f"> {mean:.1f} ({never} of {len(needed)} never)"
        )
    return spread(needed, "{:.1f}".format)


def versus(curves: Curves, baseline: str, more_is_better: bool = True) -> str:
    """Each strategy against the baseline as Markdown, then the verdict.

    Areas are paired by run; labels are saved on the way to what the baseline reaches with the last budget (95 % paired
    bootstrap).
    """
    area = areas(curves)
    found = pairwise(area, baseline, more_is_better).sort_values(
        "difference", ascending=not more_is_better, kind="stable"
    )
    head = [f"against `{baseline}`", "runs", "difference of area", "better / equal / worse"]
    head += ["p", "p, Holm", "labels saved", "95 % interval"]
    lines = [head, ["---"] * len(head)]
    for r in found.to_dict("records"):
        s = label_saving(curves, str(r["a"]), baseline, np.random.default_rng(0), higher_is_better=more_is_better)
        cells = [
            str(r["n"]),
            f"{r['difference']:+.3f} ± {number(r['std'])}",
            f"{r['wins']} / {r['ties']} / {r['losses']}",
        ]
        cells += [f"{r['p']:.3g}", f"{r['p_holm']:.3g}", saved(s["saving"]), interval(s["low"], s["high"], saved)]
        lines.append([f"`{r['a']}`".replace("|", "\\|"), *cells])
    return f"{markdown(lines)}\n\n{verdict(area, baseline, higher_is_better=more_is_better)}"


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a table; a row of dashes divides the head from the rest."""
    return "\n".join("|" + "---|" * len(line) if line[0] == "---" else "| " + " | ".join(line) + " |" for line in lines)


def add_choices(parser: argparse.ArgumentParser) -> None:
    """The arguments that choose runs, for all commands that read them."""
    parser.add_argument("source", nargs="?", default="runs", help="folder of runs, or mongodb:// address")
    parser.add_argument("--task", help="classify, segment or detect")
    parser.add_argument("--dataset")
    parser.add_argument("--metric", help="the runs' own main metric by default")
    parser.add_argument(
        "--where", nargs="+", action="extend", default=[], metavar="OPTION=VALUE", help="only runs with these options"
    )
    parser.add_argument(
        "--by", nargs="+", action="extend", default=[], metavar="OPTION", help="divide strategies by an option's values"
    )
    parser.add_argument("--newest", action="store_true", help="of equal runs take the newest, instead of refusing them")


def chosen_runs(asked: argparse.Namespace, records: Records) -> pd.DataFrame:
    """The frame of those of the records that the arguments choose, strategies divided as asked."""
    where = chosen_options(asked.where)
    clash = [
        name
        for name in where
        if name in ("source", "task", "dataset", "command", "statuses", "ids", "newest", "metrics")
    ]
    if clash:
        raise Refused(f"--where {clash[0]}=...: this is no option of a run; use --task, --dataset or --newest")
    return only_study(
        load(records, task=asked.task, dataset=asked.dataset, newest=asked.newest, **where),
        list(dict.fromkeys(asked.by)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_choices(parser)
    parser.add_argument("--target", metavar="VALUE", help="value of the metric for which the labels needed are counted")
    parser.add_argument("--baseline", help="strategy that all others are compared with")
    parser.add_argument("--costs", metavar="FILE.csv", help="of columns file,cost: curves over what labels cost")
    parser.add_argument("--out", help="figure to draw, .png or .pdf")
    asked = parser.parse_args()
    try:
        refuse_empty(asked)
        target = None if asked.target is None else _finite("--target", asked.target)
        if asked.out:
            kind_of_figure(Path(asked.out))
        records = read(asked.source)
        frame = chosen_runs(asked, records)
        metric = asked.metric or main_metric(frame)
        if lacking := without(frame, metric):
            print(f"warning: left out, without {metric}: runs {', '.join(map(str, lacking))}", file=sys.stderr)
        curves, what = curves_of(frame, metric), "labelled images"
        if asked.costs:
            picks = load_picks(records, ids=frame["run_id"].unique().tolist())
            curves, what = (
                over_cost(curves, costs_of(frame, picks, read_costs(Path(asked.costs)))),
                "cost of the labels",
            )
        more, yard = higher_is_better(metric), yardsticks(records, frame, metric)
        full = "" if yard.full is None else f"All labels with the same training: {yard.full:.3f} ({yard.full_count})."
        said = [full, told(frame.attrs["copies"]), *about_yardsticks(curves, yard, more)]
        said += [versus(curves, asked.baseline, more)] if asked.baseline else []
        say("\n\n".join([table(curves, target, more, yard), *filter(None, said)]))
        if asked.out:
            title = yard.titled(f"{frame['dataset'].iloc[0]}: mean and standard deviation over runs")
            drawn = draw_curves(curves, metric, title, yard.full, x_label=what, trivial=yard.trivial_mark)
            say(str(write_figure(drawn, Path(asked.out))))
    except (ValueError, OSError) as error:
        raise SystemExit(f"{error}") from None


if __name__ == "__main__":
    main()
