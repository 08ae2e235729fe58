"""From scores to picks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heuristics.core.selecting import SELECTIONS, select

SCORES = np.array([0.1, 0.9, 0.5, 0.7, 0.3])


def rng(seed=0):
    return np.random.default_rng(seed)


def test_top_is_best_first():
    assert select(SCORES, 3, rng()).tolist() == [1, 3, 2]


def test_ties_are_broken_by_the_generator_and_evenly():
    picks = [select(np.zeros(4), 1, rng(s))[0] for s in range(400)]
    counts = np.bincount(picks, minlength=4)
    assert counts.min() > 60 and select(np.zeros(4), 4, rng(1)).tolist() == select(np.zeros(4), 4, rng(1)).tolist()


@pytest.mark.parametrize(
    ("how", "weights"),
    [
        ("power", lambda s: s**2.0),
        ("softmax", lambda s: np.exp(2.0 * s)),
        ("softrank", lambda s: (len(s) - np.argsort(np.argsort(s))).astype(float) ** -2.0),
    ],
)
def test_stochastic_batches_follow_their_law(how, weights):
    """First pick with probability proportional to the weights (beta = 2); second pick likewise among the rest."""
    n, expected = 6000, weights(SCORES)
    draws = np.array([select(SCORES, 2, rng(s), how, beta=2.0) for s in range(n)])
    first = expected / expected.sum()
    tolerance = 4 * np.sqrt(first * (1 - first) / n) + 1e-3
    assert (np.abs(np.bincount(draws[:, 0], minlength=5) / n - first) < tolerance).all()
    after_best = draws[draws[:, 0] == 1][:, 1]
    rest = np.where(np.arange(5) == 1, 0, expected) / np.delete(expected, 1).sum()
    assert (np.abs(np.bincount(after_best, minlength=5) / len(after_best) - rest) < 4 * np.sqrt(0.25 / len(after_best))).all()


SCORE_LISTS = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30)


@given(SCORE_LISTS, st.integers(0, 2**16), st.sampled_from(sorted(SELECTIONS)), st.data())
def test_picks_are_distinct_and_in_range(scores, seed, how, data):
    n_query = data.draw(st.integers(0, len(scores)))
    predicted = data.draw(st.none() | st.lists(st.integers(0, 3), min_size=len(scores), max_size=len(scores)).map(np.array))
    picks = select(np.array(scores), n_query, rng(seed), how, 1.0, predicted)
    assert len(picks) == n_query == len(set(picks.tolist())) and all(0 <= p < len(scores) for p in picks)


def test_power_of_zero_scores_comes_last():
    assert set(select(np.array([0.0, 0.0, 1e-9]), 1, rng(), "power").tolist()) == {2}


def test_balanced_picks_deal_to_predicted_classes_rarest_first():
    predicted = np.array([0, 0, 0, 1, 1, 2])
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.1])
    assert select(scores, 5, rng(), predicted=predicted).tolist() == [5, 3, 0, 4, 1]


def test_refusals():
    with pytest.raises(ValueError, match="unknown select 'powr'. Did you mean 'power'"):
        select(SCORES, 1, rng(), "powr")
    with pytest.raises(ValueError, match="cannot pick 6 images from a pool of 5"):
        select(SCORES, 6, rng())
    with pytest.raises(ValueError, match="score at position 1 is not finite"):
        select(np.array([0.0, np.nan]), 1, rng())
