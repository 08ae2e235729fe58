"""Representative and Cluster-Margin against explicit references."""

import numpy as np
import pytest
import torch

from heuristics.representative import cluster_margin, in_turn, representative
from tests.heuristics.core.test_clustering import groups, normal


def rng(seed=0):
    return np.random.default_rng(seed)


def probabilities(n, classes=4, generator=0):
    return torch.softmax(2 * normal(n, classes, generator=generator), 1)


def test_representative_is_greedy_facility_location_on_the_uncertain():
    x, probs = normal(120, 5), probabilities(120)
    exact, p = x.numpy().astype(float), probs.numpy().astype(float)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    candidates = np.argsort((p * np.log(p)).sum(1))[:60]
    picks, similar = [], exact @ exact.T
    for _ in range(20):
        value = [similar[:, [*picks, c]].max(1).sum() if c not in picks else -np.inf for c in candidates]
        picks.append(int(candidates[np.argmax(value)]))
    assert representative(probs, x, 20, rng(), candidates=3).tolist() == picks


def test_representative_sees_directions_that_float32_takes_for_one():
    """Features with a common offset: all cosines are 1 to seven digits."""
    x, probs = normal(120, 5) + 3000, probabilities(120)
    exact = x.numpy().astype(float)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    apart, picks = ((exact[:, None] - exact[None]) ** 2).sum(2) / 2, []
    for _ in range(20):
        value = [apart[:, [*picks, c]].min(1).sum() if c not in picks else np.inf for c in range(120)]
        picks.append(int(np.argmin(value)))
    assert representative(probs, x, 20, rng(), candidates=6).tolist() == picks


def test_representative_of_many_equals_ends():
    """More candidates of one gain than are looked at together."""
    x = normal(3, 4).repeat(100, 1)
    assert len(set(representative(probabilities(300), x, 100, rng(), candidates=3).tolist())) == 100


def test_representative_takes_one_of_each_group_of_the_uncertain():
    x, labels = groups(4, 20)
    probs = torch.full((80, 2), 0.5)
    probs[torch.from_numpy(labels == 3)] = torch.tensor([1.0, 0.0])
    picks = representative(probs, x, 3, rng(), candidates=20)
    assert sorted(labels[picks]) == [0, 1, 2]  # group 3 is certain and no candidate


def test_cluster_margin_deals_the_low_margin_images_to_clusters_smallest_first():
    x, labels = groups(4, 20)
    gap = np.full(80, 0.9)  # certain
    for group, uncertain in enumerate((9, 5, 2, 0)):
        gap[np.flatnonzero(labels == group)[:uncertain]] = 0.1
    probs = torch.from_numpy(np.stack([(1 + gap) / 2, (1 - gap) / 2], 1)).float()
    picks = cluster_margin(probs, x, 8, rng(), candidates=2.0, cluster_size=20)
    assert labels[picks].tolist() == [2, 1, 0, 2, 1, 0, 1, 0]
    assert (gap[picks] == 0.1).all()


def test_cluster_margin_follows_the_margin_and_does_not_keep_its_first_clusters():
    x, probs = normal(100, 4), probabilities(100)
    two = probs.topk(2, 1).values
    lowest = set((two[:, 0] - two[:, 1]).argsort()[:20].tolist())
    assert set(cluster_margin(probs, x, 20, rng(), candidates=1.0).tolist()) == lowest
    assert set(cluster_margin(probs, x, 5, rng(), candidates=4.0).tolist()) <= lowest
    other = probabilities(100, generator=9)
    assert set(cluster_margin(other, x, 20, rng(), candidates=1.0).tolist()) != lowest
    # Over the cycles of one pool every cluster gets its turn.
    left, x, labels = np.arange(60), *groups(6, 10)
    seen = set()
    for cycle in range(6):
        picks = cluster_margin(probs[:60][left], x[left], 3, rng(cycle), candidates=2.0)
        seen |= set(labels[left[picks]])
        left = np.delete(left, picks)
    assert seen == set(range(6))


def test_dealing_is_complete_and_random_within_clusters():
    labels = np.array([7, 7, 7, 2, 2, 5])
    dealt = in_turn(labels, rng())
    assert sorted(dealt) == list(range(6)) and labels[dealt].tolist() == [5, 2, 7, 2, 7, 7]
    assert {int(in_turn(labels, rng(s))[2]) for s in range(40)} == {0, 1, 2}


@pytest.mark.parametrize("selector", [representative, cluster_margin])
def test_any_pool_gives_distinct_picks_and_maps_are_averaged(selector):
    pools = [normal(1, 3), torch.zeros(12, 3), normal(4, 3).repeat(3, 1), normal(12, 3) * 1e20, normal(12, 3).bfloat16()]
    for x in pools:
        for n_query in {0, 1, len(x)}:
            picks = selector(probabilities(len(x)), x, n_query, rng())
            assert picks.dtype == np.int64 and sorted(set(picks.tolist())) == sorted(picks.tolist()) and len(picks) == n_query
    maps = probabilities(30)[:, :, None, None].expand(30, 4, 2, 3).contiguous()
    x = normal(30, 3)
    assert np.array_equal(selector(maps, x, 5, rng()), selector(probabilities(30), x, 5, rng()))


@pytest.mark.parametrize("selector", [representative, cluster_margin])
def test_misuse_is_refused(selector):
    x, probs = normal(5, 3), probabilities(5)
    with pytest.raises(ValueError, match="n_query=6"):
        selector(probs, x, 6, rng())
    with pytest.raises(ValueError, match="candidates=0.5"):
        selector(probs, x, 2, rng(), candidates=0.5)
    with pytest.raises(ValueError, match="probs of image 1 are not finite"):
        selector(probs.index_fill(0, torch.tensor([1]), torch.nan), x, 2, rng())


def test_divided_agglomeration_serves_a_pool_above_the_cap():
    x, labels = groups(5, 40)
    picks = cluster_margin(torch.full((200, 2), 0.5), x, 15, rng(), candidates=40.0, cluster_size=40, max_exact=100)
    assert len(set(labels[picks])) == 5
