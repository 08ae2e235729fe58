"""The sections of a report that compare strategies: labels saved, pairs, ranks and the penalty matrix."""

from __future__ import annotations

import numpy as np

from analysis import page
from analysis.comparisons import (
    critical_difference,
    friedman,
    pairwise,
    pairwise_per_budget,
    penalty_matrix,
    ranks,
    runs_needed,
)
from analysis.curves import areas
from analysis.figures import draw_penalties, draw_ranks
from analysis.gathered import Study
from analysis.savings import label_saving
from analysis.wording import counted, interval, labels, number, saved, with_spread

MOST_PAIRS = 10  # that are shown before they are folded


def savings_section(study: Study) -> str:
    curves, rng = study.curves, np.random.default_rng(0)
    if study.baseline not in curves or len(curves) < 2:
        return page.section("Labels saved", page.paragraph(f"No runs of {study.baseline} to save labels against."))
    rows, budgets = [], [float(budget) for budget in curves[study.baseline].columns]
    for name in curves:
        if name == study.baseline or not len(curves[name].index.intersection(curves[study.baseline].index)):
            continue
        s = label_saving(curves, name, study.baseline, rng, higher_is_better=study.higher)
        share = "–" if not np.isfinite(s["relative"]) else f"{s['relative']:.0%}"
        cells = [
            number(s["target"]),
            *(labels(s[name], budgets[0], budgets[-1]) for name in ("needed", "needed_baseline")),
        ]
        cells += [saved(s["saving"]), share]
        rows.append([name, f"{s['runs']:.0f}", *cells, interval(s["low"], s["high"], saved)])
    head = ["strategy", "common runs", "target", "needs", f"{study.baseline} needs", "saves", "share", "95 % interval"]
    note = (
        f"On the way to what the mean curve of {study.baseline} reaches with the last budget; paired "
        "bootstrap over runs. "
    )
    note += (
        "A saving < 0 without a number: the strategy never got there; a dash: both began there, or neither got there."
    )
    return page.section("Labels saved", page.table(head, rows), page.paragraph(note, "note"))


def pairs_section(study: Study) -> str:
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
    title = counted(len(rows), "pair")
    parts = [page.folded(title, table) if len(rows) > MOST_PAIRS else table, page.paragraph(note, "note")]
    if study.baseline in {name for row in found.to_dict("records") for name in (row["a"], row["b"])}:
        parts.append(page.folded(f"p against {study.baseline} at each budget", *_per_budget(study)))
    return page.section("Pairs", *parts)


def _per_budget(study: Study) -> list[str]:
    """The test of every strategy against the baseline, budget by budget."""
    found = pairwise_per_budget(study.curves, study.baseline, study.higher)
    budgets = sorted(found["n_labelled"].unique())
    cells = {
        (r["a"], r["n_labelled"]): f"{r['difference']:+.3f} (p {r['p_holm']:.2g})" for r in found.to_dict("records")
    }
    rows = [[name, *(cells[name, budget] for budget in budgets)] for name in dict.fromkeys(found["a"])]
    note = (
        "Mean difference and p, corrected by Holm within a budget and not over budgets: for exploring, not for claims."
    )
    return [page.table(["labelled images", *(f"{budget:g}" for budget in budgets)], rows), page.paragraph(note, "note")]


def ranks_section(study: Study) -> str:
    area = areas(study.curves)
    n = len(area.dropna())
    if area.shape[1] < 2 or n < 2:
        return page.section("Ranks", page.paragraph("Ranks need two strategies that share two runs."))
    mean = ranks(area, study.higher).mean()
    p = friedman(area)
    drawn = draw_ranks(
        mean, critical_difference(len(mean), n), study.yard.titled(f"mean rank over {n} runs, 1 is best")
    )
    told = ", ".join(f"{name} {rank:.2f}" for name, rank in mean.sort_values().items())
    note = "Bars join strategies that differ by at most Nemenyi's critical difference at 0.05, which assumes many runs."
    if n < (needed := runs_needed(mean.size * (mean.size - 1) // 2)):
        note += f" With fewer than {needed} runs a missing bar proves nothing."
    note += f" Friedman's test that all rank alike: p = {p:.2g}." if np.isfinite(p) else ""
    return page.section("Ranks", page.picture(drawn, f"Mean ranks: {told}."), page.paragraph(note, "note"))


def penalties_section(study: Study) -> str:
    curves = study.curves
    common = [len(a.index.intersection(b.index)) for a in curves.values() for b in curves.values() if a is not b]
    if min(common, default=0) < 2:
        return page.section("Penalty matrix", page.paragraph("The penalty matrix needs two common runs of every pair."))
    matrix = penalty_matrix(curves, higher_is_better=study.higher)
    told = "; ".join(f"{name} loses {matrix[name].sum() / (len(matrix) - 1):.2f}" for name in matrix)
    note = (
        "Paired t-test at each budget, level 0.05, not corrected: it describes and proves nothing. The "
        "lower a column, the better."
    )
    return page.section(
        "Penalty matrix",
        page.picture(
            draw_penalties(matrix, study.yard.titled(f"penalty matrix, {study.metric}")), f"On average {told}."
        ),
        page.paragraph(note, "note"),
    )
