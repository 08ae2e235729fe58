"""Rules that end labelling: functions of the rounds so far, that never see a label of the pool or what comes next.

    stable      the mean agreement of the last rounds reaches a threshold: Bloodgood and Vijay-Shanker (2009, A method
                for stopping active learning based on stabilizing predictions), who take a kappa of 0.99 over 3 rounds
    unchanged   few predictions changed in each of the last rounds: classification change, for which Zhu, Wang and Hovy
                (2008, Multi-criteria-based strategy to stop active learning for data annotation) ask for none
    certain     the mean uncertainty falls to a threshold: overall uncertainty of the same publication
    at_target   the lower end of what the test sample says reaches a target
    little_gain the curves that fit the rounds promise little of the next one

What is not known (NaN) never ends anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from experiments.measures.table import higher_is_better
from experiments.stopping.outlook import TOLD, WORTH, Outlook
from experiments.stopping.sample import share_low


@dataclass(frozen=True)
class Rounds:
    """What was recorded of T rounds; NaN where a round has no value."""

    n_labelled: Float[ndarray, " t"]
    values: Float[ndarray, " t"]  # the metric on the test sample
    agreement: Float[ndarray, " t"]  # with the model of the round before; NaN in the first
    changed: Float[ndarray, " t"]  # share of the predictions
    uncertainty: Float[ndarray, " t"]  # mean over the stop set, 0..1
    n_query: int  # labels that the next round would bring
    more_is_better: bool = True
    n_test: int = 0  # images of the test sample; 0 where it is not known

    def until(self, t: int) -> Rounds:
        """The first t rounds."""
        columns = ("n_labelled", "values", "agreement", "changed", "uncertainty")
        return replace(self, **{name: getattr(self, name)[:t] for name in columns})


def rounds_of(rows: Sequence[Mapping[str, Any]], metric: str, n_query: int, n_test: int = 0) -> Rounds:
    """The rounds of a run from its rows, one a cycle, by the names of their columns."""
    names = ("n_labelled", metric, "stop_agreement", "stop_changed", "stop_uncertainty")
    n, values, agreement, changed, doubt = (np.array([float(row.get(name, nan)) for row in rows]) for name in names)
    return Rounds(n, values, agreement, changed, doubt, n_query, higher_is_better(metric), n_test)


def stable(rounds: Rounds, window: int = 3, threshold: float = 0.99) -> bool:
    """Whether the mean of the last `window` agreements is at least `threshold`, all of them known."""
    last = rounds.agreement[-window:]
    return len(last) == window and bool(np.isfinite(last).all()) and float(last.mean()) >= threshold


def unchanged(rounds: Rounds, window: int = 2, share: float = 0.0) -> bool:
    """Whether at most this share of the predictions changed in each of the last `window` rounds."""
    last = rounds.changed[-window:]
    return len(last) == window and bool((last <= share).all())


def certain(rounds: Rounds, threshold: float = 0.05) -> bool:
    """Whether the mean uncertainty of the last model is at most `threshold`."""
    return bool(rounds.uncertainty[-1] <= threshold)


def at_target(rounds: Rounds, target: float, level: float = 0.95) -> bool:
    """Whether a share, of whose test sample only the mean and the size are known, is at `target` or beyond."""
    low = share_low(float(rounds.values[-1]), rounds.n_test, level)
    return rounds.more_is_better and low >= target


def little_gain(expected: Outlook, value: float, share: float = WORTH, surely: bool = True) -> bool:
    """Whether the next round is expected to bring at most `share` of the metric: `surely` by the upper end of what the
    curves give, else by their median.
    """
    gain = expected.gain.high if surely else expected.gain.value
    return expected.verdict == TOLD and bool(gain <= share * abs(value))
