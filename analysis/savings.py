"""How few labels are enough: to reach a target, or one strategy against another; and a table of both."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from numpy import ndarray
from numpy.typing import ArrayLike

from analysis.curves import Curves, areas, mean_interval, sample_std
from data.names import Refused
from experiments.measures.intervals import widened


def _weights(n_runs: int, rng: np.random.Generator, n_resamples: int) -> Int[ndarray, "s r"]:
    """How often each run stands in each bootstrap sample."""
    return rng.multinomial(n_runs, np.full(n_runs, 1 / n_runs), size=n_resamples)


def _resampled_means(values: Float[ndarray, "r t"], weights: Int[ndarray, "s r"]) -> Float[ndarray, "s t"]:
    return weights @ values / len(values)


def labels_needed(n_labelled: ArrayLike, values: ArrayLike, target: float, higher_is_better: bool = True) -> float:
    """Labels with which the curve `values` (T,) over `n_labelled` (T,) first reaches `target`, interpolated linearly.

    inf where it never does: more than the last budget are needed (right-censored), so medians over runs stay right,
    means become inf. The first budget where the curve begins at or beyond the target: at most so many are needed
    (left-censored).
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
    """Labels that `heuristic` saves against `baseline` on the way to `target`, on mean curves over the runs of both.

    saving = labels_needed(baseline) - labels_needed(heuristic); without `target`, what the baseline's mean curve
    reaches with the last budget, read anew in each resample. `low` and `high` bound it by a percentile bootstrap that
    draws runs, both strategies together (paired), at the level `widened` for few runs. A strategy that never reaches
    the target needs inf labels: a saving of -inf or inf is beyond the budgets measured, and NaN means that it is
    unknown, because neither reached the target or both were there at the first budget; it has no interval then.
    Percentiles are taken without interpolation over the resamples in which it is known; `undefined` is the share of the
    others.

    The 95 % interval covered a true saving of 30 labels 80, 96, 97 and 96 % of the time with 3, 5, 10 and 20 runs, and
    one of none 80, 96, 97 and 96 %: three runs are too few, as no percentile lies beyond what was seen
    (`tests/benchmarks/bench_intervals.py`).

    Returns target, needed, needed_baseline, saving, relative (saving / needed_baseline), low, high, undefined, runs.
    With fewer than two common runs low and high are NaN. Raises ValueError for an unknown strategy or where no run is
    common.
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
    needed, needed_baseline = (
        _first_reached(budgets, mean, targets, higher_is_better) for mean in (mean_ours, mean_theirs)
    )
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
        "target": float(targets[0]), "needed": float(needed[0]), "needed_baseline": float(needed_baseline[0]),
        "saving": float(saving[0]), "relative": float(relative), "low": float(low), "high": float(high),
        "undefined": float(unknown.mean()), "runs": len(common),
    }  # fmt: skip


def summary(
    curves: Curves, target: float | None = None, full: float | None = None, higher_is_better: bool = True
) -> pd.DataFrame:
    """One row per strategy, best mean AUBC first.

    Columns: runs, aubc, aubc_std, aubc_low, aubc_high (`mean_interval`), final, final_std.

    With `target`, or the full-data result `full`, also the median over runs of the labels needed (inf: at least half
    never got there) for it, or for 95 % of it, and the number of runs that got there.
    """
    goals = {} if target is None else {"target": target}
    goals |= {} if full is None else {"95_of_full": share_of_full(full, 0.95, higher_is_better)}
    found, rows = areas(curves), {}
    for name, table in curves.items():
        values = table.to_numpy(np.float64)
        area = found[[name]].dropna().to_numpy()
        (low,), (high,) = mean_interval(area)
        row = {
            "runs": len(values),
            "aubc": area.mean(),
            "aubc_std": sample_std(area)[0],
            "aubc_low": low,
            "aubc_high": high,
        }
        row |= {"final": values[:, -1].mean(), "final_std": sample_std(values)[-1]}
        for goal, height in goals.items():
            needed = np.array([labels_needed(table.columns, run, height, higher_is_better) for run in values])
            row |= {f"labels_for_{goal}": float(np.median(needed)), f"reached_{goal}": int(np.isfinite(needed).sum())}
        rows[name] = row
    return (
        pd.DataFrame.from_dict(rows, orient="index")
        .rename_axis("heuristic")
        .sort_values("aubc", ascending=not higher_is_better)
    )
