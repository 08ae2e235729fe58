"""Advice after a round: what the test sample says, whether the models agree, what more labels would bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, isinf, isnan
from typing import Any

import numpy as np

from experiments.measures.table import unit_of
from experiments.stopping.outlook import HORIZON, TOLD, WORTH, Outlook, outlook
from experiments.stopping.rules import Rounds, little_gain, stable
from experiments.stopping.sample import CANNOT_TELL, NOT_REACHED, REACHED, Interval, against

ENOUGH, MORE = "enough", "label on"  # or CANNOT_TELL
UNBENT = "random"  # the strategy whose curve no choice bends


@dataclass(frozen=True)
class Advice:
    """What can be said after a round; nothing of it is a promise."""

    rounds: Rounds
    metric: str
    sample: Interval  # the metric on the test sample
    expected: Outlook
    target: float | None
    at_target: str  # REACHED, NOT_REACHED or CANNOT_TELL; CANNOT_TELL without a target
    verdict: str  # ENOUGH, MORE or CANNOT_TELL
    warnings: Sequence[str]


def advise(
    rounds: Rounds,
    metric: str,
    rng: np.random.Generator,
    sample: Interval | None = None,
    target: float | None = None,
    heuristic: str = UNBENT,
) -> Advice:
    """Advice from the rounds so far, at least one.

    `sample` is the metric of the last model with its interval (`stopping.sample.sampled`); without it no target can be
    judged. ENOUGH where the target is reached, or, without a target, where the last models agree (`rules.stable`) and
    the next round is expected to bring at most WORTH of the metric. MORE where all curves that fit let it bring
    more than that, or where the target is not reached and the curves come to it. Else CANNOT_TELL.
    """
    value = float(rounds.values[-1])
    found = sample or Interval(value)
    given = rounds.n_labelled, rounds.values, rounds.n_query, rng, target, rounds.more_is_better
    expected = outlook(*given)
    reached = CANNOT_TELL if target is None else against(found, target, rounds.more_is_better)
    if reached == REACHED or (target is None and stable(rounds) and little_gain(expected, value)):
        verdict = ENOUGH
    elif expected.gain.low > WORTH * abs(value) or (reached == NOT_REACHED and isfinite(expected.more_labels.high)):
        verdict = MORE
    else:
        verdict = CANNOT_TELL
    bent = f"picks by {heuristic} bend the curve, which may flatten or rise where these families do not"
    warnings = [bent] if heuristic != UNBENT and expected.fits else []
    return Advice(rounds, metric, found, expected, target, reached, verdict, warnings)


def sentence(advice: Advice) -> str:
    """The advice in words, for a person."""
    rounds, found, unit = advice.rounds, advice.sample, unit_of(advice.metric)
    name = advice.metric.replace("_", " ")
    n_test = f" on {rounds.n_test} test images" if rounds.n_test else ""
    ends = f" ({' to '.join(_number(x, unit).removesuffix(unit).strip() for x in (found.low, found.high))})"
    interval = ends if isfinite(found.low) else ""
    parts = [f"{name} {_number(found.value, unit)}{interval}{n_test}"]
    if len(rounds.agreement) > 1:
        last = float(rounds.agreement[-1])
        told = f"agree to {last:.2f}" if isfinite(last) else "found nothing that could agree"
        parts += [f"the last two models {told}{', steadily' if stable(rounds) else ''}"]
    parts += [_of_gain(advice, unit)]
    head = f"Round {len(rounds.values)}, {rounds.n_labelled[-1]:g} labelled: {'; '.join(parts)}."
    return " ".join([head, *_of_target(advice, unit), *(f"{w[0].upper()}{w[1:]}." for w in advice.warnings)])


def record(advice: Advice) -> dict[str, Any]:
    """The advice in plain values for advice.json; null where a number is not known, or lies beyond the horizon."""
    rounds, expected = advice.rounds, advice.expected
    more = expected.more_labels
    return {
        "sentence": sentence(advice),
        "verdict": advice.verdict,
        "round": len(rounds.values),
        "n_labelled": int(rounds.n_labelled[-1]),
        "n_test": rounds.n_test or None,
        "metric": advice.metric,
        "sample": _ends(advice.sample),
        "agreement": _plain(float(rounds.agreement[-1])),
        "changed": _plain(float(rounds.changed[-1])),
        "uncertainty": _plain(float(rounds.uncertainty[-1])),
        "stable": stable(rounds),
        "next": {
            "n_query": rounds.n_query,
            "verdict": expected.verdict,
            "why": expected.why,
            "gain": _ends(expected.gain),
            "by_family": {family: _ends(gain) for family, gain in expected.by_family.items()},
        },
        "target": {
            "value": advice.target,
            "verdict": advice.at_target if advice.target is not None else None,
            "more_labels": _ends(more),
            "beyond_horizon": {name: isinf(getattr(more, name)) for name in ("value", "low", "high")},
            "horizon": HORIZON,
        },
        "warnings": list(advice.warnings),
    }


def _of_gain(advice: Advice, unit: str) -> str:
    expected, n_query = advice.expected, advice.rounds.n_query
    if not expected.fits:
        return f"what {n_query} more labels bring cannot be told ({expected.why})"
    low, high = (_number(x, unit, small=True) for x in (expected.gain.low, expected.gain.high))
    span = f"{low.removesuffix(unit).strip()} to {high}" if low != high else f"about {low}"
    if expected.verdict != TOLD:
        return f"what {n_query} more labels bring cannot be told ({expected.why}: {span})"
    verb = "bring" if advice.rounds.more_is_better else "lower it by"
    return f"{n_query} more labels are expected to {verb} {span}"


def _of_target(advice: Advice, unit: str) -> list[str]:
    if advice.target is None:
        return []
    target, more = _number(advice.target, unit), advice.expected.more_labels
    if advice.at_target == REACHED:
        return [f"The target of {target} is reached."]
    first = f"The target of {target} is not reached"
    if advice.at_target == CANNOT_TELL:
        first = f"A target of {target} cannot be ruled out"
        first = first if isfinite(advice.sample.low) else f"Whether the target of {target} is reached cannot be told"
    if isnan(more.low):
        return [f"{first}."]
    if isinf(more.low):
        return [f"{first}; the curves do not come to it within {HORIZON} times the labels."]
    if isinf(more.high):
        return [f"{first}; by the curves it takes at least {more.low:.0f} more labels, if it is ever reached."]
    return [f"{first}; by the curves it takes {more.low:.0f} to {more.high:.0f} more labels."]


def _number(value: float, unit: str, small: bool = False) -> str:
    """Two digits of a share, three of other units; `small` differences below 0.01 have three."""
    if unit:
        return f"{value:.3g} {unit}"
    if small and abs(value) < 0.0005:
        return "0"
    return f"{value:.3f}" if small and abs(value) < 0.01 else f"{value:.2f}"


def _ends(found: Interval) -> dict[str, float | None]:
    return {name: _plain(getattr(found, name)) for name in ("value", "low", "high")}


def _plain(value: float) -> float | None:
    return value if isfinite(value) else None
