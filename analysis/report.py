"""python -m analysis.report SOURCE --task segment --dataset glas --out report/: a study as one page, report/index.html.

The page holds its figures, tables, verdict, commands, surroundings and caveats, needs no network and no scripts, and
may be sent as one file. It shows no image of the dataset and no name of a machine; the command lines stand as they were
typed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from analysis import page
from analysis.caveats import caveats
from analysis.curves import SECONDS, areas, curves_of, mean_interval, seconds_per_cycle
from analysis.figures import draw_balance, draw_curves, draw_times
from analysis.gathered import Study, gather
from analysis.provenance import command_line, environments
from analysis.report_comparisons import pairs_section, penalties_section, ranks_section, savings_section
from analysis.savings import summary
from analysis.study import per_class
from analysis.summary import add_choices
from analysis.verdict import verdict
from analysis.wording import counted, interval, labels, number, say, with_spread, with_unit
from data.files import atomic
from data.inventory import lines, without_names

MOST_CLASSES = 10  # that are shown before they are folded


def report(study: Study) -> str:
    """The whole page as HTML."""
    curves, first = study.curves, study.frame.iloc[0]
    budgets = next(iter(curves.values())).columns
    n_runs, metric = len(study.runs), with_unit(study.metric)
    dates = sorted(str(d["start_time"])[:10] for d in study.runs.values() if d.get("start_time"))
    made = f" Made {dates[0]}{f' to {dates[-1]}' if dates[-1] != dates[0] else ''}." if dates else ""
    opening = (
        f"{counted(len(curves), 'strategy', 'strategies')} in {counted(n_runs, 'run')}, {budgets[0]} "
        f"to {budgets[-1]} labelled images."
    )
    better = f"Measured by {metric} on the test set; {'higher' if study.higher else 'lower'} is better."
    return page.page(
        f"{first['task']} · {first['dataset']} · {metric}",
        page.paragraph(f"{opening} {better}{made}"),
        page.paragraph("Wide figures and tables scroll sideways.", "narrow note"),
        _verdicts(study),
        _curves(study),
        _per_class(study),
        savings_section(study),
        pairs_section(study),
        ranks_section(study),
        penalties_section(study),
        _classes(study),
        _read(study),
        _times(study),
        _caveats(study),
        _commands(study),
        _surroundings(study),
    )


def _verdicts(study: Study) -> str:
    curves = study.curves
    if len(curves) < 2:
        return page.section(
            "Verdict", page.paragraph("One strategy alone: there is nothing to compare it with.", "verdict")
        )
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
        cells = [
            f"{row['runs']:.0f}",
            with_spread(row["aubc"], row["aubc_std"]),
            interval(row["aubc_low"], row["aubc_high"]),
        ]
        cells += [with_spread(row["final"], row["final_std"])]
        if study.yard.full is not None:
            cells += [
                labels(row["labels_for_95_of_full"], float(budgets[0]), float(budgets[-1])),
                f"{row['reached_95_of_full']:.0f}",
            ]
        rows.append([name, *cells])
    values = [
        [name, *(with_spread(*pair) for pair in zip(c.mean(), c.std(ddof=1), strict=True))]
        for name, c in curves.items()
    ]
    if yard.trivial_mark:
        what, value = yard.trivial_mark
        values.append([what, *[number(value)] * len(budgets)])
        rows.append([what, "", *[number(value), "", number(value)], *["", ""] * (yard.full is not None)])
    budget_head = ["labelled images", *(f"{budget:g}" for budget in budgets)]
    bounds = [[name, *map(interval, *mean_interval(c.to_numpy(np.float64)))] for name, c in curves.items()]
    note = (
        "Area under the curve over the label budget, divided by its width; final at the last budget. ± "
        "is the sample standard deviation "
    )
    note += "over runs, the interval Student's of the mean."
    note += (
        ""
        if yard.full is None
        else f" All labels with the same training reach {yard.full:.3f}; labels are medians over runs."
    )
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
        parts += [
            page.paragraph(told, "note"),
            page.folded(f"{len(columns)} classes", table) if len(columns) > MOST_CLASSES else table,
        ]
    return page.section("Classes on the test set", *parts) if parts else ""


def _classes(study: Study) -> str:
    found = study.balance
    if isinstance(found, str):
        return page.section("Classes of the picks", page.paragraph(found))
    total = {name: counts.sum(axis=0) for name, counts in found.counts.items()} | {"pool": found.pool}
    rows = [[name, *(f"{share:.1%}" for share in counts / max(counts.sum(), 1))] for name, counts in total.items()]
    drawn = draw_balance(
        found.counts, found.classes, found.pool, study.yard.titled("share of each class among the picks of a cycle")
    )
    described = "Stacked bars of the classes of the picks, cycle by cycle; totals below."
    return page.section(
        "Classes of the picks", page.picture(drawn, described), page.table(["picked by", *found.classes], rows)
    )


def _read(study: Study) -> str:
    """What the newest run read, without the names of patients and images."""
    try:
        first, *others = lines(without_names(dict(study.read)), full=True)
    except (LookupError, TypeError, ValueError, AttributeError):  # older runs noted less
        return page.section("What was read", page.paragraph("These runs did not note what they read."))
    told = page.items([" ".join(line.split()) for line in others])
    return page.section("What was read", page.paragraph(first.partition(": ")[2]), told)


def _times(study: Study) -> str:
    if not set(SECONDS) <= set(study.frame["metric"]):
        return page.section("Time", page.paragraph("These runs did not record their times."))
    seconds = seconds_per_cycle(study.frame)
    rows = [[name, *(f"{value:.2f}" for value in row)] for name, row in seconds.iterrows()]
    parts = [page.table(["strategy", *(f"{part}, s" for part in seconds.columns)], rows)]
    asking = pd.Series(seconds["query"])
    if asking.gt(0).all():
        drawn = draw_times(
            asking,
            areas(study.curves),
            f"area, {study.metric}",
            study.yard.titled("what asking costs, and what it brings"),
        )
        parts.insert(
            0, page.picture(drawn, "Seconds per query against the area under the curve; numbers in the tables.")
        )
    note = (
        "Means over runs and cycles, in seconds of the machines that ran them; runs that share a "
        "machine slow each other."
    )
    return page.section("Time", *parts, page.paragraph(note, "note"))


def _caveats(study: Study) -> str:
    found = caveats(study.frame, study.curves, study.runs, study.yard, study.higher)
    return page.section("What to keep in mind", page.items([*found, *study.left_out]))


def _commands(study: Study) -> str:
    lines = list(dict.fromkeys(command_line(document) for _, document in sorted(study.runs.items())))
    return page.section(
        "Commands", page.folded(f"{counted(len(lines), 'command')} that made these runs", page.code(lines))
    )


def _surroundings(study: Study) -> str:
    found = environments(study.runs.values())
    names = list(found[0][0]) if found else []
    rows = [[name, *(surroundings[name] for surroundings, _ in found)] for name in names]
    return page.section("Surroundings", page.table(["", *(counted(count, "run") for _, count in found)], rows))


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
