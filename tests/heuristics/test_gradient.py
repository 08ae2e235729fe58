"""BADGE against autograd, and against k-means++ on the explicit N x C D matrix with the same draws."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from heuristics.core.clustering import Points, frame
from heuristics.gradient import badge, residual
from tests.heuristics.core.test_clustering import normal


def rng(seed=0):
    return np.random.default_rng(seed)


def evidence(n=80, classes=5, d=6, generator=0):
    return torch.softmax(2 * normal(n, classes, generator=generator), 1), normal(n, d, generator=generator + 1)


def explicit(probs, embeddings):
    """(N, C D) gradients in float64."""
    p = probs.double()
    y = torch.nn.functional.one_hot(p.argmax(1), p.shape[1])
    return ((p - y)[:, :, None] * embeddings.double()[:, None]).flatten(1).numpy()


def plain_seeding(gradients, n_query, rng):
    """k-means++ with every distance recomputed before every draw; p_i ~ D_i^2 as the winner of a race of exponentials."""
    order = rng.permutation(len(gradients))
    picks = [int(order[np.argmax((gradients[order] ** 2).sum(1))])]
    while len(picks) < n_query:
        squared = ((gradients[:, None] - gradients[None, picks]) ** 2).sum(2).min(1)
        with np.errstate(divide="ignore"):
            picks.append(int(np.argmin(rng.standard_exponential(len(gradients), dtype=np.float32) / squared)))
    return picks


def test_factors_are_the_gradient_of_the_last_layer():
    embeddings = normal(7, 6)
    layer = torch.nn.Linear(6, 4).requires_grad_(True)
    logits = layer(embeddings)
    probs = torch.softmax(logits, 1).detach()
    products = residual(probs)[:, :, None] * embeddings[:, None]
    for i in range(7):
        loss = torch.nn.functional.cross_entropy(layer(embeddings[i : i + 1]), logits[i : i + 1].argmax(1))
        (gradient,) = torch.autograd.grad(loss, layer.weight)
        assert torch.allclose(products[i], gradient, atol=1e-6)


def test_residuals_of_confident_predictions_keep_their_digits():
    probs = torch.tensor([[1.0, 1e-10, 2e-10], [0.0, 1.0, 0.0]])
    assert torch.allclose(residual(probs)[0], torch.tensor([-3e-10, 1e-10, 2e-10]), rtol=1e-5, atol=0)
    assert residual(probs)[1].abs().max() == 0


@pytest.mark.parametrize("magnitude", [1.0, 1e20, 1e-20])
@pytest.mark.parametrize("generator", range(3))
def test_factorised_distances_are_those_of_the_explicit_gradients(generator, magnitude):
    probs, x = evidence(generator=generator)
    probs[40:60], x[40:60] = probs[:20], x[:20] * (1 + 1e-3 * normal(20, 1))  # near-duplicates, where products cancel
    probs[60:], x[60:] = probs[:20], x[:20]
    framed = frame(x * magnitude, metric="dot")
    points = Points(x * magnitude, framed, residual(probs))
    gradients = explicit(probs, x) * framed.scale * magnitude
    found = points.squared_distance(slice(0, 80), [3, 5, 11])
    expected = ((gradients[:, None] - gradients[None, [3, 5, 11]]) ** 2).sum(2).min(1)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-12 * expected.max())
    assert (found[[3, 5, 11, 63, 65, 71]] == 0).all()


@pytest.mark.parametrize("generator", range(4))
def test_badge_picks_what_seeding_on_the_explicit_matrix_picks(generator):
    probs, x = evidence(generator=generator)
    assert badge(probs, x, 60, rng(generator)).tolist() == plain_seeding(explicit(probs, x), 60, rng(generator))


def test_draws_follow_the_squared_distance_to_the_picks_and_not_to_the_origin():
    probs = torch.tensor([[0.5, 0.5]] * 4)
    x = torch.tensor([[4.0, 0.0], [3.5, 0.0], [0.0, 1.0], [-1.0, 0.0]])  # gradients of length |x| / sqrt(2); the first is the longest
    counts = np.bincount([int(badge(probs, x, 2, rng(s))[1]) for s in range(600)], minlength=4)
    law = np.array([0.25, 17, 25])  # with the origin as a centre it would be 0.25, 1, 1
    assert counts[0] == 0 and chisquare(counts[1:], law / law.sum() * 600).pvalue > 1e-3


def test_images_with_a_zero_gradient_are_left_to_the_end_only_when_a_pick_has_one():
    probs, x = evidence(12)
    probs[6:] = torch.eye(5)[torch.zeros(6, dtype=torch.int64)]  # certain: no gradient
    for s in range(20):
        picks = badge(probs, x, 12, rng(s))
        certain = picks >= 6
        assert certain[:7].sum() <= 1 and sorted(picks) == list(range(12))


def test_duplicates_are_picked_once_until_nothing_else_is_left():
    probs, x = evidence(10)
    for s in range(20):
        picks = badge(probs.repeat(4, 1), x.repeat(4, 1), 25, rng(s))
        assert sorted(picks[:10] % 10) == list(range(10)) and len(set(picks.tolist())) == 25
    assert {int(badge(probs.repeat(4, 1), x.repeat(4, 1), 1, rng(s))[0]) // 10 for s in range(40)} == {0, 1, 2, 3}


POOLS = [torch.zeros(9, 3), normal(9, 3) * 1e20, normal(9, 3).clamp(-3, 3) * 1e38, normal(1, 3), normal(9, 3).bfloat16()]


@pytest.mark.parametrize("x", POOLS)
def test_any_pool_gives_distinct_picks(x):
    probs = torch.softmax(normal(len(x), 4), 1)
    for n_query in {0, 1, len(x)}:
        picks = badge(probs, x, n_query, rng())
        assert picks.dtype == np.int64 and len(picks) == n_query == len(set(picks.tolist()))


def test_misuse_is_refused():
    probs, x = evidence(5)
    with pytest.raises(ValueError, match="n_query=6"):
        badge(probs, x, 6, rng())
    with pytest.raises(ValueError, match=r"one probability per class and image, not \(5, 5, 2, 2\)"):
        badge(probs[:, :, None, None].expand(5, 5, 2, 2), x, 2, rng())
