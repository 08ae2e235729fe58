"""Shared geometry against float64 arithmetic, the law of k-means++ seeding, and agglomeration against SciPy on the whole pool."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.stats import chisquare
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from heuristics.core.agglomerating import agglomerate
from heuristics.core.clustering import Points, check_pool, completed, frame, lloyd, nearest_centre, seed


def normal(*shape, generator=0, scale=1.0):
    return torch.from_numpy(np.random.default_rng(generator).normal(size=shape).astype(np.float32) * scale)


def groups(n_groups, size, d=8, spread=0.05, generator=0):
    rng = np.random.default_rng(generator)
    centres = 5 * rng.normal(size=(n_groups, d))
    labels = np.repeat(np.arange(n_groups), size)
    return torch.from_numpy((centres[labels] + spread * rng.normal(size=(len(labels), d))).astype(np.float32)), labels


@given(st.floats(-6, 6), st.floats(-2, 2), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_nearest_centre_is_the_distance_in_float64_whatever_the_offset(offset, scale, generator):
    rng = np.random.default_rng(generator)
    x = ((rng.normal(size=(40, 6)) + offset) * 10**scale).astype(np.float32)
    x[30:] = x[:10]  # duplicates
    framed = frame(torch.from_numpy(x))
    squared, which = nearest_centre(framed(torch.from_numpy(x)), framed(torch.from_numpy(x[:12])))
    exact = ((x[:, None].astype(np.float64) - x[None, :12]) ** 2).sum(2)
    expected = exact.min(1) * framed.scale**2
    np.testing.assert_allclose(squared, expected, rtol=2e-3, atol=1e-11)
    assert (squared[30:].numpy() == 0).all() and (squared[:12].numpy() == 0).all()
    assert (exact[np.arange(40), which.numpy()] <= exact.min(1) * 1.001 + 1e-9).all()


def test_nearest_centre_of_a_wide_pool_is_the_nearest():
    """Two groups 3000 apart, several centres in each: beside |x|^2 their distances in float32 are all alike."""
    x = normal(200, 2, generator=4)
    x[100:] += 3000
    framed = frame(x)
    squared, which = nearest_centre(framed(x), framed(x[::10]))
    exact = ((x.double()[:, None] - x.double()[None, ::10]) ** 2).sum(2)
    nearest = exact.min(1).values
    assert (exact[range(200), which] <= 1.01 * nearest + 1e-6).all()
    torch.testing.assert_close(squared.double() / framed.scale**2, nearest, rtol=0.01, atol=1e-4)


def test_gradients_of_a_wide_pool_know_their_nearest():
    x = normal(100, 2, generator=4) + 3000
    factors = torch.tensor([[0.5, -0.5], [0.3, -0.3]]).repeat(50, 1)
    centres = list(range(0, 100, 5))
    points = Points(x, frame(x, metric="dot"), factors)
    gradients = (factors.double()[:, :, None] * x.double()[:, None]).flatten(1)
    exact = ((gradients[:, None] - gradients[None, centres]) ** 2).sum(2).min(1).values
    found = points.squared_distance(slice(None), centres).double() / points.framed.scale**2
    torch.testing.assert_close(found, exact, rtol=0.02, atol=1e-4)


def test_agglomeration_of_a_wide_pool_is_that_of_scipy():
    x = normal(120, 3, generator=5)
    x[60:] += 3000
    expected = fcluster(linkage(x.double().numpy(), "average"), 15, "maxclust")
    assert adjusted_rand_score(expected, agglomerate(x, 15, np.random.default_rng(0))) == 1


@pytest.mark.parametrize("magnitude", [1e-30, 1.0, 1e20, 1e37])
def test_frames_keep_squares_finite_and_distances_in_proportion(magnitude):
    x = normal(20, 5)
    framed, plain = frame(x * magnitude), frame(x)
    big = framed(x * magnitude)
    assert big.isfinite().all() and big.square().sum().isfinite() and float(big.abs().max()) > 0.1
    distances, reference = torch.cdist(big, big), torch.cdist(plain(x), plain(x))
    ratio = float(distances.max() / reference.max())
    assert torch.allclose(distances, reference * ratio, rtol=1e-4, atol=1e-6)


def test_cosine_frame_ignores_length_and_keeps_zero():
    x = normal(6, 4)
    x[2] = 0
    lengths = torch.tensor([1e-30, 1e30, 1, 7, 1e-3, 1e5])[:, None]
    framed = frame(x, metric="cosine")
    assert torch.allclose(framed(x * lengths), framed(x), atol=1e-6)
    assert framed(x)[2].abs().max() == 0
    assert torch.allclose(framed(x)[[0, 1, 3]].norm(dim=1), torch.ones(3))


def test_seeding_follows_the_law_of_squared_distances_even_when_bounds_are_outdated():
    x = torch.tensor([[0.0], [1.0], [3.0], [3.5], [-2.0]])
    trials = 800
    rng = np.random.default_rng(3)
    counts, third = np.zeros(5), np.zeros(5)
    points = Points(x, frame(x))
    for _ in range(trials):
        _, second, last = seed(points, 3, 0, rng)
        counts[second] += 1
        if second == 2:
            third[last] += 1
    law = np.array([0, 1, 9, 3.5**2, 4])
    assert chisquare(counts[1:], law[1:] / law.sum() * trials).pvalue > 1e-3
    law = np.array([0, 1, 0, 0.25, 4])
    assert third[[0, 2]].sum() == 0
    assert chisquare(third[[1, 3, 4]], law[[1, 3, 4]] / law.sum() * third.sum()).pvalue > 1e-3


def test_seeds_do_not_depend_on_how_often_all_points_are_brought_up_to_date():
    x = normal(300, 10)
    points = Points(x, frame(x))
    runs = [seed(points, 60, 7, np.random.default_rng(1), refresh) for refresh in (1, 7, 32, 100)]
    assert all(run == runs[0] for run in runs) and len(set(runs[0])) == 60


def test_seeding_stops_when_only_duplicates_are_left():
    x = normal(4, 3).repeat(5, 1)
    seeds = seed(Points(x, frame(x)), 10, 0, np.random.default_rng(0))
    assert sorted(s % 4 for s in seeds) == [0, 1, 2, 3]


def test_k_means_finds_separate_groups_and_its_inertia_is_that_of_scikit_learn():
    x, truth = groups(6, 30)
    labels, _ = lloyd(x, 6, np.random.default_rng(0))
    assert adjusted_rand_score(truth, labels) == 1
    x = normal(500, 4)
    labels, squared = lloyd(x, 20, np.random.default_rng(0))
    centroids = np.stack([x[torch.from_numpy(labels == c)].mean(0).numpy() for c in range(20)])
    inertia = ((x.numpy() - centroids[labels]) ** 2).sum()
    assert inertia < 1.05 * KMeans(20, n_init=3, random_state=0).fit(x.numpy()).inertia_
    assert squared.sum() / frame(x).scale ** 2 == pytest.approx(inertia, rel=0.02)


@pytest.mark.parametrize("x", [torch.full((30, 4), 0.1), normal(3, 4).repeat(10, 1), torch.zeros(5, 2)])
def test_k_means_of_fewer_distinct_rows_than_clusters(x):
    labels, squared = lloyd(x, 8, np.random.default_rng(0))
    same = (x[:, None] == x).all(2).numpy()
    assert (same == (labels[:, None] == labels)).all() and squared.max() < 1e-10


def test_agglomeration_is_that_of_scipy_and_stays_close_when_divided():
    x = normal(120, 3, generator=5)
    labels = agglomerate(x, 15, np.random.default_rng(0))
    expected = fcluster(linkage(x.numpy(), "average"), 15, "maxclust")
    assert adjusted_rand_score(expected, labels) == 1 and len(np.unique(labels)) == 15
    x, truth = groups(12, 20)
    assert adjusted_rand_score(truth, agglomerate(x, 12, np.random.default_rng(0), max_exact=100)) > 0.95
    assert len(np.unique(agglomerate(torch.zeros(50, 2), 5, np.random.default_rng(0), max_exact=10))) >= 5


def test_misuse_is_named():
    x = normal(5, 3)
    with pytest.raises(ValueError, match="n_query=6 must be between 0 and the size of the pool, 5"):
        check_pool(x, 6)
    with pytest.raises(ValueError, match="embeddings of image 2 are not finite"):
        check_pool(x.index_fill(0, torch.tensor([2]), torch.nan), 1)
    with pytest.raises(ValueError, match="labelled_embeddings have 2 features, those of the pool 3"):
        check_pool(x, 1, labelled_embeddings=normal(4, 2))
    with pytest.raises(ValueError, match="probs are of 4 images, embeddings of 5"):
        check_pool(x, 1, probs=normal(4, 2))
    with pytest.raises(ValueError, match="metric='l1' must be l2 or cosine"):
        frame(x, metric="l1")


def test_missing_picks_are_drawn_from_the_others():
    picks = completed([3, 1], 6, 5, np.random.default_rng(0))
    assert picks[:2].tolist() == [3, 1] and len(set(picks.tolist())) == 5
    assert completed([3, 1], 6, 1, np.random.default_rng(0)).tolist() == [3]
