"""What a test sample says: intervals over patients, perfect scores, metrics without a value, and targets."""

from __future__ import annotations

from math import isnan, nan

import numpy as np
import pytest
from scipy import stats

from data.names import Refused
from experiments.stopping.sample import (
    CANNOT_TELL,
    NOT_REACHED,
    REACHED,
    Interval,
    against,
    mean_of,
    sampled,
    share_low,
)


def alone(n):
    return [""] * n


def test_the_interval_of_a_mean_is_nearly_students():
    values = np.random.default_rng(0).normal(0.7, 0.1, 30)
    found = sampled(mean_of(values), alone(30), np.random.default_rng(1), n_resamples=4000)
    half = stats.t.ppf(0.975, 29) * values.std(ddof=1) / np.sqrt(30)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_images_of_a_patient_are_drawn_together():
    """Ten equal images of each patient are one piece of news, not ten."""
    values = np.random.default_rng(0).normal(0.7, 0.1, 12)
    rng = np.random.default_rng
    once = sampled(mean_of(values), [f"p{i}" for i in range(12)], rng(1))
    often = sampled(mean_of(np.repeat(values, 10)), np.repeat([f"p{i}" for i in range(12)], 10), rng(1))
    apart = sampled(mean_of(np.repeat(values, 10)), alone(120), rng(1))
    assert (often.low, often.high) == pytest.approx((once.low, once.high))
    assert apart.high - apart.low < 0.5 * (often.high - often.low)


def test_a_perfect_score_is_not_certain():
    """Of 25 perfect patients the true share may still be the one that gives 25 in a row with a chance of 2.5 %."""
    found = sampled(mean_of(np.ones(25)), alone(25), np.random.default_rng(0))
    assert (found.value, found.high) == (1, 1) and found.low == pytest.approx(0.025 ** (1 / 25))
    worst = sampled(mean_of(np.zeros(25)), alone(25), np.random.default_rng(0))
    assert (worst.low, worst.high) == pytest.approx((0, 1 - 0.025 ** (1 / 25)))
    distance = sampled(mean_of(np.zeros(25)), alone(25), np.random.default_rng(0), share=False)
    assert (distance.low, distance.high) == (0, 0)


@pytest.mark.parametrize("n", [2, 5, 25])
def test_equal_values_are_not_certain_either(n):
    found = sampled(mean_of(np.full(n, 0.8)), alone(n), np.random.default_rng(0))
    assert found.low < found.value < found.high
    unlike = 1 - 0.025 ** (1 / n)  # share of other patients that n do not rule out: of 0, or of 1
    np.testing.assert_allclose([found.low, found.high], [0.8 * (1 - unlike), 0.8 + 0.2 * unlike])


@pytest.mark.parametrize("share", [True, False])
def test_the_interval_of_what_is_no_mean_lies_around_its_value(share):
    values = np.linspace(0.4, 0.7, 12)
    most = lambda i: float(2 * values[i].mean() - len(set(i)) / 20)  # noqa: E731  # larger in every resample
    found = sampled(most, alone(12), np.random.default_rng(0), share=share)
    assert found.low < found.value < found.high
    np.testing.assert_allclose(found.high - found.value, found.value - found.low)
    spread = sampled(lambda i: most(i) + 10 * (len(set(i)) < 12), alone(12), np.random.default_rng(0), share=False)
    assert spread.high - spread.low < 1, "moved, not stretched"


def test_what_has_no_interval():
    one = sampled(mean_of(np.array([0.5, 0.7])), ["a", "a"], np.random.default_rng(0))
    assert one.value == pytest.approx(0.6) and isnan(one.low) and isnan(one.high)
    missing = sampled(mean_of(np.array([nan, nan, nan])), alone(3), np.random.default_rng(0))
    assert isnan(missing.value) and isnan(missing.low)
    rare = sampled(lambda i: 1.0 if set(range(9)) <= set(i) else nan, alone(9), np.random.default_rng(0))
    assert rare.value == 1 and isnan(rare.low), "hardly a resample holds every image"
    with pytest.raises(Refused, match="at least one image"):
        sampled(mean_of(np.zeros(0)), [], np.random.default_rng(0))


def test_any_metric_of_the_drawn_images_has_an_interval():
    """A rate over pooled counts, which is no mean over images."""
    hits, total = np.array([5, 0, 3, 2, 4]), np.array([5, 1, 6, 2, 9])
    found = sampled(lambda i: float(hits[i].sum() / total[i].sum()), alone(5), np.random.default_rng(0))
    assert found.value == pytest.approx(14 / 23) and found.low < found.value < found.high


@pytest.mark.parametrize(
    ("low", "high", "more", "told"),
    [
        (0.85, 0.9, True, REACHED),
        (0.849, 0.9, True, CANNOT_TELL),
        (0.7, 0.85, True, CANNOT_TELL),
        (0.7, 0.849, True, NOT_REACHED),
        (nan, nan, True, CANNOT_TELL),
        (0.7, 0.85, False, REACHED),
        (0.7, 0.851, False, CANNOT_TELL),
        (0.851, 0.9, False, NOT_REACHED),
    ],
)
def test_against_a_target_of_85(low, high, more, told):
    assert against(Interval(0.8, low, high), 0.85, more) == told


def test_the_lower_end_of_a_share_is_wilsons():
    assert share_low(0.8, 100) == pytest.approx(stats.binomtest(80, 100).proportion_ci(method="wilson").low)
    assert (
        share_low(1.0, 25) < 1 and isnan(share_low(1.2, 25)) and isnan(share_low(nan, 25)) and isnan(share_low(0.5, 0))
    )
