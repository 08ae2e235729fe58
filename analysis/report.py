"""python -m analysis.report SOURCE --task segment --dataset glas --out report/: one web page about a study, report/index.html.

The page holds its figures, tables, verdict, commands, surroundings and caveats, needs no network and no scripts, and may be sent as one
file. It shows no image of the dataset and no name of a machine; the command lines stand as they were typed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis import page
from analysis.caveats import caveats
from analysis.comparisons import critical_difference, friedman, pairwise, pairwise_per_budget, penalty_matrix, ranks, runs_needed, verdict
from analysis.curves import SECONDS, Curves, areas, bootstrap_interval, curves_of, label_saving, seconds_per_cycle, summary
from analysis.figures import BASELINE, draw_balance, draw_curves, draw_penalties, draw_ranks, draw_times
from analysis.picked import Balance, class_balance
from analysis.provenance import Document, command_line, documents, environments
from analysis.study import full_result, full_runs, higher_is_better, main_metric, without
from analysis.summary import add_choices, chosen_runs
from analysis.wording import interval, labels, number, saved, with_spread
from experiments.tracking.checkpoints import atomic, run_key

MOST_PAIRS = 10  # that are shown before they are folded


@dataclass(frozen=True)
class Study:
    """Runs of one task on one dataset, and what is known of them."""

    frame: pd.DataFrame  # of `analysis.runs.load`
    metric: str
    runs: Mapping[int, Document]  # of the runs in the frame
    left_out: Sequence[str]  # a sentence about each reason why runs or parts are missing
    full: float | None  # the metric with all labels
    full_runs: int  # behind it
    balance: Balance | None
    baseline: str

    @property
    def higher(self) -> bool:
        """Whether more of the metric is better."""
        return higher_is_better(self.metric)

    @property
    def curves(self) -> Curves:
        """Runs x budgets by strategy."""
        return curves_of(self.frame, self.metric)


def report(study: Study) -> str:
    """The whole page as HTML."""
    curves, first = study.curves, study.frame.iloc[0]
    budgets = next(iter(curves.values())).columns
    n_runs, metric = len(study.runs), study.metric.replace("_", " ")
    dates = sorted(str(d["start_time"])[:10] for d in study.runs.values() if d.get("start_time"))
    made = f" Made {dates[0]}{f' to {dates[-1]}' if dates[-1] != dates[0] else ''}." if dates else ""
    opening = f"{_count(len(curves), 'strategy', 'strategies')} in {_count(n_runs, 'run')}, {budgets[0]} to {budgets[-1]} labelled images."
    better = f"Measured by {metric} on the test set; {'higher' if study.higher else 'lower'} is better."
    return page.page(
        f"{first['task']} · {first['dataset']} · {metric}",
        page.paragraph(f"{opening} {better}{made}"),
        page.paragraph("Wide figures and tables scroll sideways.", "narrow note"),
        _verdicts(study),
        _curves(study),
        _savings(study),
        _pairs(study),
        _ranks(study),
        _penalties(study),
        _classes(study),
        _times(study),
        _caveats(study),
        _commands(study),
        _surroundings(study),
    )


def _count(n: int, one: str, many: str = "") -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"


def _verdicts(study: Study) -> str:
    curves = study.curves
    if len(curves) < 2:
        return page.section("Verdict", page.paragraph("One strategy alone: there is nothing to compare it with.", "verdict"))
    area = areas(curves)
    said = [verdict(area, higher_is_better=study.higher)]
    if study.baseline in curves and len(curves) > 2:
        against = verdict(area, study.baseline, higher_is_better=study.higher)
        said.append(f"A second question, at a level of its own: against {study.baseline} alone. {against}")
    return page.section("Verdict", *(page.paragraph(sentence, "verdict") for sentence in said))


def _curves(study: Study) -> str:
    curves, title = study.curves, f"{study.frame['dataset'].iloc[0]}: mean and standard deviation over runs"
    found = summary(curves, np.random.default_rng(0), full=study.full, higher_is_better=study.higher)
    budgets = next(iter(curves.values())).columns
    head = ["strategy", "runs", "area", "95 % interval", "final"]
    head += ["labels for 95 % of full", "reached by"] if study.full is not None else []
    rows = []
    for name, row in found.to_dict("index").items():
        cells = [f"{row['runs']:.0f}", with_spread(row["aubc"], row["aubc_std"]), interval(row["aubc_low"], row["aubc_high"])]
        cells += [with_spread(row["final"], row["final_std"])]
        if study.full is not None:
            cells += [labels(row["labels_for_95_of_full"], float(budgets[0]), float(budgets[-1])), f"{row['reached_95_of_full']:.0f}"]
        rows.append([name, *cells])
    values = [[name, *(with_spread(*pair) for pair in zip(c.mean(), c.std(ddof=1), strict=True))] for name, c in curves.items()]
    rng, budget_head = np.random.default_rng(0), ["labelled images", *(f"{budget:g}" for budget in budgets)]
    bounds = [[name, *map(interval, *bootstrap_interval(c.to_numpy(np.float64), rng))] for name, c in curves.items()]
    note = "Area under the curve over the label budget, divided by its width; final at the last budget. ± is the sample standard deviation "
    note += "over runs, the interval a percentile bootstrap of the mean."
    note += f" All labels with the same training reach {study.full:.3f}; labels are medians over runs." if study.full is not None else ""
    return page.section(
        "Curves",
        page.picture(draw_curves(curves, study.metric, title, study.full), f"Curves of {study.metric} over labelled images; values below."),
        page.table(head, rows),
        page.paragraph(note, "note"),
        page.table(budget_head, values),
        page.folded("95 % bootstrap intervals of the means", page.table(budget_head, bounds)),
    )


def _savings(study: Study) -> str:
    curves, rng = study.curves, np.random.default_rng(0)
    if study.baseline not in curves or len(curves) < 2:
        return page.section("Labels saved", page.paragraph(f"No runs of {study.baseline} to save labels against."))
    rows, budgets = [], [float(budget) for budget in curves[study.baseline].columns]
    for name in curves:
        if name == study.baseline or not len(curves[name].index.intersection(curves[study.baseline].index)):
            continue
        s = label_saving(curves, name, study.baseline, rng, higher_is_better=study.higher)
        share = "–" if not np.isfinite(s["relative"]) else f"{s['relative']:.0%}"
        cells = [number(s["target"]), *(labels(s[name], budgets[0], budgets[-1]) for name in ("needed", "needed_baseline"))]
        cells += [saved(s["saving"]), share]
        rows.append([name, f"{s['runs']:.0f}", *cells, interval(s["low"], s["high"], saved)])
    head = ["strategy", "common runs", "target", "needs", f"{study.baseline} needs", "saves", "share", "95 % interval"]
    note = f"On the way to what the mean curve of {study.baseline} reaches with the last budget; paired bootstrap over runs. "
    note += "A saving < 0 without a number: the strategy never got there; a dash: both began there, or neither got there."
    return page.section("Labels saved", page.table(head, rows), page.paragraph(note, "note"))


def _pairs(study: Study) -> str:
    if len(study.curves) < 2:
        return ""
    found = pairwise(areas(study.curves), higher_is_better=study.higher).sort_values("p_holm", kind="stable")
    head = ["pair", "runs", "difference", "wins", "ties", "losses", "p", "p, Holm"]
    rows = [
        [f"{r['a']} − {r['b']}", r["n"], with_spread(r["difference"], r["std"]), r["wins"], r["ties"], r["losses"]]
        + [f"{r['p']:.3g}", f"{r['p_holm']:.3g}"]
        for r in found.to_dict("records")
    ]
    note = "Areas under the curve, paired by run: exact Wilcoxon signed-rank test, corrected for all pairs."
    table = page.table(head, rows)
    title = _count(len(rows), "pair")
    parts = [page.folded(title, table) if len(rows) > MOST_PAIRS else table, page.paragraph(note, "note")]
    if study.baseline in {name for row in found.to_dict("records") for name in (row["a"], row["b"])}:
        parts.append(page.folded(f"p against {study.baseline} at each budget", *_per_budget(study)))
    return page.section("Pairs", *parts)


def _per_budget(study: Study) -> list[str]:
    """The test of every strategy against the baseline, budget by budget."""
    found = pairwise_per_budget(study.curves, study.baseline, study.higher)
    budgets = sorted(found["n_labelled"].unique())
    cells = {(r["a"], r["n_labelled"]): f"{r['difference']:+.3f} (p {r['p_holm']:.2g})" for r in found.to_dict("records")}
    rows = [[name, *(cells[name, budget] for budget in budgets)] for name in dict.fromkeys(found["a"])]
    note = "Mean difference and p, corrected by Holm within a budget and not over budgets: for exploring, not for claims."
    return [page.table(["labelled images", *(f"{budget:g}" for budget in budgets)], rows), page.paragraph(note, "note")]


def _ranks(study: Study) -> str:
    area = areas(study.curves)
    n = len(area.dropna())
    if area.shape[1] < 2 or n < 2:
        return page.section("Ranks", page.paragraph("Ranks need two strategies that share two runs."))
    mean = ranks(area, study.higher).mean()
    p = friedman(area)
    drawn = draw_ranks(mean, critical_difference(len(mean), n), f"mean rank over {n} runs, 1 is best")
    told = ", ".join(f"{name} {rank:.2f}" for name, rank in mean.sort_values().items())
    note = "Bars join strategies that differ by at most Nemenyi's critical difference at 0.05, which assumes many runs."
    if n < (needed := runs_needed(mean.size * (mean.size - 1) // 2)):
        note += f" With fewer than {needed} runs a missing bar proves nothing."
    note += f" Friedman's test that all rank alike: p = {p:.2g}." if np.isfinite(p) else ""
    return page.section("Ranks", page.picture(drawn, f"Mean ranks: {told}."), page.paragraph(note, "note"))


def _penalties(study: Study) -> str:
    curves = study.curves
    common = [len(a.index.intersection(b.index)) for a in curves.values() for b in curves.values() if a is not b]
    if min(common, default=0) < 2:
        return page.section("Penalty matrix", page.paragraph("The penalty matrix needs two common runs of every pair."))
    matrix = penalty_matrix(curves, higher_is_better=study.higher)
    told = "; ".join(f"{name} loses {matrix[name].sum() / (len(matrix) - 1):.2f}" for name in matrix)
    note = "Paired t-test at each budget, level 0.05, not corrected: it describes and proves nothing. The lower a column, the better."
    return page.section(
        "Penalty matrix",
        page.picture(draw_penalties(matrix, f"penalty matrix, {study.metric}"), f"On average {told}."),
        page.paragraph(note, "note"),
    )


def _classes(study: Study) -> str:
    found = study.balance
    if found is None:
        return page.section("Classes of the picks", page.paragraph("Not known here: see the last lines of “What to keep in mind”."))
    total = {name: counts.sum(axis=0) for name, counts in found.counts.items()} | {"pool": found.pool}
    rows = [[name, *(f"{share:.1%}" for share in counts / max(counts.sum(), 1))] for name, counts in total.items()]
    drawn = draw_balance(found.counts, found.classes, found.pool, "share of each class among the picks of a cycle")
    described = "Stacked bars of the classes of the picks, cycle by cycle; totals below."
    return page.section("Classes of the picks", page.picture(drawn, described), page.table(["picked by", *found.classes], rows))


def _times(study: Study) -> str:
    if not set(SECONDS) <= set(study.frame["metric"]):
        return page.section("Time", page.paragraph("These runs did not record their times."))
    seconds = seconds_per_cycle(study.frame)
    rows = [[name, *(f"{value:.2f}" for value in row)] for name, row in seconds.iterrows()]
    parts = [page.table(["strategy", *(f"{part}, s" for part in seconds.columns)], rows)]
    asking = pd.Series(seconds["query"])
    if asking.gt(0).all():
        drawn = draw_times(asking, areas(study.curves), f"area, {study.metric}", "what asking costs, and what it brings")
        parts.insert(0, page.picture(drawn, "Seconds per query against the area under the curve; numbers in the tables."))
    note = "Means over runs and cycles, in seconds of the machines that ran them; runs that share a machine slow each other."
    return page.section("Time", *parts, page.paragraph(note, "note"))


def _caveats(study: Study) -> str:
    found = caveats(study.frame, study.curves, study.runs, study.full, study.higher, study.full_runs)
    return page.section("What to keep in mind", page.items([*found, *study.left_out]))


def _commands(study: Study) -> str:
    lines = list(dict.fromkeys(command_line(document) for _, document in sorted(study.runs.items())))
    return page.section("Commands", page.folded(f"{_count(len(lines), 'command')} that made these runs", page.code(lines)))


def _surroundings(study: Study) -> str:
    found = environments(study.runs.values())
    names = list(found[0][0]) if found else []
    rows = [[name, *(surroundings[name] for surroundings, _ in found)] for name in names]
    return page.section("Surroundings", page.table(["", *(_count(count, "run") for _, count in found)], rows))


def gather(asked: argparse.Namespace) -> Study:
    """Read all that a report needs. Raises what `analysis.runs.load` raises."""
    frame = chosen_runs(asked)
    metric = asked.metric or main_metric(frame)
    task, dataset, ids = frame["task"].iloc[0], frame["dataset"].iloc[0], set(frame["run_id"])
    stored = documents(asked.source)
    alike = {i: d for i, d in stored.items() if d["experiment"]["name"] == task and d["config"].get("dataset") == dataset}
    unfinished = _unfinished(alike.values())
    left_out = [f"Runs on this dataset that did not end well or are not over, and are left out: {unfinished}."] if unfinished else []
    left_out += [f"Run {run_id} did not measure {metric} and is left out." for run_id in without(frame, metric)]
    damaged = frame.attrs.get("damaged", {})
    left_out += [f"Run {name} is damaged and left out: {reason}." for name, reason in damaged.items()]
    found = None
    try:
        found = class_balance(asked.source, frame)
    except FileNotFoundError:  # its message holds paths, which are nobody's business
        left_out.append(f"The classes of the picks are not shown: the dataset {dataset} was not found where this page was made.")
    except ValueError as error:
        left_out.append(f"The classes of the picks are not shown: {error}.")
    runs = {i: alike[i] for i in ids - set(without(frame, metric))}
    full = full_result(asked.source, frame, metric)
    n_full = len(full_runs(asked.source, frame))
    return Study(frame, metric, runs, left_out, full, n_full, found, _baseline(frame, asked.baseline))


def _unfinished(records: Iterable[Document]) -> int:
    """How many runs of active learning no record completed; attempts that were continued are one run with what completed it."""
    keys: dict[bool, set[str]] = {True: set(), False: set()}
    for record in records:
        if record["command"] == "main":
            keys[record["status"] == "COMPLETED"].add(run_key(f"{record['experiment']['name']}-main", record["config"]))
    return len(keys[False] - keys[True])


def _baseline(frame: pd.DataFrame, asked: str) -> str:
    """The baseline as the frame names it: where strategies are divided, the only part of it that there is."""
    parts = [name for name in sorted(set(frame["heuristic"])) if name.startswith(f"{asked}, ")]
    return parts[0] if len(parts) == 1 else asked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_choices(parser)
    parser.add_argument("--baseline", default=BASELINE, help="strategy to save labels against, divided as by --by")
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder for index.html")
    asked = parser.parse_args()
    try:
        text = report(gather(asked))
        asked.out.mkdir(parents=True, exist_ok=True)
        with atomic(asked.out / "index.html") as temporary:
            temporary.write_text(text, encoding="utf-8")
        print(asked.out / "index.html")
    except (ValueError, OSError) as error:
        raise SystemExit(f"{error}") from None


if __name__ == "__main__":
    main()
