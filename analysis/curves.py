"""Curves over the label budget: from the tidy frame to one table per strategy, and what the curves of its runs are worth.

A table of curves has one row per run (index `run`) and one column per budget (`n_labelled`); strategies that share a `run` share split,
initial set and initial weights, so that rows of equal index are pairs. Metrics where less is better (distances, losses) say
`higher_is_better=False`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from numpy import ndarray
from numpy.typing import ArrayLike
from scipy import stats

from data.names import Refused

Curves = Mapping[str, pd.DataFrame]  # strategy -> runs x budgets

SECONDS = ("train_seconds", "test_seconds", "query_seconds")


def curves_of(frame: pd.DataFrame, metric: str, column: str = "value") -> dict[str, pd.DataFrame]:
    """The curves of one metric, by strategy in alphabetical order: runs x budgets.

    `frame` is tidy: heuristic, run, n_labelled, metric, value, one task and dataset. `column` names another column to take the numbers
    from, such as a cumulative annotation `cost`. Raises ValueError for an unknown metric, a run that has a budget twice, or runs that
    were measured at different budgets.
    """
    chosen = frame.loc[frame["metric"] == metric]
    if chosen.empty:
        raise Refused(f"no run has metric {metric!r}; known: {', '.join(sorted(map(str, frame['metric'].unique()))) or 'none'}")
    twice = chosen.loc[chosen.duplicated(["heuristic", "run", "n_labelled"]), ["heuristic", "run", "n_labelled"]]
    if len(twice):
        heuristic, run, n = twice.iloc[0]
        raise Refused(f"{heuristic} run {run} has {metric} twice at {n} labels: keep one record of each run")
    tables = {str(name): rows.pivot(index="run", columns="n_labelled", values=column) for name, rows in chosen.groupby("heuristic")}
    expected = sorted(chosen["n_labelled"].unique())
    measured = chosen.groupby(["heuristic", "run"])["n_labelled"].nunique()
    for (heuristic, run), count in measured.items():  # pyright: ignore[reportGeneralTypeIssues]
        if count != len(expected):
            raise Refused(f"{heuristic} run {run} has {metric} at {count} of {len(expected)} budgets; compare runs of equal budgets")
    return {name: table.astype(np.float64) for name, table in tables.items()}


def aubc(n_labelled: ArrayLike, values: ArrayLike) -> float:
    """Area under the curve `values` (T,) over the budget `n_labelled` (T,), normalised to 0..1 between its first and its last point.

    aubc = sum_t (n[t+1] - n[t]) (v[t] + v[t+1]) / 2 / (n[-1] - n[0]), the mean height of the curve in the unit of `values` (Zhan et al.,
    2021, A comparative survey: benchmarking for pool-based active learning). A single point has its own value.

    Raises ValueError for unequal lengths, no point at all, budgets that do not increase, or anything that is not finite.
    """
    budgets, heights = np.asarray(n_labelled, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if budgets.ndim != 1 or budgets.shape != heights.shape or not budgets.size:
        raise Refused(f"a budget curve needs as many values as budgets, at least one; got shapes {budgets.shape} and {heights.shape}")
    for name, numbers in (("n_labelled", budgets), ("values", heights)):
        wrong = np.flatnonzero(~np.isfinite(numbers))
        if wrong.size:
            raise Refused(f"{name}[{wrong[0]}] is {numbers[wrong[0]]}: a budget curve needs finite numbers")
    steps = np.diff(budgets)
    if (steps <= 0).any():
        t = int(np.flatnonzero(steps <= 0)[0])
        raise Refused(f"budgets must increase, but n_labelled[{t + 1}] = {budgets[t + 1]:g} follows {budgets[t]:g}")
    if budgets.size == 1:
        return float(heights[0])
    return float(np.trapezoid(heights, budgets) / (budgets[-1] - budgets[0]))


def areas(curves: Curves) -> pd.DataFrame:
    """AUBC of every run: one row per run, one column per strategy, NaN where a strategy lacks that run.

    Raises ValueError for a value that is not finite, with its strategy, run and budget.
    """
    for name, table in curves.items():
        wrong = np.argwhere(~np.isfinite(table.to_numpy(np.float64)))
        if wrong.size:
            r, t = wrong[0]
            where = f"{name} run {table.index[r]} is {table.iloc[r, t]} at {table.columns.name or 'budget'} {table.columns[t]:g}"
            raise Refused(f"{where}: an area needs finite values; choose another metric or leave this run out")
    return pd.DataFrame({name: table.apply(lambda row: aubc(row.index, row), axis=1) for name, table in curves.items()}).sort_index()


def finals(curves: Curves) -> pd.DataFrame:
    """The value of every run at the largest budget: runs x strategies, NaN where a strategy lacks that run."""
    return pd.DataFrame({name: table.iloc[:, -1] for name, table in curves.items()}).sort_index()


def sample_std(values: Float[ndarray, "r t"]) -> Float[ndarray, " t"]:
    """Standard deviation over runs with r - 1 in the denominator; NaN for a single run."""
    return values.std(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1], np.nan)


def mean_interval(values: Float[ndarray, "r t"], level: float = 0.95) -> tuple[Float[ndarray, " t"], Float[ndarray, " t"]]:
    """Student's interval of the mean over runs at each budget: mean ± t(r - 1) std / sqrt(r); NaN for a single run.

    It holds at each budget, not for all of them together. With 3, 5, 10 and 20 runs the 95 % interval covered the mean of
    normal values 95 % of the time, that of log-normal ones (skewness 1.75) 93, 92, 92 and 93 %; percentiles of the
    bootstrap, 74, 84, 89 and 93 %, and 71, 80, 88 and 91 % (`tests/benchmarks/bench_intervals.py`).
    """
    if len(values) < 2:
        return np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * sample_std(values) / np.sqrt(len(values))
    return values.mean(axis=0) - half, values.mean(axis=0) + half


def widened(level: float, n_runs: int) -> float:
    """The level at which to take percentiles of a bootstrap over few runs, so that the interval of a mean is as wide as Student's.

    Bootstrapped means have sqrt((n - 1) / n) of the spread and the tails of a normal distribution: a tail becomes
    Phi(-sqrt(n / (n - 1)) t(n - 1)), the expanded percentile interval (Hesterberg, 2015, What teachers should know about the bootstrap).
    """
    tail = stats.norm.cdf(-np.sqrt(n_runs / (n_runs - 1)) * stats.t.ppf((1 + level) / 2, n_runs - 1))
    return float(1 - 2 * tail)


def _weights(n_runs: int, rng: np.random.Generator, n_resamples: int) -> Int[ndarray, "s r"]:
    """How often each run stands in each bootstrap sample."""
    return rng.multinomial(n_runs, np.full(n_runs, 1 / n_runs), size=n_resamples)


def _resampled_means(values: Float[ndarray, "r t"], weights: Int[ndarray, "s r"]) -> Float[ndarray, "s t"]:
    return weights @ values / len(values)


def labels_needed(n_labelled: ArrayLike, values: ArrayLike, target: float, higher_is_better: bool = True) -> float:
    """Labels with which the curve `values` (T,) over `n_labelled` (T,) first reaches `target`, interpolated linearly between budgets.

    inf where it never does: more than the last budget are needed (right-censored), so medians over runs stay right, means become inf.
    The first budget where the curve begins at or beyond the target: at most so many are needed (left-censored).
    """
    budgets, heights = np.asarray(n_labelled, dtype=np.float64), np.asarray(values, dtype=np.float64)[None]
    return float(_first_reached(budgets, heights, np.array([target], dtype=np.float64), higher_is_better)[0])


def _first_reached(
    budgets: Float[ndarray, " t"], values: Float[ndarray, "s t"], targets: Float[ndarray, " s"], higher_is_better: bool
) -> Float[ndarray, " s"]:
    """`labels_needed` of many curves at once, each with a target of its own."""
    missing = targets[:, None] - values if higher_is_better else values - targets[:, None]
    reached = missing <= 0
    t = reached.argmax(axis=1)
    rows = np.arange(len(values))
    before = np.maximum(t - 1, 0)
    gap = np.where(t > 0, missing[rows, before], 0.0)  # > 0 just before the target is reached
    gained = np.where(t > 0, gap - missing[rows, t], 1.0)  # >= gap
    crossed = budgets[before] + (budgets[t] - budgets[before]) * gap / np.where(reached.any(axis=1), gained, 1.0)
    return np.where(reached.any(axis=1), crossed, np.inf)


def share_of_full(full: float, share: float = 0.95, higher_is_better: bool = True) -> float:
    """The target that is `share` of the full-data result `full`; of a distance or loss, `full` / `share`."""
    return full * share if higher_is_better else full / share


def label_saving(
    curves: Curves,
    heuristic: str,
    baseline: str,
    rng: np.random.Generator,
    target: float | None = None,
    higher_is_better: bool = True,
    level: float = 0.95,
    n_resamples: int = 10_000,
) -> dict[str, float]:
    """Labels that `heuristic` saves against `baseline` on the way to `target`, on the mean curves over the runs that both have.

    saving = labels_needed(baseline) - labels_needed(heuristic); without `target`, what the baseline's mean curve reaches
    with the last budget, read anew in each resample. `low` and `high` bound it by a percentile bootstrap that draws runs,
    both strategies together (paired), at the level `widened` for few runs. A strategy that never reaches the target needs
    inf labels: a saving of -inf or inf is beyond the budgets measured, and NaN means that it is unknown, because neither
    reached the target or both were there at the first budget; it has no interval then. Percentiles are taken without
    interpolation over the resamples in which it is known; `undefined` is the share of the others.

    The 95 % interval covered a true saving of 30 labels 80, 96, 97 and 96 % of the time with 3, 5, 10 and 20 runs, and one
    of none 80, 96, 97 and 96 %: three runs are too few, as no percentile lies beyond what was seen
    (`tests/benchmarks/bench_intervals.py`).

    Returns target, needed, needed_baseline, saving, relative (saving / needed_baseline), low, high, undefined, runs. With
    fewer than two common runs low and high are NaN. Raises ValueError for an unknown strategy or where no run is common.
    """
    for name in (heuristic, baseline):
        if name not in curves:
            raise Refused(f"no curve of {name!r}; known: {', '.join(curves)}")
    common = curves[heuristic].index.intersection(curves[baseline].index)
    if common.empty:
        raise Refused(f"{heuristic} and {baseline} share no run, so that no saving can be paired")
    budgets = curves[baseline].columns.to_numpy(np.float64)
    ours, theirs = (curves[name].loc[common].to_numpy(np.float64) for name in (heuristic, baseline))
    weights = np.concatenate([np.ones((1, len(common)), dtype=np.int64), _weights(len(common), rng, n_resamples)])
    mean_ours, mean_theirs = _resampled_means(ours, weights), _resampled_means(theirs, weights)
    targets = mean_theirs[:, -1] if target is None else np.full(len(weights), float(target))
    needed, needed_baseline = (_first_reached(budgets, mean, targets, higher_is_better) for mean in (mean_ours, mean_theirs))
    with np.errstate(invalid="ignore"):
        saving = needed_baseline - needed  # inf - inf is NaN
    saving[(needed == budgets[0]) & (needed_baseline == budgets[0])] = np.nan
    unknown = np.isnan(saving[1:])
    drawn = saving[1:][~unknown]
    low = high = np.nan
    if len(common) > 1 and drawn.size and not np.isnan(saving[0]):
        share = widened(level, len(common))
        low, high = np.quantile(drawn, [(1 - share) / 2, (1 + share) / 2], method="inverted_cdf")
    relative = saving[0] / needed_baseline[0] if np.isfinite(needed_baseline[0]) else np.nan
    return {
        "target": float(targets[0]), "needed": float(needed[0]), "needed_baseline": float(needed_baseline[0]), "saving": float(saving[0]),
        "relative": float(relative), "low": float(low), "high": float(high), "undefined": float(unknown.mean()), "runs": len(common),
    }  # fmt: skip


def annotation_cost(picks: Int[ndarray, " n"], cost_per_image: Float[ndarray, " images"], n_labelled: ArrayLike) -> Float[ndarray, " t"]:
    """What the labels of one run cost at each of its budgets: cost[t] = sum of `cost_per_image` over the first n_labelled[t] picks.

    `picks` are dataset indices in the order of labelling, the initial set first; cost has any unit, >= 0. Raises ValueError where a
    budget counts more images than were picked.
    """
    counts = np.asarray(n_labelled, dtype=np.int64)
    if counts.max() > len(picks):
        raise Refused(f"a budget of {counts.max()} labels needs as many picks, but the run has {len(picks)}")
    return np.concatenate([[0.0], np.cumsum(cost_per_image[picks])])[counts]


def over_cost(curves: Curves, costs: Curves, n_points: int = 200) -> dict[str, pd.DataFrame]:
    """The curves over what the labels cost instead of how many they are, interpolated linearly to one grid of costs.

    `costs` are tables like `curves` with the cumulative cost of each run at each budget, rising. The grid spans what every run of every
    strategy covers, so that nothing is extrapolated; the tables that come back work wherever curves do. Raises ValueError for costs that
    fall or are NaN, and where the runs have no cost in common.
    """
    paid = {name: costs[name].loc[table.index].to_numpy(np.float64) for name, table in curves.items()}
    for name, table in curves.items():
        wrong = np.argwhere(~(np.diff(paid[name], axis=1) >= 0))
        if wrong.size:
            r, t = wrong[0]
            steps = f"{paid[name][r, t + 1]:g} follows {paid[name][r, t]:g}"
            raise Refused(f"costs must rise from budget to budget, but those of {name} run {table.index[r]} do not: {steps}")
    low, high = max(c[:, 0].max() for c in paid.values()), min(c[:, -1].min() for c in paid.values())
    if low >= high:
        raise Refused(f"no range of costs is common to all runs: one starts at {low:g}, one ends at {high:g}")
    grid = np.linspace(low, high, n_points)
    columns = pd.Index(grid, name="cost")
    return {
        name: pd.DataFrame([np.interp(grid, c, v) for c, v in zip(paid[name], table.to_numpy(), strict=True)], table.index, columns)
        for name, table in curves.items()
    }


def class_counts(classes: Int[ndarray, " n"], n_labelled: ArrayLike, n_classes: int) -> Int[ndarray, "queries c"]:
    """How many picks of each query fell to each class; `classes` are those of the labelled images in the order of labelling.

    The first `n_labelled` counts the initial set, which no strategy chose and which is left out.
    """
    counts = np.asarray(n_labelled, dtype=np.int64)
    queries = np.split(classes[: counts[-1]], counts[:-1])[1:]
    return np.array([np.bincount(query, minlength=n_classes) for query in queries], dtype=np.int64).reshape(-1, n_classes)


def seconds_per_cycle(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean seconds of a cycle over runs and cycles, by strategy: train, test, query and their total.

    The last cycle asks for nothing, so that it does not count for `query`.
    """
    parts = {name.removesuffix("_seconds"): curves_of(frame, name) for name in SECONDS}
    means = {
        part: {h: table.iloc[:, :-1] if part == "query" and table.shape[1] > 1 else table for h, table in tables.items()}
        for part, tables in parts.items()
    }
    table = pd.DataFrame({part: {h: float(np.nanmean(t)) for h, t in tables.items()} for part, tables in means.items()})
    return table.assign(total=table.sum(axis=1)).rename_axis("heuristic")


def summary(
    curves: Curves, target: float | None = None, full: float | None = None, higher_is_better: bool = True
) -> pd.DataFrame:
    """One row per strategy, best mean AUBC first: runs, aubc, aubc_std, aubc_low, aubc_high (`mean_interval`), final, final_std.

    With `target`, or the full-data result `full`, also the median over runs of the labels needed (inf: at least half never got there)
    for it, or for 95 % of it, and the number of runs that got there.
    """
    goals = {} if target is None else {"target": target}
    goals |= {} if full is None else {"95_of_full": share_of_full(full, 0.95, higher_is_better)}
    found, rows = areas(curves), {}
    for name, table in curves.items():
        values = table.to_numpy(np.float64)
        area = found[[name]].dropna().to_numpy()
        (low,), (high,) = mean_interval(area)
        row = {"runs": len(values), "aubc": area.mean(), "aubc_std": sample_std(area)[0], "aubc_low": low, "aubc_high": high}
        row |= {"final": values[:, -1].mean(), "final_std": sample_std(values)[-1]}
        for goal, height in goals.items():
            needed = np.array([labels_needed(table.columns, run, height, higher_is_better) for run in values])
            row |= {f"labels_for_{goal}": float(np.median(needed)), f"reached_{goal}": int(np.isfinite(needed).sum())}
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("heuristic").sort_values("aubc", ascending=not higher_is_better)
