"""Finished runs are replayed round by round: where each rule of `experiments.stopping` would have ended labelling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray
from scipy.optimize import isotonic_regression
from tqdm import tqdm

from analysis.records import Curves, Record, Records
from experiments.measures.table import higher_is_better, unit_of
from experiments.stopping.outlook import WORTH, Outlook, outlook
from experiments.stopping.rules import Rounds, at_target, certain, little_gain, stable, unchanged

OF_STOP_SET = ("stop_agreement", "stop_changed", "stop_uncertainty")
SCORES = ("used", "too_many", "lost", "lost_to_oracle")
N_RESAMPLES = 100  # of each fit: one is needed for every round of every run


@dataclass(frozen=True)
class Replayed:
    """A run up to its round t, as a rule sees it."""

    whole: Rounds
    t: int  # rounds so far
    target: float
    number: int  # of the run, for its generator

    @cached_property
    def rounds(self) -> Rounds:
        return self.whole.until(self.t)

    @cached_property
    def expected(self) -> Outlook:
        r, rng = self.rounds, np.random.default_rng([self.number, self.t])
        more = r.more_is_better
        return outlook(r.n_labelled, r.values, r.n_query, rng, None, more, n_resamples=N_RESAMPLES)

    @property
    def farther(self) -> Outlook:
        """The same with the gain of half as many labels again."""
        now = float(self.rounds.n_labelled[-1])
        return replace(self.expected, gain=self.expected.gain_of(now, now / 2))

    @property
    def value(self) -> float:
        return float(self.rounds.values[-1])

    @property
    def spent(self) -> float:
        """Share of the labels of the whole run."""
        return float(self.rounds.n_labelled[-1] / self.whole.n_labelled[-1])


Rule = Callable[[Replayed], bool]
OF_BUDGET: dict[str, Rule] = {
    f"{share:.0%} of the labels": lambda r, share=share: r.spent >= share for share in (0.25, 0.5, 0.75)
}
OF_CURVES: dict[str, Rule] = {
    f"gain at most {WORTH:.0%}, surely": lambda r: little_gain(r.expected, r.value),
    f"gain at most {WORTH:.0%}, as expected": lambda r: little_gain(r.expected, r.value, surely=False),
    f"gain of half as many again at most {WORTH:.0%}, surely": lambda r: little_gain(r.farther, r.value),
    f"gain of half as many again at most {WORTH:.0%}, as expected": lambda r: little_gain(
        r.farther, r.value, surely=False
    ),
    "value at the target": lambda r: (r.value - r.target) * (1 if r.whole.more_is_better else -1) >= 0,
}
OF_SAMPLES: dict[str, Rule] = {"lower end at the target": lambda r: at_target(r.rounds, r.target)}
OF_STOP_SETS: dict[str, Rule] = {
    **{
        f"agreement {threshold:g}, {window} round{'s' * (window > 1)}": (
            lambda r, window=window, threshold=threshold: stable(r.rounds, window, threshold)
        )
        for threshold, window in ((0.99, 3), (0.99, 1), (0.95, 3), (0.9, 3), (0.8, 3))
    },
    **{
        f"changed at most {share:.0%}, 2 rounds": lambda r, share=share: unchanged(r.rounds, 2, share)
        for share in (0.0, 0.02, 0.05, 0.1)
    },
    **{
        f"uncertainty at most {most:g}": lambda r, most=most: certain(r.rounds, most) for most in (0.02, 0.05, 0.1, 0.2)
    },
    "advice: agreement 0.99 and gain surely": lambda r: stable(r.rounds) and little_gain(r.expected, r.value),
    "agreement 0.9 and gain as expected": lambda r: (
        stable(r.rounds, threshold=0.9) and little_gain(r.expected, r.value, surely=False)
    ),
}
FULL, ORACLE = "full budget", "oracle"


def smoothed(rounds: Rounds) -> Float[ndarray, " t"]:
    """The curve that only improves and is nearest to the values (isotonic least squares): means of neighbours."""
    found = isotonic_regression(rounds.values, increasing=rounds.more_is_better).x
    return np.asarray(found, dtype=np.float64)


def oracle(rounds: Rounds, tolerance: float = WORTH) -> int:
    """The first round whose smoothed value comes within `tolerance` of the last smoothed value, relative to that."""
    curve = smoothed(rounds)
    return int(np.argmax(np.abs(curve[-1] - curve) <= tolerance * abs(curve[-1])))


def rules_for(rounds: Rounds, metric: str) -> dict[str, Rule]:
    """The rules that a run has the columns for."""
    rules = {FULL: lambda r: False, **OF_BUDGET, **OF_CURVES}
    rules |= OF_SAMPLES if rounds.n_test and rounds.more_is_better and not unit_of(metric) else {}
    return rules | (OF_STOP_SETS if np.isfinite(rounds.uncertainty).any() else {})


def score(rounds: Rounds, metric: str, target: float, number: int, tolerance: float = WORTH) -> pd.DataFrame:
    """Each rule on one run: a row with `rule`, `stopped` (before the last round), `early` (before the oracle) and
    SCORES, all shares:

    used            labels at its end, of those of the whole run
    too_many        labels beyond those of the oracle, of those of the whole run; 0 where there are fewer
    lost            smoothed metric that it gives away against the last round, of the value there
    lost_to_oracle  the same against the oracle's round; 0 where it is better
    """
    last, best = len(rounds.values) - 1, oracle(rounds, tolerance)
    curve = smoothed(rounds)
    missing, spent = np.abs(curve[-1] - curve) / (abs(curve[-1]) or 1.0), rounds.n_labelled / rounds.n_labelled[-1]
    replayed = [Replayed(rounds, t + 1, target, number) for t in range(last)]
    ends = {ORACLE: best}
    for name, rule in rules_for(rounds, metric).items():
        ends[name] = next((t for t, so_far in enumerate(replayed) if rule(so_far)), last)
    rows = [
        [name, t < last, t < best, spent[t], max(0.0, spent[t] - spent[best])]
        + [missing[t], max(0.0, missing[t] - missing[best])]
        for name, t in ends.items()
    ]
    return pd.DataFrame(rows, columns=["rule", "stopped", "early", *SCORES])


def rounds_in(curves: Curves, metric: str, record: Record) -> Rounds:
    """The rounds of one run as they were measured; those without the metric are left out.

    A rule sees one run alone, which is not brought to the budgets of others: between rounds it would see later ones.
    """
    columns = {name: dict(zip(steps, values, strict=True)) for name, (steps, values) in curves.items()}
    n = sorted(at for at, value in columns[metric].items() if np.isfinite(value))
    names = (metric, *OF_STOP_SET)
    values, agreement, changed, doubt = (
        np.array([columns.get(name, {}).get(at, np.nan) for at in n]) for name in names
    )
    parts = record.info.get("read", {}).get("parts", [])
    n_test = next((int(part["images"]) for part in parts if part["name"] == "test"), 0)
    n_query, more = int(record.config["n_query"]), higher_is_better(metric)
    return Rounds(np.array(n, np.float64), values, agreement, changed, doubt, n_query, more, n_test)


def scored(records: Records, frame: pd.DataFrame, metric: str, target: float | None = None) -> pd.DataFrame:
    """`score` of every run of a study, with its task, dataset, strategy and run.

    Without a target it is what all runs reach with the last labels on average, less WORTH of that: one that a user can
    only guess.
    """
    of_number = {record.run_id: record for record in records.records}
    measured = records.curves([of_number[n] for n in set(frame["run_id"])], [metric, *OF_STOP_SET], {})
    about, runs = {}, {}
    for number in sorted(set(frame["run_id"])):
        rows = frame.loc[frame["run_id"] == number]
        if metric in set(rows["metric"]):
            about[number] = {name: rows[name].iloc[0] for name in ("task", "dataset", "heuristic", "run")}
            runs[number] = rounds_in(measured[number], metric, of_number[number])
    if target is None:
        reached = float(np.mean([rounds.values[-1] for rounds in runs.values()]))
        target = reached - (1 if higher_is_better(metric) else -1) * WORTH * abs(reached)
    found = []
    for number, rounds in tqdm(runs.items(), "replay", unit="run", leave=False, dynamic_ncols=True):
        found.append(score(rounds, metric, target, number).assign(run_id=number, **about[number]))
    return pd.concat(found, ignore_index=True)
