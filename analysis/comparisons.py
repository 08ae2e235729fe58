"""Is one strategy better than another, or was it luck? Tests paired by `run`, and ranks; in words: `analysis.verdict`.

A table of scores has one row per run and one column per strategy, usually the AUBC (`analysis.curves.areas`), NaN where
a strategy lacks a run: each pair is compared on the runs that both have. A study of R runs on one dataset speaks of
that dataset, split and budget alone.
"""

from __future__ import annotations

from itertools import combinations
from math import ceil, log2
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from numpy import ndarray
from numpy.typing import ArrayLike
from scipy import stats

from analysis.curves import Curves
from data.names import Refused

ROUNDING = 1e-12  # of the largest score: what differs by less is equal


def signed_rank(differences: ArrayLike) -> float:
    """Two-sided p of Wilcoxon's signed-rank test for paired `differences` (n,), exact also with ties (Wilcoxon, 1945).

    p = min(1, 2 P(W <= min(w+, w-))), with W the sum of those ranks of |d| whose signs fall on plus, all 2^n signs
    equally likely. Zeros are dropped first (Wilcoxon's rule), ties share their mean rank, and the distribution is that
    of the very ranks seen; scipy's method="exact" is the same where there are neither. Differences equal up to rounding
    (12 digits of the largest) count as tied. Without a difference p is 1. Raises ValueError for numbers that are not
    finite.
    """
    ranks = signed_ranks(differences)
    ways = np.ones(1)  # ways[w] = number of signs with rank sum w
    for rank in np.abs(ranks):
        ways = np.pad(ways, (0, rank)) + np.pad(ways, (rank, 0))
    smaller = min(ranks[ranks > 0].sum(), -ranks[ranks < 0].sum())
    return float(min(1.0, 2 * ways[: smaller + 1].sum() / ways.sum()))


def signed_ranks(differences: ArrayLike) -> Int[ndarray, " k"]:
    """Twice the rank of each |d| (means are halves) with the sign of d, zeros left out; the sum says who is ahead."""
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 1 or not np.isfinite(d).all():
        raise Refused(f"paired differences must be a row of finite numbers, got {d}")
    d = np.round(d / (np.abs(d).max(initial=0.0) or 1.0), 12)
    d = d[d != 0]
    return (np.sign(d) * 2 * stats.rankdata(np.abs(d))).astype(np.int64)


def holm(p: ArrayLike) -> Float[ndarray, " m"]:
    """P-values adjusted for m comparisons (Holm, 1979): max over i <= j of (m - i + 1) p[i], p sorted; at most 1."""
    raw = np.asarray(p, dtype=np.float64)
    order = np.argsort(raw)
    stepped = np.maximum.accumulate((len(raw) - np.arange(len(raw))) * raw[order])
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def runs_needed(n_comparisons: int, alpha: float = 0.05) -> int:
    """Fewest runs with which the best of `n_comparisons` can pass Holm at all.

    The smallest two-sided p of n pairs is 2 / 2^n and Holm's first step asks p <= alpha / m, so n = ceil(1 + log2(m /
    alpha)): 6 runs for one comparison, 8 for four, 9 for ten. So many runs make a verdict possible, not likely.
    """
    return ceil(1 + log2(n_comparisons / alpha))


def pairs_of(names: list[str], baseline: str | None = None) -> list[tuple[str, str]]:
    """All pairs of strategies, or those of each with `baseline` alone, which are fewer and so need fewer runs."""
    if baseline is None:
        return list(combinations(names, 2))
    if baseline not in names:
        raise Refused(f"no strategy {baseline!r} to compare with; known: {', '.join(names)}")
    return [(name, baseline) for name in names if name != baseline]


def paired_differences(a: Float[ndarray, "n t"], b: Float[ndarray, "n t"]) -> Float[ndarray, "k t"]:
    """a - b in the runs (rows) in which both are known; 0 where they differ by rounding alone."""
    d = np.where(np.isclose(a, b, rtol=0, atol=ROUNDING * max(_largest(a), _largest(b))), 0.0, a - b)
    return d[~np.isnan(d).any(axis=1)]


def _largest(scores: Float[ndarray, "n t"]) -> float:
    return float(np.abs(scores).max(initial=0.0, where=np.isfinite(scores)))


def places_of(scores: pd.DataFrame, higher_is_better: bool, method: Literal["average", "min"]) -> pd.DataFrame:
    """Ranks within each row, 1 the best; what differs by rounding alone is tied, sharing its mean or best rank."""
    relative = scores / (_largest(scores.to_numpy(np.float64)) or 1.0)
    return (relative / ROUNDING).round().rank(axis=1, method=method, ascending=not higher_is_better)


def pairwise(scores: pd.DataFrame, baseline: str | None = None, higher_is_better: bool = True) -> pd.DataFrame:
    """Every pair that shares a run on one row: a, b, n, difference, std, wins, ties, losses, favoured, p, p_holm.

    `n` common runs; `difference` is the mean of a - b over them and `std` its sample standard deviation; a wins, ties
    or loses so many runs, and differences from rounding are ties; `favoured` is whom the signed ranks favour ("" for
    neither); `p` is `signed_rank`, `p_holm` corrects it for all rows. Raises ValueError with fewer than two strategies
    or where no pair shares a run.
    """
    pairs = pairs_of([str(name) for name in scores.columns], baseline)
    if not pairs:
        raise Refused(f"a comparison needs at least two strategies, got {', '.join(scores.columns) or 'none'}")
    columns = {str(name): scores[[name]].to_numpy(np.float64) for name in scores}
    rows = []
    for a, b in pairs:
        d = paired_differences(columns[a], columns[b])[:, 0]
        if not d.size:
            continue
        ranked = signed_ranks(d if higher_is_better else -d)
        wins, losses = int((ranked > 0).sum()), int((ranked < 0).sum())
        favoured = a if ranked.sum() > 0 else b if ranked.sum() < 0 else ""
        std = d.std(ddof=1) if len(d) > 1 else np.nan
        rows.append((a, b, len(d), d.mean(), std, wins, len(d) - wins - losses, losses, favoured, signed_rank(d)))
    if not rows:
        raise Refused(f"{pairs[0][0]} and {pairs[0][1]} share no run: start both with the same run=0, run=1, ...")
    table = pd.DataFrame(rows, columns=["a", "b", "n", "difference", "std", "wins", "ties", "losses", "favoured", "p"])
    return table.assign(p_holm=holm(table["p"]))


def pairwise_per_budget(curves: Curves, baseline: str | None = None, higher_is_better: bool = True) -> pd.DataFrame:
    """`pairwise` at each budget, named in the last column `n_labelled`.

    Holm corrects within a budget, not over budgets: for exploring.
    """
    budgets = next(iter(curves.values())).columns
    tables = {n: pd.DataFrame({name: table[n] for name, table in curves.items()}) for n in budgets}
    found = [pairwise(scores, baseline, higher_is_better).assign(n_labelled=n) for n, scores in tables.items()]
    return pd.concat(found, ignore_index=True)


def penalty_matrix(curves: Curves, alpha: float = 0.05, higher_is_better: bool = True) -> pd.DataFrame:
    """Pairwise penalty matrix: how often the row beats the column (Ash et al., 2020, BADGE, section 4.2).

    P[a, b] = (1 / T) sum_t [a is better than b at budget t, two-sided paired t-test p < alpha], t = sqrt(R) mean(d) /
    std(d) with R - 1 degrees of freedom over the R common runs; 0..1. The T budgets leave out those at which all
    strategies are equal in every run, as before the first query, so that 1 can be reached. Differences without any
    spread count where they are not zero. Read a row for wins, a column for losses: the lower the column's mean, the
    better the strategy. The T tests of a cell are neither corrected nor independent: it describes and proves nothing.
    Raises ValueError where a pair has fewer than two runs in common.
    """
    names = list(curves)
    matrix = pd.DataFrame(0.0, index=pd.Index(names, name="wins"), columns=pd.Index(names, name="loses"))
    differences = {}
    for a, b in combinations(names, 2):
        ours, theirs = curves[a].align(curves[b], join="inner", axis=0)
        differences[a, b] = paired_differences(ours.to_numpy(np.float64), theirs.to_numpy(np.float64))
    apart = np.any([(d != 0).any(axis=0) for d in differences.values()], axis=0)
    for (a, b), every in differences.items():
        d = every[:, apart]
        if len(d) < 2:
            raise Refused(f"{a} and {b} share {len(d)} runs: a paired t-test needs at least two")
        if not d.size:
            continue
        mean, error = d.mean(axis=0), d.std(axis=0, ddof=1) / np.sqrt(len(d))
        beyond = np.abs(mean) > stats.t.ppf(1 - alpha / 2, len(d) - 1) * error
        first = mean > 0 if higher_is_better else mean < 0
        matrix.loc[a, b], matrix.loc[b, a] = (beyond & first).mean(), (beyond & ~first).mean()
    return matrix


def ranks(scores: pd.DataFrame, higher_is_better: bool = True) -> pd.DataFrame:
    """Rank of each strategy in each run that all have, 1 the best; ties, also but for rounding, share their mean.

    Raises ValueError without a run that all have.
    """
    complete = scores.dropna()
    if complete.empty:
        raise Refused(f"no run was made with all of {', '.join(scores.columns)}: ranks need one")
    return places_of(complete, higher_is_better, "average")


def critical_difference(n_strategies: int, n_runs: int, alpha: float = 0.05) -> float:
    """Nemenyi's difference of mean ranks beyond which two strategies differ (Demsar, 2006, section 3.2.2).

    CD = q_alpha sqrt(k (k + 1) / (6 N)), q_alpha the studentized range of k means at infinite degrees of freedom over
    sqrt 2. It rests on an approximation for many N; here the N blocks are runs on one dataset.
    """
    q = stats.studentized_range.ppf(1 - alpha, n_strategies, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(n_strategies * (n_strategies + 1) / (6 * n_runs)))


def friedman(scores: pd.DataFrame) -> float:
    """P of Friedman's test that all strategies rank alike, on the runs that all have (Demsar, 2006, 3.2.1).

    It is the chi-square form, corrected for ties.

    1 where all scores tie; NaN for fewer than three strategies, which `signed_rank` compares.
    """
    ranked = ranks(scores)
    if ranked.shape[1] < 3:
        return float("nan")
    if (ranked.nunique(axis=1) == 1).all():
        return 1.0
    return float(stats.friedmanchisquare(*ranked.to_numpy().T).pvalue)


def cliques(mean_ranks: pd.Series, difference: float) -> list[tuple[str, str]]:
    """The bars of a critical-difference diagram: best and worst of each largest group within `difference`."""
    ordered = mean_ranks.sort_values()
    last = [int(np.flatnonzero(ordered - ordered.iloc[i] <= difference)[-1]) for i in range(len(ordered))]
    kept = [(i, j) for i, j in enumerate(last) if j > i and (i == 0 or last[i - 1] < j)]
    return [(str(ordered.index[i]), str(ordered.index[j])) for i, j in kept]


def leave_one_run_out(scores: pd.DataFrame, higher_is_better: bool = True) -> pd.DataFrame:
    """Place of each strategy by its mean score when a run is left out (index: the run), on the runs that all have.

    1 the best; equal means share the better place.

    The more a column changes, the more its place hangs on a single run. Raises ValueError for fewer than two such runs.
    """
    complete = scores.dropna()
    if len(complete) < 2:
        raise Refused(f"{len(complete)} runs were made with all strategies: leaving one out needs at least two")
    means = pd.DataFrame((complete.sum() - complete) / (len(complete) - 1))
    return places_of(means, higher_is_better, "min").rename_axis("left out")
