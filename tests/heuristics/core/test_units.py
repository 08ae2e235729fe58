"""Single slices that are no neighbours, and whole volumes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heuristics.core.units import VOLUME_SCORES, members, spread, thinned, volume_scores, whole

VOLUMES = np.array(["b", "a", "a", "", "b", "a", ""])
SLICES = np.array([3, 0, 1, 0, 4, 2, 0])


def test_members_are_in_the_order_of_the_first():
    assert [m.tolist() for m in members(VOLUMES)] == [[0, 4], [1, 2, 5], [3], [6]]


def test_scores_of_volumes():
    scores = np.array([1.0, 0.0, 3.0, 5.0, 2.0, 6.0, -1.0])
    found = {how: volume_scores(scores, members(VOLUMES), how).tolist() for how in VOLUME_SCORES}
    assert found == {
        "mean": [1.5, 3.0, 5.0, -1.0],
        "median": [1.5, 3.0, 5.0, -1.0],
        "max": [2.0, 6.0, 5.0, -1.0],
        "sum": [3.0, 9.0, 5.0, -1.0],
    }


@pytest.mark.parametrize(
    ("n_query", "taken"),
    [(9, [2, 0]), (8, [2, 1, 3]), (11, [2, 0, 1]), (4, [2]), (5, [2]), (17, [2, 0, 1, 3]), (1, [2])],
)
def test_whole_volumes_in_their_order_as_far_as_they_fit(n_query, taken):
    assert whole(np.array([2, 0, 1, 3]), np.array([4, 2, 5, 1]), n_query).tolist() == taken


def test_no_two_slices_nearer_than_asked():
    order = np.array([1, 2, 5, 0, 4, 3, 6])
    assert spread(order, VOLUMES, SLICES, 2, 4).tolist() == [1, 5, 0, 3]
    assert spread(order, VOLUMES, SLICES, 3, 7).tolist() == [1, 0, 3, 6, 2, 5, 4]  # then the best of the rest
    assert spread(order, VOLUMES, SLICES, 3, 7, 5).tolist() == [1, 0, 3, 6, 2]
    assert spread(order, VOLUMES, SLICES, 1, 3).tolist() == [1, 2, 5]


@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(1, 30))
def test_spread_is_greedy_and_thinned_holds_no_neighbours(seed, apart, most):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    volumes = rng.choice(["", "u", "v", "w"], n)
    slices = np.zeros(n, np.int64)
    for name in ("u", "v", "w"):
        own = np.flatnonzero(volumes == name)
        slices[own] = rng.permutation(len(own))
    near = lambda i, j: volumes[i] == volumes[j] != "" and abs(slices[i] - slices[j]) < apart  # noqa: E731
    order = rng.permutation(n)
    slow = []
    for i in order:
        if len(slow) < most and not any(near(i, j) for j in slow):
            slow.append(i)
    found = spread(order, volumes, slices, apart, most)
    assert found[: len(slow)].tolist() == slow and len(found) == min(most, n) == len(set(found.tolist()))
    kept = thinned(volumes, slices, apart, rng)
    assert not any(near(i, j) for i in kept for j in kept if i != j)
    assert set(np.flatnonzero(volumes == "")) <= set(kept.tolist())
    for name in ("u", "v", "w"):
        assert (volumes[kept] == name).sum() >= (volumes == name).sum() // apart
