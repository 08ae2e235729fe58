"""Diversity strategies against slow references that recompute everything in float64."""

import inspect
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import heuristics.diversity as diversity
from heuristics.core.initial import STARTS, start
from heuristics.diversity import coreset, kmeans, probcover, typiclust
from tests.heuristics.core.test_clustering import groups, normal


def rng(seed=0):
    return np.random.default_rng(seed)


def plain_k_centre(x, labelled, n_query, order):
    """Greedy k-centre that recomputes all distances before every pick; of equals the first in `order`."""
    picks = []
    while len(picks) < n_query:
        centres = np.concatenate([labelled, x[picks]])
        if not len(centres):
            picks.append(int(order[0]))
            continue
        distance = ((x[:, None] - centres[None]) ** 2).sum(2).min(1)
        distance[picks] = -1
        picks.append(int(order[np.argmax(distance[order])]))
    return picks


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("n_labelled", [0, 1, 7, 100])
@pytest.mark.parametrize("front", [1, 5, 2048])
def test_coreset_picks_what_the_plain_algorithm_picks(metric, n_labelled, front, monkeypatch):
    monkeypatch.setattr(diversity, "FRONT", max(front, 8))
    monkeypatch.setattr(diversity, "FIRST_CENTRES", 3)
    x, labelled = normal(150, 6, generator=1) + 2, normal(n_labelled, 6, generator=2) + 2
    exact, beside = x.numpy().astype(np.float64), labelled.numpy().astype(np.float64)
    if metric == "cosine":
        exact, beside = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (exact, beside))
    expected = plain_k_centre(exact, beside, 60, rng(4).permutation(150))
    assert coreset(x, labelled, 60, rng(4), metric).tolist() == expected


@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(0, 4))
@settings(max_examples=40, deadline=None)
def test_coreset_with_many_duplicates_covers_every_distinct_point_first(generator, d, n_labelled):
    draw = rng(generator)
    x = torch.from_numpy(draw.integers(0, 3, size=(40, d)).astype(np.float32))
    labelled = x[:n_labelled].clone()
    picks = coreset(x, labelled, 40, rng(generator)).tolist()
    assert sorted(picks) == list(range(40))
    distinct = len(torch.unique(x, dim=0)) - len(torch.unique(labelled, dim=0))
    assert len(torch.unique(x[picks[:distinct]], dim=0)) == distinct


def test_coreset_is_within_twice_the_best_radius():
    """Exhaustive search over all sets of centres; greedy is a 2-approximation (Gonzalez, 1985)."""
    for generator in range(5):
        x = normal(11, 2, generator=generator)
        distance = torch.cdist(x, x).numpy()
        best = min(distance[:, list(s)].min(1).max() for s in combinations(range(11), 3))
        picks = coreset(x, x[:0], 3, rng(generator))
        assert distance[:, picks].min(1).max() <= 2 * best + 1e-6


def test_coreset_keeps_its_precision_under_a_large_common_offset():
    x, labelled = normal(200, 5, generator=1), normal(3, 5, generator=2)
    shifted, beside = x.double() + 4096, labelled.double() + 4096
    expected = plain_k_centre(shifted.float().numpy().astype(float), beside.float().numpy().astype(float), 30, rng(0).permutation(200))
    assert coreset(shifted.float(), beside.float(), 30, rng(0)).tolist() == expected


def test_coreset_does_not_recompute_all_distances(monkeypatch):
    rows = []

    def counted(vectors, *others):
        rows.append(len(vectors) * len(others[0]))
        return nearest(vectors, *others)

    nearest = diversity.nearest_centre
    monkeypatch.setattr(diversity, "nearest_centre", counted)
    monkeypatch.setattr(diversity, "FRONT", 128)
    x = normal(5000, 8)
    coreset(x, x[:100] + 1, 100, rng())
    assert sum(rows) < 0.6 * 5000 * 200


def test_chance_decides_between_equals():
    x = torch.tensor([[0.0]] * 2 + [[1.0]] * 10)
    assert len({int(coreset(x, x[:1], 1, rng(s))[0]) for s in range(60)}) == 10
    assert {int(kmeans(torch.zeros(4, 2), 1, rng(s))[0]) for s in range(60)} == set(range(4))
    assert {int(probcover(torch.zeros(4, 2), x[:0, :0].new_zeros(0, 2), 1, rng(s), delta=1.0)[0]) for s in range(60)} == set(range(4))
    assert {int(typiclust(torch.zeros(6, 2), torch.zeros(0, 2), 1, rng(s))[0]) for s in range(80)} == set(range(6))


def test_kmeans_picks_the_member_nearest_each_mean_largest_group_first():
    x, labels = groups(3, 20, spread=0.3)
    x, labels = x[:45], labels[:45]  # sizes 20, 20, 5
    picks = kmeans(x, 3, rng())
    assert sorted(labels[picks]) == [0, 1, 2] and labels[picks[2]] == 2
    for pick in picks:
        members = np.flatnonzero(labels == labels[pick])
        distance = (x[members] - x[members].mean(0)).norm(dim=1)
        assert members[int(distance.argmin())] == pick


def typicality(x, members, k=20):
    distance = np.sqrt(((x[members, None] - x[None, members]) ** 2).sum(2))
    return np.array([1 / np.sort(np.delete(row, i))[:k].mean() for i, row in enumerate(distance)])


def test_typiclust_picks_the_most_typical_of_the_largest_uncovered_groups(monkeypatch):
    x, labels = groups(5, 40, spread=0.3)
    keep = np.concatenate([np.flatnonzero(labels == g)[:size] for g, size in enumerate((40, 36, 31, 28, 3))])
    x, labels = x[keep], labels[keep]
    labelled = x[labels == 0][:2] + 0.01
    monkeypatch.setattr(diversity, "lloyd", lambda *given: (np.concatenate([[0, 0], labels]), None))
    picks = typiclust(x, labelled, 3, rng())
    assert labels[picks].tolist() == [1, 2, 3]  # not the largest, which has labels, and not the smallest, which is below five
    exact = x.numpy().astype(np.float64)
    for pick in picks:
        members = np.flatnonzero(labels == labels[pick])
        assert members[typicality(exact, members).argmax()] == pick


def test_typiclust_caps_its_clusters_and_returns_to_them_in_rounds(monkeypatch):
    x, labels = groups(4, 30, spread=0.2)
    asked = []
    plain = diversity.lloyd
    monkeypatch.setattr(diversity, "lloyd", lambda e, k, r: asked.append(k) or plain(e, k, r))
    picks = typiclust(x, x[:0], 12, rng(), max_clusters=4)
    assert asked == [4] and all(sorted(labels[picks[i : i + 4]]) == [0, 1, 2, 3] for i in (0, 4, 8))
    typiclust(x, x[:10], 7, rng())
    assert asked == [4, 17]


def test_typiclust_of_a_cluster_beyond_its_cap_never_picks_labelled_rows():
    x = normal(5600, 2)
    picks = typiclust(x, x[:3000] * 1.01, 5, rng(), max_clusters=1)
    assert len(set(picks.tolist())) == 5 and picks.min() >= 0
    assert float(x[picks].norm(dim=1).max()) < 0.7  # the dense middle


def plain_cover(x, labelled, n_query, delta, order):
    """Greedy maximum cover over explicit balls; of equals the first in `order`; stops when nothing is left to cover."""
    ball = np.sqrt(((x[:, None] - x[None]) ** 2).sum(2)) <= delta
    covered = (np.sqrt(((x[:, None] - labelled[None]) ** 2).sum(2)) <= delta).any(1)
    picks = []
    while len(picks) < n_query and not covered.all():
        gain = (ball & ~covered).sum(1)
        picks.append(int(order[np.argmax(gain[order])]))
        covered |= ball[picks[-1]]
    return picks


@pytest.mark.parametrize("n_labelled", [0, 1, 10])
def test_probcover_is_greedy_maximum_cover(n_labelled):
    x, labelled = normal(200, 3), normal(n_labelled, 3, generator=1)
    exact = plain_cover(x.numpy().astype(float), labelled.numpy().astype(float), 200, 0.8, rng(5).permutation(200))
    picks = probcover(x, labelled, 200, rng(5), delta=0.8)
    assert picks[: len(exact)].tolist() == exact
    assert sorted(picks) == list(range(200))  # once all is covered: others at random, none twice


def far_apart(size=200, gap=3000.0, d=2):
    """Two groups of spread 1 far apart: beside |x|^2, float32 forgets who is near whom within a group."""
    x = normal(2 * size, d, generator=7)
    x[size:] += gap
    return x, np.repeat([0, 1], size)


@pytest.mark.parametrize("delta", [0.02, 0.35, 1])
@pytest.mark.parametrize("n_labelled", [0, 30])
def test_probcover_keeps_its_radius_in_a_wide_pool(delta, n_labelled):
    x, _ = far_apart()
    labelled = x[::2][:n_labelled] + 0.01
    exact = plain_cover(x.numpy().astype(float), labelled.numpy().astype(float), 60, delta, rng(5).permutation(400))
    assert probcover(x, labelled, 60, rng(5), delta=delta)[: len(exact)].tolist() == exact


def test_probcover_counts_images_at_the_very_radius():
    """Integer coordinates: many pairs lie at the radius exactly, and are in."""
    x = torch.from_numpy(rng(1).integers(0, 12, (150, 2)).astype(np.float32)) + 2000
    exact = plain_cover(x.numpy().astype(float), np.zeros((0, 2)), 40, 3, rng(5).permutation(150))
    assert probcover(x, x[:0], 40, rng(5), delta=3)[: len(exact)].tolist() == exact


def test_the_pure_radius_of_a_wide_pool_is_that_of_differences(monkeypatch):
    """Two clusters inside each of two groups far apart."""
    x, group = far_apart()
    labels = 2 * group + (x.numpy()[:, 0] % 1 > 0.5)
    monkeypatch.setattr(diversity, "lloyd", lambda *given: (labels, None))
    exact = np.sqrt(((x.numpy()[:, None].astype(float) - x.numpy()[None]) ** 2).sum(2))
    exact[labels[:, None] == labels] = np.inf
    expected = np.sort(exact.min(1))[20]
    assert diversity.pure_radius(x, 4, 0.95, rng()) == pytest.approx(expected, rel=2e-5)


def test_typicality_is_that_of_differences_in_a_wide_cluster(monkeypatch):
    x, _ = far_apart()
    monkeypatch.setattr(diversity, "lloyd", lambda *given: (np.zeros(400, dtype=int), None))
    exact = typicality(x.numpy().astype(float), np.arange(400))
    assert typiclust(x, x[:0], 20, rng()).tolist() == np.argsort(-exact)[:20].tolist()


@pytest.mark.parametrize("n_labelled", [0, 100])
def test_coreset_covers_a_wide_pool_as_the_plain_algorithm_does(n_labelled):
    x, _ = far_apart()
    labelled = x[::2][:n_labelled] + 0.01
    picks = coreset(x, labelled, 40, rng(3))
    exact, centres = x.numpy().astype(float), labelled.numpy().astype(float)
    nearest = ((exact[:, None] - centres[None]) ** 2).sum(2).min(1) if n_labelled else np.full(400, np.inf)
    for number, pick in enumerate(picks):
        assert (number == 0 and not n_labelled) or nearest[pick] > 0.99 * nearest.max()
        nearest = np.minimum(nearest, ((exact - exact[pick]) ** 2).sum(1))


def test_probcover_estimates_the_radius_at_which_balls_are_pure():
    x, _ = groups(3, 40, d=2, spread=1.5)
    found = diversity.pure_radius(x, 3, 0.9, rng(2))
    labels = diversity.lloyd(x, 3, rng(2))[0]
    distance = torch.cdist(x.double(), x.double()).numpy()

    def purity(radius):
        return np.mean([(labels[distance[i] <= radius] == labels[i]).all() for i in range(len(x))])

    above = distance[distance > found * (1 + 1e-4)].min()  # the next radius at which any ball changes
    assert purity(found) >= 0.9 > purity(above)


def test_probcover_of_a_part_of_the_pool_still_finds_the_dense_places():
    x, labels = groups(4, 50)
    picks = probcover(x, x[:0], 4, rng(), delta=1.0, max_points=60)
    assert sorted(labels[picks]) == [0, 1, 2, 3]


SELECTORS = [kmeans, coreset, typiclust, probcover]
POOLS = {
    "one": normal(1, 3),
    "constant": torch.full((12, 3), 0.3),
    "zero": torch.zeros(12, 3),
    "duplicates": normal(4, 3).repeat(3, 1),
    "large": normal(12, 3) * 1e20,
    "huge": normal(12, 3).clamp(-3, 3) * 1e38,
    "tiny": normal(12, 3) * 1e-30,
    "half": normal(12, 3).bfloat16(),
    "double": normal(12, 3).double(),
}


@pytest.mark.parametrize("selector", SELECTORS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("n_labelled", [0, 1])
def test_any_pool_gives_distinct_picks_and_the_same_ones_again(selector, pool, n_labelled):
    x = POOLS[pool]
    given_ = {"labelled_embeddings": x[:n_labelled]} if "labelled_embeddings" in inspect.signature(selector).parameters else {}
    for n_query in {0, 1, len(x) // 2, len(x)}:
        before = x.clone()
        picks = selector(x, n_query=n_query, rng=rng(1), **given_)
        assert picks.dtype == np.int64 and len(picks) == n_query == len(set(picks.tolist()))
        assert set(picks.tolist()) <= set(range(len(x))) and torch.equal(before, x)
        assert np.array_equal(picks, selector(x, n_query=n_query, rng=rng(1), **given_))


@pytest.mark.parametrize("selector", SELECTORS, ids=lambda f: f.__name__)
def test_too_many_queries_and_bad_numbers_are_refused(selector):
    x = normal(5, 3)
    given_ = {"labelled_embeddings": x[:0]} if "labelled_embeddings" in inspect.signature(selector).parameters else {}
    with pytest.raises(ValueError, match="n_query=6"):
        selector(x, n_query=6, rng=rng(), **given_)
    with pytest.raises(ValueError, match="image 3 are not finite"):
        selector(x.index_fill(0, torch.tensor([3]), torch.inf), n_query=2, rng=rng(), **given_)


def test_options_out_of_range_are_refused():
    x = normal(5, 3)
    with pytest.raises(ValueError, match="metric='l3'"):
        coreset(x, x[:0], 2, rng(), metric="l3")
    with pytest.raises(ValueError, match="delta=-1"):
        probcover(x, x[:0], 2, rng(), delta=-1.0)


def test_starts_need_no_labels():
    x, labels = groups(3, 20)
    for name in STARTS:
        assert len(set(start(name, x, 3, rng()).tolist())) == 3
    for name in ("kmeans", "typiclust"):
        assert sorted(labels[start(name, x, 3, rng())]) == [0, 1, 2]
    with pytest.raises(ValueError, match="unknown initial 'kmean'. Did you mean 'kmeans'"):
        start("kmean", x, 3, rng())


def test_probcover_starts_with_as_many_clusters_as_classes():
    x, labels = groups(3, 20)
    assert sorted(labels[start("probcover", x, 3, rng(), n_classes=3)]) == [0, 1, 2], "a ball around each group"
    whole = start("probcover", x, 5, rng(), n_classes=3)
    assert whole.tolist() == probcover(x, x[:0], 5, rng(), n_clusters=3).tolist()
    assert whole.tolist() != start("probcover", x, 5, rng()).tolist(), "ten clusters have smaller balls"
    assert start("typiclust", x, 3, rng(), 7).tolist() == start("typiclust", x, 3, rng()).tolist()
