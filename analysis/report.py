"""python -m analysis.report SOURCE --task segment --dataset glas --out report/: one web page about a study, report/index.html.

The page holds its figures, tables, verdict, commands, surroundings and caveats, needs no network and no scripts, and may be sent as one
file. It shows no image of the dataset and no name of a machine; the command lines stand as they were typed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from analysis import page
from analysis.caveats import caveats
from analysis.comparisons import critical_difference, friedman, pairwise, pairwise_per_budget, penalty_matrix, ranks, runs_needed
from analysis.curves import SECONDS, areas, curves_of, label_saving, mean_interval, seconds_per_cycle, summary
from analysis.figures import draw_balance, draw_curves, draw_penalties, draw_ranks, draw_times
from analysis.gathered import Study, gather
from analysis.provenance import command_line, environments
from analysis.study import per_class
from analysis.summary import add_choices
from analysis.verdict import verdict
from analysis.wording import interval, labels, number, saved, say, with_spread, with_unit
from data.files import atomic

MOST_PAIRS = MOST_CLASSES = 10  # that are shown before they are folded


def report(study: Study) -> str:
    """The whole page as HTML."""
    curves, first = study.curves, study.frame.iloc[0]
    budgets = next(iter(curves.values())).columns
    n_runs, metric = len(study.runs), with_unit(study.metric)
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
        _per_class(study),
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
    curves, yard = study.curves, study.yard
    title = yard.titled(f"{study.frame['dataset'].iloc[0]}: mean and standard deviation over runs")
    found = summary(curves, full=study.yard.full, higher_is_better=study.higher)
    budgets = next(iter(curves.values())).columns
    head = ["strategy", "runs", "area", "95 % interval", "final"]
    head += ["labels for 95 % of full", "reached by"] if study.yard.full is not None else []
    rows = []
    for name, row in found.to_dict("index").items():
        cells = [f"{row['runs']:.0f}", with_spread(row["aubc"], row["aubc_std"]), interval(row["aubc_low"], row["aubc_high"])]
        cells += [with_spread(row["final"], row["final_std"])]
        if study.yard.full is not None:
            cells += [labels(row["labels_for_95_of_full"], float(budgets[0]), float(budgets[-1])), f"{row['reached_95_of_full']:.0f}"]
        rows.append([name, *cells])
    values = [[name, *(with_spread(*pair) for pair in zip(c.mean(), c.std(ddof=1), strict=True))] for name, c in curves.items()]
    if yard.trivial_mark:
        what, value = yard.trivial_mark
        values.append([what, *[number(value)] * len(budgets)])
        rows.append([what, "", *[number(value), "", number(value)], *["", ""] * (yard.full is not None)])
    budget_head = ["labelled images", *(f"{budget:g}" for budget in budgets)]
    bounds = [[name, *map(interval, *mean_interval(c.to_numpy(np.float64)))] for name, c in curves.items()]
    note = "Area under the curve over the label budget, divided by its width; final at the last budget. ± is the sample standard deviation "
    note += "over runs, the interval Student's of the mean."
    note += "" if yard.full is None else f" All labels with the same training reach {yard.full:.3f}; labels are medians over runs."
    return page.section(
        "Curves",
        page.picture(
            draw_curves(curves, study.metric, title, yard.full, trivial=yard.trivial_mark),
            f"Curves of {study.metric} over labelled images; values below.",
        ),
        page.table(head, rows),
        page.paragraph(note, "note"),
        page.table(budget_head, values),
        page.folded("95 % intervals of the means", page.table(budget_head, bounds)),
    )


def _per_class(study: Study) -> str:
    """The measures of single classes at the last budget, where runs have them: a table for each measure."""
    parts = []
    for measure, columns in per_class(set(study.frame["metric"])).items():
        rows: dict[str, list[str]] = {}
        for place, column in enumerate(columns.values()):
            for name, curve in curves_of(study.frame, column).items():
                last = curve.iloc[:, -1].dropna()
                cells = rows.setdefault(name, ["–"] * len(columns))
                cells[place] = with_spread(last.mean(), last.std(ddof=1))
        told = f"{measure} of each class at the last budget, mean and sample standard deviation over runs."
        table = page.table(["strategy", *columns], [[name, *cells] for name, cells in sorted(rows.items())])
        parts += [page.paragraph(told, "note"), page.folded(f"{len(columns)} classes", table) if len(columns) > MOST_CLASSES else table]
    return page.section("Classes on the test set", *parts) if parts else ""


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
    drawn = draw_ranks(mean, critical_difference(len(mean), n), study.yard.titled(f"mean rank over {n} runs, 1 is best"))
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
        page.picture(draw_penalties(matrix, study.yard.titled(f"penalty matrix, {study.metric}")), f"On average {told}."),
        page.paragraph(note, "note"),
    )


def _classes(study: Study) -> str:
    found = study.balance
    if isinstance(found, str):
        return page.section("Classes of the picks", page.paragraph(found))
    total = {name: counts.sum(axis=0) for name, counts in found.counts.items()} | {"pool": found.pool}
    rows = [[name, *(f"{share:.1%}" for share in counts / max(counts.sum(), 1))] for name, counts in total.items()]
    drawn = draw_balance(found.counts, found.classes, found.pool, study.yard.titled("share of each class among the picks of a cycle"))
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
        drawn = draw_times(asking, areas(study.curves), f"area, {study.metric}", study.yard.titled("what asking costs, and what it brings"))
        parts.insert(0, page.picture(drawn, "Seconds per query against the area under the curve; numbers in the tables."))
    note = "Means over runs and cycles, in seconds of the machines that ran them; runs that share a machine slow each other."
    return page.section("Time", *parts, page.paragraph(note, "note"))


def _caveats(study: Study) -> str:
    found = caveats(study.frame, study.curves, study.runs, study.yard, study.higher)
    return page.section("What to keep in mind", page.items([*found, *study.left_out]))


def _commands(study: Study) -> str:
    lines = list(dict.fromkeys(command_line(document) for _, document in sorted(study.runs.items())))
    return page.section("Commands", page.folded(f"{_count(len(lines), 'command')} that made these runs", page.code(lines)))


def _surroundings(study: Study) -> str:
    found = environments(study.runs.values())
    names = list(found[0][0]) if found else []
    rows = [[name, *(surroundings[name] for surroundings, _ in found)] for name in names]
    return page.section("Surroundings", page.table(["", *(_count(count, "run") for _, count in found)], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_choices(parser)
    parser.add_argument("--baseline", help="strategy to save labels against, divided as by --by (random)")
    parser.add_argument("--out", default="report", help="folder for index.html")
    asked = parser.parse_args()
    try:
        text = report(gather(asked))
        file = Path(asked.out) / "index.html"
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic(file) as temporary:
            temporary.write_text(text, encoding="utf-8")
        say(str(file))
    except (ValueError, OSError) as error:
        raise SystemExit(f"{error}") from None


if __name__ == "__main__":
    main()
