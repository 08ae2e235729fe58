"""python -m analysis.summary [SOURCE] --dataset NAME [--metric NAME] [--out FILE.png]: completed runs as a table and a figure.

SOURCE is a runs folder (runs by default) or a mongodb:// address. The table is Markdown: one row per strategy, best area first, mean ±
sample standard deviation over its runs at every budget, and the area under the budget curve. With --target also the labels that a run
needs for it; where runs never reach it, they count with the last budget, so that the mean is a lower bound, and are counted. With
--baseline random every other strategy is compared with that one, paired by run, and a verdict says what the runs allow to say.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from analysis.comparisons import pairwise, verdict
from analysis.curves import Curves, areas, curves_of, label_saving, labels_needed
from analysis.figures import draw_curves
from analysis.plots import write_figure
from analysis.provenance import documents, same_recipe
from analysis.runs import load
from analysis.wording import interval, number, saved
from heuristics.registry import suggestion

LOWER_IS_BETTER = {"hd95", "object_hausdorff", "nll", "ece", "train_loss", "train_seconds", "test_seconds", "query_seconds", "loader_share"}


def higher_is_better(metric: str) -> bool:
    """Whether more of a metric is better; distances, losses and times are the others."""
    return metric.removeprefix("mc_") not in LOWER_IS_BETTER


def chosen_options(words: Sequence[str]) -> dict[str, Any]:
    """`--where steps=200 heuristic=random,bald` as options of `load`. ValueError for a word without a name and a value."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not (name and equals and text):
            raise ValueError(f"--where {word}: expected option=value, or option=value,value")
        whole = _value(text)
        found[name] = [_value(part) for part in text.split(",")] if whole == text and "," in text else whole
    return found


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def only_study(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame, if its runs are of one task and one dataset; else a ValueError that names them."""
    for column in ("task", "dataset"):
        found = sorted(set(frame[column]))
        if len(found) > 1:
            several = ", ".join(found)
            raise ValueError(f"these runs are of several {column}s ({several}): choose one with --{column}")
    return frame


def main_metric(frame: pd.DataFrame) -> str:
    """The metric that the runs were asked to report. ValueError where it is not the same for all."""
    names = sorted(frame["option_metric"].dropna().unique()) if "option_metric" in frame else []
    if len(names) != 1:
        raise ValueError(f"the runs name {', '.join(names) or 'no'} main metric: choose one with --metric")
    return names[0]


def split_by(frame: pd.DataFrame, options: Sequence[str]) -> pd.DataFrame:
    """The frame with strategies divided by the values of options: `box_entropy, pseudo_labels` beside `box_entropy`.

    ValueError for an unknown option.
    """
    for name in options:
        if name not in frame:
            raise ValueError(f"no run has option {name!r}.{suggestion(name, list(frame))}")
    names = frame["heuristic"].astype(str)
    for option in options:
        names = names + frame[option].map(lambda v, name=option: "" if v is False else f", {name}" if v is True else f", {name}={v}")
    split = frame.assign(heuristic=names)
    split.attrs = frame.attrs
    return split


def full_result(source: str | Path, frame: pd.DataFrame, metric: str) -> float | None:
    """Mean of `metric` over the completed runs of `supervised` with the data and the training of the frame's runs; None without any."""
    stored = documents(source)
    ids = set(frame["run_id"])
    ours = [stored[i]["config"] for i in ids if i in stored]
    same = {i for i, d in stored.items() if d["command"] == "supervised" and d["status"] == "COMPLETED"}
    same = {i for i in same if stored[i]["experiment"]["name"] in set(frame["task"]) and same_recipe(stored[i]["config"], ours)}
    if not same:
        return None
    rows = load(source, command="supervised", ids=same, newest=True, metrics=[metric])
    return float(rows["value"].to_numpy().mean())


def table(curves: Curves, target: float | None = None, more_is_better: bool = True) -> str:
    """Mean ± standard deviation at every budget as Markdown, best area first."""
    area = areas(curves)
    order = [str(name) for name in area.mean().sort_values(ascending=not more_is_better, kind="stable").index]
    head = ["strategy", "runs", *(f"{budget:g}" for budget in curves[order[0]].columns), "area"]
    head += [] if target is None else [f"labels for {target:g}"]
    lines = [head, ["---"] * len(head)]
    for name in order:
        values = curves[name].to_numpy(np.float64)
        cells = [spread(column) for column in [*values.T, area[name].dropna().to_numpy()]]
        cells += [] if target is None else [_needed(curves[name], target, more_is_better)]
        lines.append([f"`{name}`".replace("|", "\\|"), str(len(values)), *cells])
    return markdown(lines)


def spread(values: Float[ndarray, " runs"], write: Callable[[float], str] = "{:.3f}".format) -> str:
    """Mean ± sample standard deviation, which a single value has not."""
    beside = f" ± {write(values.std(ddof=1))}" if len(values) > 1 else ""
    return f"{write(values.mean())}{beside}"


def _needed(runs: pd.DataFrame, target: float, more_is_better: bool) -> str:
    needed = np.array([labels_needed(runs.columns, row, target, more_is_better) for row in runs.to_numpy(np.float64)])
    never = int(np.isinf(needed).sum())
    if not never:
        return spread(needed, "{:.1f}".format)
    return f"> {np.minimum(needed, runs.columns[-1]).mean():.1f} ({never} of {len(needed)} never)"


def versus(curves: Curves, baseline: str, more_is_better: bool = True) -> str:
    """Each strategy against the baseline as Markdown, then the verdict: areas paired by run, labels saved on the way to what the
    baseline reaches with the last budget (95 % paired bootstrap)."""
    area = areas(curves)
    found = pairwise(area, baseline, more_is_better).sort_values("difference", ascending=not more_is_better, kind="stable")
    head = [f"against `{baseline}`", "runs", "difference of area", "better / equal / worse"]
    head += ["p", "p, Holm", "labels saved", "95 % interval"]
    lines = [head, ["---"] * len(head)]
    for r in found.to_dict("records"):
        s = label_saving(curves, str(r["a"]), baseline, np.random.default_rng(0), higher_is_better=more_is_better)
        cells = [str(r["n"]), f"{r['difference']:+.3f} ± {number(r['std'])}", f"{r['wins']} / {r['ties']} / {r['losses']}"]
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
    parser.add_argument("--where", nargs="+", action="extend", default=[], metavar="OPTION=VALUE", help="only runs with these options")
    parser.add_argument("--by", nargs="+", action="extend", default=[], metavar="OPTION", help="divide strategies by an option's values")
    parser.add_argument("--newest", action="store_true", help="of equal runs take the newest, instead of refusing them")


def chosen_runs(asked: argparse.Namespace) -> pd.DataFrame:
    """The frame of the runs that the arguments choose, strategies divided as asked."""
    where = chosen_options(asked.where)
    clash = [name for name in where if name in ("task", "dataset", "command", "statuses", "ids", "newest", "metrics")]
    if clash:
        raise ValueError(f"--where {clash[0]}=...: this is no option of a run; use --task, --dataset or --newest")
    return split_by(only_study(load(asked.source, task=asked.task, dataset=asked.dataset, newest=asked.newest, **where)), asked.by)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_choices(parser)
    parser.add_argument("--target", type=float, help="value of the metric for which the labels needed are counted")
    parser.add_argument("--baseline", help="strategy that all others are compared with")
    parser.add_argument("--out", type=Path, help="PNG to draw")
    asked = parser.parse_args()
    try:
        frame = chosen_runs(asked)
        metric = asked.metric or main_metric(frame)
        curves = curves_of(frame, metric)
        print(table(curves, asked.target, higher_is_better(metric)))
        if asked.baseline:
            print(f"\n{versus(curves, asked.baseline, higher_is_better(metric))}")
        if asked.out:
            title = f"{frame['dataset'].iloc[0]}: mean and standard deviation over runs"
            print(write_figure(draw_curves(curves, metric, title, full_result(asked.source, frame, metric)), asked.out))
    except (ValueError, OSError) as error:
        raise SystemExit(f"{error}") from None


if __name__ == "__main__":
    main()
