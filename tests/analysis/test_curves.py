"""What curves are worth: by hand, against independent slow references, and their invariances."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.curves import (
    areas,
    aubc,
    curves_of,
    finals,
    mean_interval,
    sample_std,
    seconds_per_cycle,
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
    return pd.DataFrame(rows, columns=["heuristic", "run", "n_labelled", "metric", "value"]).sample(
        frac=1, random_state=0
    )


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
    with pytest.raises(
        ValueError, match="hausdorff run 3 is nan at n_labelled 8: an area needs finite values; choose another metric"
    ):
        areas(found)


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


def test_seconds_leave_out_the_query_that_is_not_asked():
    parts = {"train_seconds": [1, 2, 6], "test_seconds": [1, 1, 1], "query_seconds": [2, 4, 0]}
    frame = pd.concat([tidy({("bald", 0): values}, name) for name, values in parts.items()])
    assert seconds_per_cycle(frame).loc["bald"].to_dict() == {"train": 3, "test": 1, "query": 3, "total": 7}
    gap = pd.concat(
        [tidy({("bald", 0): values}, name) for name, values in (parts | {"test_seconds": [1, np.nan, 3]}).items()]
    )
    assert seconds_per_cycle(gap).loc["bald", "test"] == 2  # over the cycles that know it
    once = pd.concat([tidy({("bald", 0): [2]}, name, budgets=[4]) for name in parts])
    assert seconds_per_cycle(once).loc["bald", "query"] == 2
