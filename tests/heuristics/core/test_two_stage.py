"""A shortlist by score, and a choice among it by embeddings."""

import numpy as np
import pytest
import torch

from heuristics import get
from heuristics.core.two_stage import SECOND, second_stage, shortlist
from tests.heuristics.core.test_clustering import groups, normal


def rng(seed=0):
    return np.random.default_rng(seed)


def test_the_shortlist_is_the_highest_scores_best_first():
    scores = np.array([0.1, 0.9, 0.5, 0.7, 0.3])
    assert shortlist(scores, 3, rng()).tolist() == [1, 3, 2]
    assert shortlist(scores, 5, rng()).tolist() == shortlist(scores, 500, rng()).tolist() == [1, 3, 2, 4, 0]
    assert shortlist(scores, 0, rng()).tolist() == []


def test_ties_at_the_edge_of_the_shortlist_are_broken_evenly_and_by_the_generator():
    scores = np.array([1.0, 0, 0, 0, 0])
    listed = [shortlist(scores, 2, rng(s)).tolist() for s in range(400)]
    counts = np.bincount([second for first, second in listed if first == 0], minlength=5)
    assert counts.sum() == 400 and counts[1:].min() > 60
    assert shortlist(np.zeros(9), 4, rng(3)).tolist() == shortlist(np.zeros(9), 4, rng(3)).tolist()


@pytest.mark.parametrize("name", SECOND)
def test_picks_are_distinct_positions_in_the_shortlist(name):
    for x in (normal(20, 4), torch.zeros(12, 4), normal(1, 4)):
        for n_query in {0, 1, len(x) // 2, len(x)}:
            for labelled in (normal(5, 4, generator=1), x[:0]):
                picks = second_stage(name, x, labelled, n_query, rng())
                assert picks.dtype == np.int64 and len(picks) == n_query == len(set(picks.tolist()))
                assert all(0 <= p < len(x) for p in picks)
                assert np.array_equal(picks, second_stage(name, x, labelled, n_query, rng()))


def test_none_keeps_the_order_of_the_scores():
    assert second_stage("none", normal(9, 3), normal(2, 3), 4, rng()).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["kmeans", "coreset"])
def test_selectors_are_those_of_the_registry(name):
    x, labelled = normal(40, 5), normal(6, 5, generator=1)
    expected = get(name)(embeddings=x, labelled_embeddings=labelled, n_query=7, rng=rng(2))
    assert second_stage(name, x, labelled, 7, rng(2)).tolist() == expected.tolist()


def test_coreset_stays_away_from_what_is_labelled():
    x, labels = groups(3, 10)
    picks = second_stage("coreset", x, x[labels == 1] + 0.01, 2, rng())
    assert sorted(labels[picks]) == [0, 2]


def test_representative_is_greedy_over_the_whole_shortlist():
    """Every image of the shortlist is a candidate: none is thrown out by an entropy that the score has already replaced."""
    x = normal(30, 4)
    unit = x.double().numpy() / np.linalg.norm(x.double().numpy(), axis=1, keepdims=True)
    similar, picks = unit @ unit.T, []
    for _ in range(6):
        value = [similar[:, [*picks, c]].max(1).sum() if c not in picks else -np.inf for c in range(30)]
        picks.append(int(np.argmax(value)))
    assert second_stage("representative", x, x[:0], 6, rng()).tolist() == picks


@pytest.mark.parametrize("name", ["kmeans", "coreset", "representative"])
def test_each_group_of_near_duplicates_is_picked_once(name):
    """The images of highest score are of four kinds; plain scores would label one kind alone."""
    x, labels = groups(5, 20)
    scores = np.where(labels == 4, 0.0, 1.0) + np.where(labels == 0, 0.5, 0.0) + 1e-3 * rng(1).random(100)
    listed = shortlist(scores, 80, rng())
    picks = listed[second_stage(name, x[listed], x[:0], 4, rng())]
    assert sorted(labels[picks]) == [0, 1, 2, 3] and set(labels[listed[:4]]) == {0}


def test_misuse_is_refused():
    x = normal(5, 3)
    with pytest.raises(ValueError, match="unknown second stage 'kmean'. Did you mean 'kmeans'\\? Known: none, kmeans, coreset"):
        second_stage("kmean", x, x[:0], 2, rng())
    for name in SECOND:
        with pytest.raises(ValueError, match="cannot pick 6 images from a shortlist of 5"):
            second_stage(name, x, x[:0], 6, rng())
    with pytest.raises(ValueError, match="score at position 1 is not finite"):
        shortlist(np.array([0.0, np.nan]), 1, rng())
    with pytest.raises(ValueError, match="cannot pick -1 images"):
        shortlist(np.zeros(3), -1, rng())
