"""The area under the budget curve by hand, against a fine numerical integral, and its invariances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.curves import aubc

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
