"""Curves that are known: what the families find, where they cannot tell, and curves that are no curves."""

from __future__ import annotations

from math import inf, isnan, nan

import numpy as np
import pytest

from experiments.stopping.outlook import CANNOT_TELL, FAMILIES, TOLD, fit, outlook

N = np.arange(20.0, 401.0, 20.0)
TRUE = {
    "power": lambda n: 0.92 - 1.6 * n**-0.7,
    "exponential": lambda n: 0.85 - 0.35 * np.exp(-n / 90),
    "hyperbola": lambda n: 0.95 - 0.6 * 60 / (n + 60),
    "logarithm": lambda n: 0.35 + 0.08 * np.log(n),
}


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_finds_its_own_curve(name):
    found = fit(name, N, TRUE[name](N), 1.0, rng(), 5)
    ahead = np.array([500.0, 1000.0])
    assert found.at(ahead)[0] == pytest.approx(np.minimum(TRUE[name](ahead), 1), abs=2e-3)


@pytest.mark.parametrize("name", FAMILIES)
def test_labels_for_a_target_are_where_the_curve_is(name):
    found = fit(name, N, TRUE[name](N) + rng().normal(0, 0.01, len(N)), 1.0, rng(), 20)
    targets = found.at(np.array([700.0]))[:, 0]
    needed = [found.labels_for(target, 1e9)[i] for i, target in enumerate(targets)]
    assert needed == pytest.approx([700.0] * 21, rel=1e-6)
    assert (found.labels_for(1.01, inf) == inf).all(), "beyond what the metric can be"
    assert (found.labels_for(float(targets.max()), 600.0) == inf).all(), "beyond the horizon"


def test_a_curve_never_reaches_its_asymptote():
    found = fit("exponential", N, TRUE["exponential"](N), 1.0, rng(), 5)
    assert (found.labels_for(0.9, 1e12) == inf).all() and np.isfinite(found.labels_for(0.849, 1e12)).all()


@pytest.mark.parametrize("name", TRUE)
def test_the_interval_holds_a_known_gain(name):
    """How often, over many seeds, is measured by tests.benchmarks.bench_stopping."""
    true = TRUE[name]
    found = outlook(N[:10], true(N[:10]) + rng().normal(0, 0.005, 10), 20, rng(), target=float(true(260.0)))
    assert found.gain.low <= true(220.0) - true(200.0) <= found.gain.high
    assert found.more_labels.low <= 60 <= found.more_labels.high
    low, middle, high = found.range_at(np.array([220.0, 300.0]))
    assert (low <= middle).all() and (middle <= high).all() and high[1] - low[1] > high[0] - low[0]


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_few_rounds_cannot_tell(rounds):
    found = outlook(N[:rounds], TRUE["power"](N[:rounds]), 20, rng(), 0.9)
    assert found.verdict == CANNOT_TELL and found.why.startswith(f"{rounds} of the 4 rounds") and not found.fits
    assert isnan(found.gain.low) and isnan(found.more_labels.low)


def test_rounds_without_a_value_do_not_count():
    values = TRUE["power"](N[:6])
    values[[1, 3]] = nan
    known = outlook(N[[0, 2, 4, 5]], TRUE["power"](N[[0, 2, 4, 5]]), 20, rng())
    assert outlook(N[:6], values, 20, rng()).gain == known.gain
    values[0] = nan
    assert outlook(N[:6], values, 20, rng()).verdict == CANNOT_TELL


def test_a_steep_start_is_where_families_disagree():
    found = outlook(N[:4], 0.9 - 0.8 * np.exp(-N[:4] / 30), 20, rng(), 0.95)
    assert found.verdict == CANNOT_TELL and found.why == "the curves that fit the rounds disagree"
    lows, highs = zip(*((each.low, each.high) for each in found.by_family.values()), strict=True)
    assert max(lows) > min(highs)


def test_many_rounds_rule_a_family_out():
    found = outlook(N, TRUE["exponential"](N) + rng().normal(0, 0.003, len(N)), 20, rng())
    assert "exponential" in found.by_family and "logarithm" not in found.by_family and found.verdict == TOLD


def test_a_constant_curve_promises_nothing():
    found = outlook(N[:8], np.full(8, 0.5), 20, rng(), 0.6)
    assert (found.verdict, found.gain.low, found.gain.high, found.more_labels.low) == (TOLD, 0, 0, inf)
    perfect = outlook(N[:8], np.ones(8), 20, rng(), 0.99)
    assert (perfect.gain.high, perfect.more_labels.value) == (0, 0)


def test_a_falling_curve_is_not_continued_downwards():
    found = outlook(N[:8], np.linspace(0.9, 0.6, 8), 20, rng(), 0.95)
    assert found.gain.value == 0 and found.gain.low == 0
    assert found.range_at(np.array([1000.0]))[0, 0] > 0.6


def test_less_is_better_is_the_mirror_image():
    more = outlook(N[:8], TRUE["power"](N[:8]), 20, rng(), 0.9)
    less = outlook(N[:8], 1 - TRUE["power"](N[:8]), 20, rng(), 0.1, more_is_better=False)
    assert (less.gain.low, less.gain.high) == pytest.approx((more.gain.low, more.gain.high), abs=1e-9)
    assert less.more_labels.value == pytest.approx(more.more_labels.value)
    assert less.range_at(N[:1])[1] == pytest.approx(1 - more.range_at(N[:1])[1])


def test_no_curve_rises_above_what_a_metric_can_be():
    found = outlook(N[:6], np.array([0.7, 0.8, 0.88, 0.94, 0.97, 0.99]), 20, rng(), 1.0)
    assert found.range_at(np.array([40.0, 4000.0])).max() <= 1 and found.gain.high <= 0.02


def test_one_outlier_does_not_bend_the_fit():
    values = TRUE["power"](N)
    values[10] -= 0.3
    found = outlook(N, values, 20, rng())
    assert found.range_at(np.array([500.0]))[1] == pytest.approx(TRUE["power"](500.0), abs=0.01)


def test_the_same_seed_gives_the_same_outlook():
    values = TRUE["power"](N[:6]) + rng().normal(0, 0.01, 6)
    assert outlook(N[:6], values, 20, rng(), 0.9).more_labels == outlook(N[:6], values, 20, rng(), 0.9).more_labels


def test_a_curve_that_rises_faster_and_faster_is_none_of_these():
    found = outlook(N[:5], 0.5 + 0.1 * (N[:5] / 100) ** 2, 20, rng())
    assert found.verdict == CANNOT_TELL and found.why.startswith("it rises faster")
    assert outlook(N[:5], 0.5 + 0.1 * N[:5] / 100, 20, rng()).verdict == TOLD, "a straight line is not bent"


def test_the_gain_of_more_labels_than_a_round():
    found = outlook(N[:8], TRUE["power"](N[:8]) + rng().normal(0, 0.005, 8), 20, rng())
    assert found.gain_of(160.0, 20.0) == found.gain
    far, true = found.gain_of(160.0, 80.0), TRUE["power"]
    assert far.low <= true(240.0) - true(160.0) <= far.high and far.value > 2 * found.gain.value
    assert isnan(outlook(N[:3], np.ones(3), 20, rng()).gain_of(60.0, 20.0).low)
