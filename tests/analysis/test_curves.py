"""What curves are worth: by hand, against independent slow references, and their invariances."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.curves import (
    annotation_cost,
    areas,
    aubc,
    class_counts,
    curves_of,
    finals,
    label_saving,
    labels_needed,
    mean_interval,
    over_cost,
    sample_std,
    seconds_per_cycle,
    share_of_full,
    summary,
    widened,
)

curves = st.lists(st.tuples(st.integers(1, 50), st.floats(-10, 10)), min_size=2, max_size=12).map(
    lambda steps: (np.cumsum([n for n, _ in steps]), np.array([v for _, v in steps]))
)


def test_by_hand():
    # 10 -> 20: mean 0.6 over a third of the budget; 20 -> 40: mean 0.8 over two thirds.
    assert aubc([10, 20, 40], [0.5, 0.7, 0.9]) == pytest.approx(0.6 / 3 + 0.8 * 2 / 3)


def test_single_point_is_its_value():
    assert aubc([4], [0.25]) == 0.25


@given(curves)
def test_equals_the_mean_height_of_the_polyline(curve):
    budgets, values = curve
    middles = (np.arange(20_000) + 0.5) / 20_000 * (budgets[-1] - budgets[0]) + budgets[0]
    assert aubc(budgets, values) == pytest.approx(np.interp(middles, budgets, values).mean(), abs=1e-3)


@given(curves, st.floats(-5, 5))
def test_invariances(curve, shift):
    budgets, values = curve
    area = aubc(budgets, values)
    assert values.min() - 1e-9 <= area <= values.max() + 1e-9
    assert aubc(budgets, np.full(len(budgets), shift)) == pytest.approx(shift)
    assert aubc(budgets, values + shift) == pytest.approx(area + shift, abs=1e-9)
    assert aubc(3 * budgets + 7, values) == pytest.approx(area, abs=1e-9)
    assert aubc(budgets.tolist(), values.tolist()) == area


@pytest.mark.parametrize(
    ("budgets", "values", "message"),
    [
        ([1, 2, 3], [0.1, float("nan"), 0.3], r"values\[1\] is nan"),
        ([1, float("inf")], [0.1, 0.2], r"n_labelled\[1\] is inf"),
        ([1, 3, 2], [0.1, 0.2, 0.3], r"n_labelled\[2\] = 2 follows 3"),
        ([1, 2, 2], [0.1, 0.2, 0.3], r"n_labelled\[2\] = 2 follows 2"),
        ([1, 2], [0.1], "as many values as budgets"),
        ([], [], "at least one;"),
    ],
)
def test_misuse_is_refused(budgets, values, message):
    with pytest.raises(ValueError, match=message):
        aubc(budgets, values)


def tidy(values: dict, metric: str = "dice", budgets=(4, 8, 16)) -> pd.DataFrame:
    """The tidy frame of {(heuristic, run): values}, its rows shuffled."""
    rows = [(h, r, n, metric, v) for (h, r), curve in values.items() for n, v in zip(budgets, curve, strict=True)]
    return pd.DataFrame(rows, columns=["heuristic", "run", "n_labelled", "metric", "value"]).sample(frac=1, random_state=0)


STUDY = {("random", 1): [0.5, 0.6, 0.8], ("random", 0): [0.4, 0.5, 0.7], ("bald", 0): [0.4, 0.7, 0.9]}


def test_frame_to_tables_by_run():
    found = curves_of(pd.concat([tidy(STUDY), tidy(STUDY, "iou")]), "dice")
    assert list(found) == ["bald", "random"]
    assert found["random"].index.tolist() == [0, 1] and found["random"].columns.tolist() == [4, 8, 16]
    assert found["random"].to_numpy().tolist() == [[0.4, 0.5, 0.7], [0.5, 0.6, 0.8]]
    assert areas(found).loc[0].tolist() == pytest.approx([(4 * 0.55 + 8 * 0.8) / 12, (4 * 0.45 + 8 * 0.6) / 12])
    assert finals(found)["random"].tolist() == [0.7, 0.8] and np.isnan(finals(found).loc[1, "bald"])


def test_areas_are_in_the_order_of_the_runs_and_name_what_is_missing():
    columns = pd.Index([4, 8, 16], name="n_labelled")
    found = {"bald": pd.DataFrame([[1, 1, 1], [2, 2, 2]], index=[7, 3], columns=columns)}
    assert areas(found)["bald"].to_dict() == {3: 2, 7: 1} and areas(found).index.tolist() == [3, 7]
    found["hausdorff"] = pd.DataFrame([[1, 1, 1], [2, np.nan, 2]], index=[7, 3], columns=columns)
    for refused in (areas, lambda curves: summary(curves)):
        with pytest.raises(ValueError, match="hausdorff run 3 is nan at n_labelled 8: an area needs finite values; choose another metric"):
            refused(found)


def test_other_column_of_the_frame():
    frame = tidy(STUDY)
    frame["cost"] = 3.0 * frame["n_labelled"]
    assert curves_of(frame, "dice", "cost")["bald"].loc[0].tolist() == [12, 24, 48]


def test_frames_that_cannot_be_compared_are_refused():
    frame = tidy(STUDY)
    with pytest.raises(ValueError, match="no run has metric 'dcie'; known: dice"):
        curves_of(frame, "dcie")
    with pytest.raises(ValueError, match="bald run 0 has dice twice at 4 labels"):
        curves_of(pd.concat([frame, tidy({("bald", 0): [0.1]}, budgets=[4])]), "dice")
    with pytest.raises(ValueError, match="bald run 3 has dice at 2 of 3 budgets"):
        curves_of(pd.concat([frame, tidy({("bald", 3): [0.1, 0.2]}, budgets=[4, 16])]), "dice")


def test_interval_of_a_mean_is_students():
    values = np.random.default_rng(0).normal(0.7, 0.1, (8, 2))
    low, high = mean_interval(values)
    for t in range(2):
        theirs = stats.ttest_1samp(values[:, t], 0).confidence_interval(0.95)
        assert (low[t], high[t]) == pytest.approx(tuple(theirs))
    assert np.isnan(mean_interval(values[:1])).all() and np.isnan(sample_std(values[:1])).all()
    assert sample_std(values) == pytest.approx(pd.DataFrame(values).std())
    inner_low, inner_high = mean_interval(values, level=0.5)
    assert (inner_low > low).all() and (inner_high < high).all()


@pytest.mark.parametrize("n_runs", [3, 5])
def test_intervals_of_few_runs_cover_what_they_say(n_runs):
    """Percentiles of the bootstrap held the mean of 5 runs in 83 % of the studies, and of 3 in 70 %."""
    low, high = mean_interval(np.random.default_rng(n_runs).normal(size=(n_runs, 20_000)))
    assert ((low <= 0) & (high >= 0)).mean() == pytest.approx(0.95, abs=0.006)  # four standard errors


def test_percentiles_of_few_runs_are_widened_to_students_interval():
    values = np.random.default_rng(3).normal(size=(6, 1))
    drawn = np.random.default_rng(4).multinomial(6, np.full(6, 1 / 6), size=400_000) @ values[:, 0] / 6
    share = widened(0.95, 6)
    low, high = np.quantile(drawn, [(1 - share) / 2, (1 + share) / 2])
    (inner,), (outer,) = mean_interval(values)
    assert (high - low) / (outer - inner) == pytest.approx(1, abs=0.1)
    assert widened(0.95, 10_000) == pytest.approx(0.95, abs=1e-3) and widened(0.95, 2) == 1


def test_a_saving_that_is_unknown_has_no_interval():
    """Both begin at the target on average; in many resamples one of them begins below it, and a saving is known there."""
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
        assert (np.interp(np.linspace(budgets[0], needed, 100)[:-1], budgets, values) <= target + 1e-6).all() or needed == budgets[0]


def table(rows, runs=None) -> pd.DataFrame:
    return pd.DataFrame(rows, index=pd.Index(range(len(rows)) if runs is None else runs), columns=pd.Index([0, 10, 20], name="n_labelled"))


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
    assert (saved["target"], saved["needed"], saved["needed_baseline"]) == pytest.approx((0.4, 10, 8))  # the last value, not the best
    losses = label_saving({name: -t for name, t in fall.items()}, "x", "random", np.random.default_rng(0), higher_is_better=False)
    assert (losses["needed"], losses["needed_baseline"]) == pytest.approx((10, 8))
    unequal = {"random": table([[0, 0.2, 0.4], [0, 0.1, 0.2]], runs=[1, 2]), "x": table([[9, 9, 9], [0, 0.4, 0.6]], runs=[0, 1])}
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
    assert label_saving(late, "x", "random", np.random.default_rng(0), target=0.5)["saving"] > 0  # one alone is there: at least so many


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


def test_cost_instead_of_counts():
    cost = annotation_cost(np.array([3, 0, 1, 2]), np.array([1.0, 10.0, 100.0, 0.5]), [0, 1, 3])
    assert cost.tolist() == [0, 0.5, 11.5]
    with pytest.raises(ValueError, match="a budget of 5 labels needs as many picks, but the run has 4"):
        annotation_cost(np.array([3, 0, 1, 2]), np.ones(4), [2, 5])
    study = {"a": table([[0, 0.2, 0.4], [0, 0.4, 0.8]])}
    costs = {"a": table([[0, 1, 5], [1, 3, 4]])}
    paid = over_cost(study, costs, n_points=4)["a"]
    assert paid.columns.tolist() == [1, 2, 3, 4]
    assert paid.to_numpy() == pytest.approx(np.array([[0.2, 0.25, 0.3, 0.35], [0, 0.2, 0.4, 0.8]]))
    again = over_cost(study, {"a": costs["a"].iloc[::-1]}, n_points=4)["a"]
    assert again.equals(paid)  # by run, not by place
    with pytest.raises(ValueError, match="costs must rise from budget to budget, but those of a run 1 do not: 40 follows 50"):
        over_cost(study, {"a": table([[0, 1, 5], [0, 50, 40]])})
    with pytest.raises(ValueError, match="those of a run 0 do not: nan follows 0"):
        over_cost(study, {"a": table([[0, np.nan, 5], [0, 1, 5]])})
    steep, paid = {"a": table([[0, 0.9, 1.0]])}, {"a": table([[0, 1, 100]])}
    assert areas(over_cost(steep, paid))["a"].tolist() == pytest.approx([aubc([0, 1, 100], [0, 0.9, 1.0])], abs=2e-3)
    with pytest.raises(ValueError, match="no range of costs is common"):
        over_cost(study, {"a": table([[0, 1, 2], [3, 4, 5]])})


def test_class_counts_leave_the_initial_set_out():
    assert class_counts(np.array([0, 0, 1, 2, 2, 1, 0]), [2, 4, 6], 3).tolist() == [[0, 1, 1], [0, 1, 1]]
    assert class_counts(np.array([0, 1]), [2], 3).shape == (0, 3)


def test_seconds_leave_out_the_query_that_is_not_asked():
    parts = {"train_seconds": [1, 2, 6], "test_seconds": [1, 1, 1], "query_seconds": [2, 4, 0]}
    frame = pd.concat([tidy({("bald", 0): values}, name) for name, values in parts.items()])
    assert seconds_per_cycle(frame).loc["bald"].to_dict() == {"train": 3, "test": 1, "query": 3, "total": 7}
    gap = pd.concat([tidy({("bald", 0): values}, name) for name, values in (parts | {"test_seconds": [1, np.nan, 3]}).items()])
    assert seconds_per_cycle(gap).loc["bald", "test"] == 2  # over the cycles that know it
    once = pd.concat([tidy({("bald", 0): [2]}, name, budgets=[4]) for name in parts])
    assert seconds_per_cycle(once).loc["bald", "query"] == 2


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
    assert row["labels_for_target"] == pytest.approx(np.median(needed)) and row["reached_target"] == 3  # a mean would be inf
    assert row["reached_95_of_full"] == 2  # 3.9 / 0.95 is 4.11: 3 and 4 are there, 4.2 is not
    assert row["final_std"] == pytest.approx(np.std([3, 6, 4, 4.2], ddof=1))
    low, high = mean_interval(areas(study).to_numpy())
    assert (row["aubc_low"], row["aubc_high"]) == pytest.approx((low[0], high[0]))
