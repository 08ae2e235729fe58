"""How few labels are enough, and how many are saved: by hand and against slow references."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.curves import areas, mean_interval
from analysis.savings import label_saving, labels_needed, share_of_full, summary, widened
from tests.analysis.test_curves import curves


def test_percentiles_of_few_runs_are_widened_to_students_interval():
    values = np.random.default_rng(3).normal(size=(6, 1))
    drawn = np.random.default_rng(4).multinomial(6, np.full(6, 1 / 6), size=400_000) @ values[:, 0] / 6
    share = widened(0.95, 6)
    low, high = np.quantile(drawn, [(1 - share) / 2, (1 + share) / 2])
    (inner,), (outer,) = mean_interval(values)
    assert (high - low) / (outer - inner) == pytest.approx(1, abs=0.1)
    assert widened(0.95, 10_000) == pytest.approx(0.95, abs=1e-3) and widened(0.95, 2) == 1


def test_a_saving_that_is_unknown_has_no_interval():
    """Both begin at the target on average; in many resamples one of them begins below it, and a saving is known
    there."""
    study = {name: table([[0.5 + d, 0.7, 0.8] for d in (-0.1, 0, 0.1)]) for name in ("random", "x")}
    study["x"] = study["x"].set_axis([1, 2, 0]).sort_index()  # other runs are the low ones
    saved = label_saving(study, "x", "random", np.random.default_rng(0), target=0.5)
    assert saved["undefined"] < 1
    assert all(np.isnan(saved[name]) for name in ("saving", "relative", "low", "high"))


def test_labels_needed_by_hand():
    budgets, values = [10, 20, 40], [0.5, 0.7, 0.9]
    assert labels_needed(budgets, values, 0.6) == pytest.approx(15)
    assert labels_needed(budgets, values, 0.85) == pytest.approx(35)
    assert labels_needed(budgets, values, 0.7) == 20 and labels_needed(budgets, values, 0.9) == 40
    assert labels_needed(budgets, values, 0.3) == 10  # at most so many
    assert labels_needed(budgets, values, 0.91) == np.inf  # more than measured
    assert labels_needed(budgets, [0.5, 0.7, 0.4], 0.6) == pytest.approx(15)  # the first time counts
    assert labels_needed(budgets, [9.0, 5.0, 3.0], 4.0, higher_is_better=False) == pytest.approx(30)
    assert share_of_full(0.8) == pytest.approx(0.76) and share_of_full(9.5, higher_is_better=False) == pytest.approx(10)


@given(curves, st.floats(-10, 10))
def test_labels_needed_finds_the_first_crossing(curve, target):
    budgets, values = curve
    needed = labels_needed(budgets, values, target)
    if np.isinf(needed):
        assert values.max() < target
    else:
        assert np.interp(needed, budgets, values) >= target - 1e-6
        assert (
            np.interp(np.linspace(budgets[0], needed, 100)[:-1], budgets, values) <= target + 1e-6
        ).all() or needed == budgets[0]


def table(rows, runs=None) -> pd.DataFrame:
    return pd.DataFrame(
        rows,
        index=pd.Index(range(len(rows)) if runs is None else runs),
        columns=pd.Index([0, 10, 20], name="n_labelled"),
    )


def test_saving_by_hand_and_its_paired_interval():
    # Each run has a level of its own: unpaired resampling would see it, paired does not.
    levels = np.array([0.1, 0.2, 0.3, 0.4])[:, None]
    study = {"random": table(levels + [0, 0.2, 0.4]), "bald": table(levels + [0, 0.4, 0.6])}
    saved = label_saving(study, "bald", "random", np.random.default_rng(0))
    assert (saved["target"], saved["needed"], saved["needed_baseline"]) == pytest.approx((0.65, 10, 20))
    assert (saved["saving"], saved["relative"], saved["low"], saved["high"]) == pytest.approx((10, 0.5, 10, 10))
    assert saved["runs"] == 4 and saved["undefined"] == 0
    fixed = label_saving(study, "bald", "random", np.random.default_rng(0), target=0.55)
    assert fixed["saving"] == pytest.approx(15 - 7.5)
    worse = label_saving(study, "random", "bald", np.random.default_rng(0))
    assert worse["needed"] == np.inf and worse["saving"] == worse["low"] == worse["high"] == -np.inf


def test_saving_of_curves_that_fall_or_lack_runs():
    fall = {"random": table([[0, 0.5, 0.4]] * 2), "x": table([[0, 0.4, 0.8]] * 2)}
    saved = label_saving(fall, "x", "random", np.random.default_rng(0))
    assert (saved["target"], saved["needed"], saved["needed_baseline"]) == pytest.approx(
        (0.4, 10, 8)
    )  # the last value, not the best
    losses = label_saving(
        {name: -t for name, t in fall.items()}, "x", "random", np.random.default_rng(0), higher_is_better=False
    )
    assert (losses["needed"], losses["needed_baseline"]) == pytest.approx((10, 8))
    unequal = {
        "random": table([[0, 0.2, 0.4], [0, 0.1, 0.2]], runs=[1, 2]),
        "x": table([[9, 9, 9], [0, 0.4, 0.6]], runs=[0, 1]),
    }
    assert label_saving(unequal, "x", "random", np.random.default_rng(0))["needed"] == pytest.approx(10)
    mixed = {"random": table([[0, 0.2, 0.4]] * 4), "x": table([[0, 0.4, 0.6]] * 3 + [[0, 0, 0]])}
    assert label_saving(mixed, "x", "random", np.random.default_rng(0))["low"] == -np.inf  # some resamples never arrive


def test_interval_of_a_saving_against_a_slow_bootstrap():
    noise = np.random.default_rng(4)
    study = {
        name: table(np.c_[np.zeros(9), noise.normal(mean, 0.03, 9), noise.normal(mean + 0.2, 0.03, 9)])
        for name, mean in (("random", 0.3), ("x", 0.4))
    }
    saved = label_saving(study, "x", "random", np.random.default_rng(0), target=0.45, n_resamples=500)
    drawn = [
        [labels_needed([0, 10, 20], w @ study[name].to_numpy() / 9, 0.45) for name in ("random", "x")]
        for w in np.random.default_rng(0).multinomial(9, np.full(9, 1 / 9), size=500)
    ]
    tail = (1 - widened(0.95, 9)) / 2
    expected = np.quantile([theirs - ours for theirs, ours in drawn], [tail, 1 - tail], method="inverted_cdf")
    assert (saved["low"], saved["high"]) == pytest.approx(tuple(expected))
    narrow = label_saving(study, "x", "random", np.random.default_rng(0), target=0.45, level=0.5)
    assert saved["low"] < narrow["low"] < narrow["saving"] < narrow["high"] < saved["high"]


def test_saving_is_unknown_where_both_begin_at_the_target():
    study = {"random": table([[0.5, 0.6, 0.7], [0.6, 0.6, 0.7]]), "x": table([[0.5, 0.7, 0.8], [0.6, 0.7, 0.8]])}
    saved = label_saving(study, "x", "random", np.random.default_rng(0), target=0.5)
    assert (saved["needed"], saved["needed_baseline"], saved["undefined"]) == (0, 0, 1)
    assert all(np.isnan(saved[name]) for name in ("saving", "relative", "low", "high"))
    late = {"random": study["random"] - [0.2, 0, 0], "x": study["x"]}
    assert (
        label_saving(late, "x", "random", np.random.default_rng(0), target=0.5)["saving"] > 0
    )  # one alone is there: at least so many


def test_saving_where_nobody_arrives_or_runs_are_few():
    study = {"random": table([[0, 0.2, 0.4]]), "bald": table([[0.1, 0.3, 0.5], [9, 9, 9]], runs=[0, 7])}
    saved = label_saving(study, "bald", "random", np.random.default_rng(0))
    assert saved["runs"] == 1 and np.isnan(saved["low"]) and saved["saving"] == pytest.approx(5)
    nobody = label_saving(study, "bald", "random", np.random.default_rng(0), target=3.0)
    assert np.isnan(nobody["saving"]) and nobody["undefined"] == 1
    with pytest.raises(ValueError, match="no curve of 'bold'; known: random, bald"):
        label_saving(study, "bold", "random", np.random.default_rng(0))
    with pytest.raises(ValueError, match="share no run"):
        label_saving({"a": study["random"], "b": study["bald"].iloc[1:]}, "a", "b", np.random.default_rng(0))


def test_summary_has_the_best_first_and_counts_who_arrived():
    study = {"random": table([[0, 0.2, 0.4], [0, 0.2, 0.2]]), "bald": table([[0, 0.4, 0.6], [0, 0.2, 0.4]])}
    found = summary(study, target=0.3, full=0.5)
    assert found.index.tolist() == ["bald", "random"]
    row = found.loc["random"]
    assert (row["runs"], row["aubc"], row["final"]) == pytest.approx((2, (0.2 + 0.15) / 2, 0.3))
    assert row["aubc_std"] == pytest.approx(np.std([0.2, 0.15], ddof=1))
    assert row["aubc_low"] == pytest.approx(0.175 - 12.7062 * 0.025, abs=1e-5)
    assert row["labels_for_target"] == np.inf and row["reached_target"] == 1
    assert found.loc["bald", "labels_for_target"] == pytest.approx((7.5 + 15) / 2)
    assert found.loc["bald", "reached_95_of_full"] == 1
    assert summary(study, higher_is_better=False).index.tolist() == ["random", "bald"]


def test_summary_where_less_is_better():
    study = {"x": table([[9, 5, 3.0], [9, 7, 6], [9, 8, 4], [9, 9, 4.2]])}
    row = summary(study, target=5.0, full=3.9, higher_is_better=False).loc["x"]
    needed = [10, np.inf, 17.5, 10 + 10 * 4 / 4.8]
    assert (
        row["labels_for_target"] == pytest.approx(np.median(needed)) and row["reached_target"] == 3
    )  # a mean would be inf
    assert row["reached_95_of_full"] == 2  # 3.9 / 0.95 is 4.11: 3 and 4 are there, 4.2 is not
    assert row["final_std"] == pytest.approx(np.std([3, 6, 4, 4.2], ddof=1))
    low, high = mean_interval(areas(study).to_numpy())
    assert (row["aubc_low"], row["aubc_high"]) == pytest.approx((low[0], high[0]))


def test_summary_refuses_what_has_no_area():
    with pytest.raises(ValueError, match="x run 0 is nan at n_labelled 10: an area needs finite values"):
        summary({"x": table([[1, np.nan, 1]])})
