"""Several studies at once: which strategies lead on the average dataset, and on how many datasets that was shown.

python -m analysis.across runs --baseline random --out across.png

Every dataset below the source is a study of its own, as `analysis.summary` reads it; strategies that some of them lack
are left out by name. Runs of one dataset are paired; between datasets nothing but ranks and verdicts is compared.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from analysis.across_figure import draw_across
from analysis.comparisons import ROUNDING, critical_difference, pairwise, places_of
from analysis.curves import areas, curves_of
from analysis.records import read
from analysis.study import main_metric
from analysis.summary import add_choices, chosen_runs, markdown, refuse_empty, spread
from analysis.wording import counted, say
from data.names import Refused
from experiments.measures.table import higher_is_better
from experiments.pictures.canvas import kind_of_figure, write_figure


@dataclass(frozen=True)
class Compared:
    """One dataset: the area under the budget curve of every run, and which way its metric points."""

    areas: pd.DataFrame  # runs x strategies, NaN where a strategy lacks that run
    metric: str
    more: bool  # whether more of the metric is better


Sets = Mapping[str, Compared]  # dataset -> its study


def gather(asked: argparse.Namespace) -> tuple[dict[str, Compared], list[str]]:
    """The studies of all datasets that the arguments choose, of the strategies that all have; and a sentence for each
    strategy that is left out. Refused for fewer than two datasets or strategies.
    """
    records = read(asked.source)
    found = {}
    ended = {(r.task, r.dataset) for r in records.records if (r.command, r.status) == ("main", "COMPLETED")}
    for task, dataset in sorted(ended):
        if (asked.task or task) == task and (asked.dataset or dataset) == dataset:
            one = copy.copy(asked)
            one.task, one.dataset = task, dataset
            frame = chosen_runs(one, records)
            metric = asked.metric or main_metric(frame)
            found[dataset] = Compared(areas(curves_of(frame, metric)), metric, higher_is_better(metric))
    if len(found) < 2:
        raise Refused(f"{asked.source} holds {counted(len(found), 'dataset')}, expected at least two to look across")
    shared = [name for name in next(iter(found.values())).areas if all(name in s.areas for s in found.values())]
    if len(shared) < 2:
        raise Refused(
            f"the datasets {', '.join(found)} share {counted(len(shared), 'strategy', 'strategies')}, not two"
        )
    lacking = {name for study in found.values() for name in study.areas} - set(shared)
    said = [f"{name} is left out: not every dataset has it." for name in sorted(lacking)]
    return {d: Compared(s.areas[shared], s.metric, s.more) for d, s in found.items()}, said


def ranks_over(sets: Sets) -> pd.DataFrame:
    """Rank of each strategy on each dataset by its mean area over the runs that all have, 1 the best: sets x
    strategies. Refused where a dataset has no such run.
    """
    means = {}
    for dataset, study in sets.items():
        complete = study.areas.dropna()
        if complete.empty:
            raise Refused(f"on {dataset} no run was made with all of {', '.join(study.areas)}: ranks need one")
        means[dataset] = complete.mean() * (1 if study.more else -1)
    return places_of(pd.DataFrame(means).T, True, "average")


def shown(sets: Sets, baseline: str | None = None, alpha: float = 0.05) -> dict[str, pd.DataFrame]:
    """Of each dataset the differences that its runs decide: rows of `pairwise` with p after Holm (within the dataset)
    of at most `alpha`, whose mean points where the ranks do; winner first, in the columns `winner` and `loser`.
    """
    found = {}
    for dataset, study in sets.items():
        pairs = pairwise(study.areas, baseline, study.more)
        ahead = (pairs["favoured"] == pairs["a"]).to_numpy()
        gain = pairs["difference"].to_numpy() * np.where(ahead == study.more, 1, -1)
        winner, loser = np.where(ahead, (pairs["a"], pairs["b"]), (pairs["b"], pairs["a"]))
        agree = (gain > ROUNDING * pairs["std"].fillna(0).to_numpy()) & (pairs["p_holm"].to_numpy() <= alpha)
        found[dataset] = pairs.assign(winner=winner, loser=loser)[agree]
    return found


def wins_over(sets: Sets, alpha: float = 0.05) -> pd.DataFrame:
    """On how many datasets the row was shown to beat the column: strategies x strategies, 0..S (see `shown`)."""
    names = list(next(iter(sets.values())).areas)
    matrix = pd.DataFrame(0, index=pd.Index(names, name="wins"), columns=pd.Index(names, name="loses"))
    for pairs in shown(sets, None, alpha).values():
        for winner, loser in zip(pairs["winner"], pairs["loser"], strict=True):
            matrix.loc[winner, loser] += 1
    return matrix


def table(sets: Sets, baseline: str | None = None) -> str:
    """Mean ± standard deviation of the area by strategy and dataset as Markdown, best mean rank first.

    ▲ and ▼ stand where a strategy was shown to be better or worse than the baseline (Holm over the strategies of that
    dataset).
    """
    ranks = ranks_over(sets)
    decided = shown(sets, baseline) if baseline else {}
    lines = [["strategy", *(f"{d} ({s.metric})" for d, s in sets.items()), "mean rank"]]
    lines.append(["---"] * len(lines[0]))
    for name in ranks.mean().sort_values(kind="stable").index:
        cells = []
        for dataset, study in sets.items():
            pairs = decided.get(dataset, pd.DataFrame({"winner": [], "loser": []}))
            sign = " ▲" if name in set(pairs["winner"]) - {baseline} else ""
            sign = " ▼" if name in set(pairs["loser"]) - {baseline} else sign
            cells.append(spread(study.areas[name].dropna().to_numpy()) + sign)
        lines.append([f"`{name}`".replace("|", "\\|"), *cells, f"{ranks[name].mean():.2f}"])
    return markdown(lines)


def verdict(sets: Sets, baseline: str | None = None, alpha: float = 0.05) -> str:
    """What may be said across the datasets: Friedman and Nemenyi over the sets, and the pairs decided within them."""
    ranks = ranks_over(sets)
    n_sets, k = ranks.shape
    mean = ranks.mean().sort_values(kind="stable")
    sentences = []
    if k > 2:
        p = 1.0 if (ranks.nunique(axis=1) == 1).all() else stats.friedmanchisquare(*ranks.to_numpy().T).pvalue
        apart = critical_difference(k, n_sets, alpha)
        differ = int((np.subtract.outer(mean.to_numpy(), mean.to_numpy()) > apart).sum())
        sentences.append(
            f"Over {n_sets} datasets mean ranks differ with p = {p:.2g} (Friedman); Nemenyi's critical difference is "
            f"{apart:.2f}, which {differ} of {k * (k - 1) // 2} pairs exceed."
        )
    decided = shown(sets, baseline, alpha)
    total = sum(len(pairwise(s.areas, baseline, s.more)) for s in sets.values())
    against = f" against {baseline}" if baseline else ""
    count = sum(map(len, decided.values()))
    sentences.append(f"Within the datasets {count} of {total} pairs{against} are decided (Holm in each dataset).")
    if baseline:
        for word, column in (("better", "winner"), ("worse", "loser")):
            times = pd.Series([n for pairs in decided.values() for n in pairs[column] if n != baseline], dtype=object)
            listed = ", ".join(f"{name} on {n}" for name, n in times.value_counts(sort=True).items())
            sentences.append(f"Shown to be {word} than {baseline}: {listed or 'none'}.")
    return " ".join(sentences)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_choices(parser)
    parser.add_argument("--baseline", help="strategy that all others are compared with")
    parser.add_argument("--out", help="figure to draw, .png or .pdf")
    asked = parser.parse_args()
    try:
        refuse_empty(asked)
        if asked.out:
            kind_of_figure(Path(asked.out))
        sets, left_out = gather(asked)
        for sentence in left_out:
            print(f"warning: {sentence}", file=sys.stderr)
        names = list(next(iter(sets.values())).areas)
        if asked.baseline and asked.baseline not in names:
            raise Refused(f"no strategy {asked.baseline!r} to compare with; known: {', '.join(names)}")
        say(f"{table(sets, asked.baseline)}\n\n{verdict(sets, asked.baseline)}")
        if asked.out:
            ranks, wins = ranks_over(sets), wins_over(sets)
            apart = critical_difference(len(names), len(sets))
            say(str(write_figure(draw_across(ranks, wins, apart, "Strategies across datasets"), Path(asked.out))))
    except (ValueError, OSError) as error:
        raise SystemExit(f"{error}") from None


if __name__ == "__main__":
    main()
