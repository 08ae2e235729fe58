"""maxherding and uherding: the picks of the plain algorithm in float64, and what the papers say of them."""

import math

import numpy as np
import pytest
import torch

from heuristics import herding
from heuristics.herding import least_distance, maxherding, temperature, uherding


def unit(x):
    x = x.double().numpy()
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300)


def gains_along(picks, x, labelled, weights, delta):
    """What each pick adds to the coverage, and the most that any image would have added: every candidate, each time."""

    def kernel(a, b):
        return np.exp(-(((a[:, None] - b[None]) ** 2).sum(2)) / delta**2)

    a, known = unit(x), unit(labelled)
    near, covered = kernel(a, a), np.zeros(len(a))
    for one in known:
        covered = np.maximum(covered, kernel(a, one[None])[:, 0])
    got, best = [], []
    for number, pick in enumerate(picks):
        gain = (np.maximum(0, near - covered) * weights).sum(1)
        gain[picks[:number]] = -1
        got.append(gain[pick])
        best.append(gain.max())
        covered = np.maximum(covered, near[pick])
    return np.array(got), np.array(best)


def assert_greedy(picks, x, labelled, weights, delta, n_query):
    """Two images that are near each other alone add equally much, so that gains are compared and not names."""
    picks = picks.tolist()
    got, best = gains_along(picks, x, labelled, weights, delta)
    assert len(set(picks)) == n_query
    np.testing.assert_allclose(got, best, rtol=0, atol=3e-7 * len(x))
    assert (np.diff(best) <= 1e-12).all()  # submodular: what a pick adds never grows


def groups(n, d, seed):
    """Positive points in groups of unequal spread and length, all of different directions; one is at the origin."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(6, d, generator=generator)
    spread = torch.rand(n, 1, generator=generator) * torch.randn(n, d, generator=generator)
    found = (centres[torch.randint(6, (n,), generator=generator)] + spread).abs_() * (1 + torch.arange(n) % 7)[:, None]
    found[n // 2] = 0
    return found


@pytest.mark.parametrize("delta", [0.1, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("n_labelled", [0, 1, 12])
def test_lazy_picks_are_those_of_the_plain_algorithm(delta, n_labelled, monkeypatch):
    monkeypatch.setattr(herding, "BLOCK", 64)  # several blocks
    x, labelled = groups(200, 8, 0), groups(12, 8, 1)[:n_labelled]
    picks = maxherding(x, labelled, 25, np.random.default_rng(0), delta=delta)
    assert_greedy(picks, x, labelled, 1, delta, 25)


def test_a_hand_computed_case():
    """Three directions at 90 degrees, of which one has two images and one is labelled; delta^2 = 2, so k = 1/e there."""
    x = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 3.0, 0], [0, 0, 2.0]])
    picks = maxherding(x, torch.tensor([[0, 0, 5.0]]), 2, np.random.default_rng(0), delta=math.sqrt(2))
    # all have coverage 1/e, the last 1: image 0 adds 1 - 1/e, images 1 and 2 add twice that
    assert picks[0] in (1, 2) and picks[1] == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_numbers_of_any_precision(dtype):
    x = groups(60, 5, 2).to(dtype)
    assert_greedy(maxherding(x, x[:3], 8, np.random.default_rng(1)), x, x[:3], 1, 1.0, 8)


def test_the_length_of_the_features_does_not_matter():
    x = groups(80, 6, 3)
    longer = x * torch.logspace(-6, 6, 80)[:, None]
    picks = [maxherding(e, x[:0], 10, np.random.default_rng(0)).tolist() for e in (x, longer)]
    assert picks[0] == picks[1]


def test_duplicates_come_last_and_by_chance():
    x = torch.eye(5).repeat(4, 1)
    runs = [maxherding(x, x[:1], 6, np.random.default_rng(seed)).tolist() for seed in range(20)]
    for picks in runs:
        assert sorted(i % 5 for i in picks[:4]) == [1, 2, 3, 4]
    assert len({tuple(picks) for picks in runs}) > 15


def test_a_random_part_stands_for_a_large_pool():
    x = groups(300, 6, 4)
    picks = maxherding(x, x[:0], 10, np.random.default_rng(5), max_points=60)
    some = np.sort(np.random.default_rng(5).choice(300, 60, replace=False))
    assert_greedy(np.searchsorted(some, picks), x[some], x[:0], 1, 1.0, 10)
    assert set(picks.tolist()) <= set(some.tolist())
    assert len(set(maxherding(x, x[:0], 100, np.random.default_rng(5), max_points=60).tolist())) == 100


def certain(n, c, scale, seed=0):
    """Logits, and targets that agree with half of them."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(n, c, generator=generator)
    targets = torch.where(torch.arange(n) % 2 == 0, logits.argmax(1), (logits.argmax(1) + 1) % c)
    return logits, targets


def calibration_error(logits, targets, value):
    """Guo et al. (2017), one image at a time."""
    bins = {}
    for row, target in zip(logits.double().numpy(), targets.tolist(), strict=True):
        odds = np.exp((row - row.max()) / value)
        p = odds / odds.sum()
        bins.setdefault(math.ceil(p.max() * 15), []).append((p.max(), p.argmax() == target))
    return sum(abs(sum(hit - p for p, hit in found)) for found in bins.values()) / len(logits)


def test_the_temperature_has_the_least_calibration_error():
    for scale in (0.5, 4.0, 40.0):
        logits, targets = certain(60, 4, scale)
        errors = [calibration_error(logits, targets, value) for value in np.arange(10, 201) / 10]
        assert temperature(logits, targets) == 1 + np.argmin(errors) / 10
    assert temperature(logits[:0], targets[:0]) == 1
    assert temperature(torch.eye(3) * 50, torch.arange(3)) == 1  # right and certain: nothing to mend


def test_the_least_distance_is_of_labelled_images_that_differ():
    e = torch.tensor([[2.0, 0], [1.0, 0], [1.0, 1.0], [0, 1.0]])
    assert least_distance(e) == pytest.approx(math.sqrt(2 - math.sqrt(2)))
    assert least_distance(e[:2]) == least_distance(e[:1]) == least_distance(e[:0]) == 1


def test_uncertainty_weighs_what_is_covered():
    x, labelled = groups(150, 8, 5), groups(10, 8, 6)
    logits, _ = certain(150, 4, 3.0)
    known, targets = certain(10, 4, 8.0, seed=1)
    p = np.sort((logits.double() / temperature(known, targets)).softmax(1).numpy(), 1)
    weights = 1 - (p[:, -1] - p[:, -2])
    a = unit(labelled)
    apart = np.linalg.norm(a[:, None] - a[None], axis=2)
    picks = uherding(x, logits, labelled, known, targets, 15, np.random.default_rng(0))
    assert_greedy(picks, x, labelled, weights, apart[apart > 1e-4].min(), 15)


def test_with_equal_uncertainty_it_is_maxherding():
    x, labelled = groups(120, 8, 7), groups(9, 8, 8)
    logits = torch.zeros(120, 3)  # two classes level: u = 1
    known, targets = certain(9, 3, 1.0)
    picks = uherding(x, logits, labelled, known, targets, 12, np.random.default_rng(3))
    delta = least_distance(labelled)
    assert picks.tolist() == maxherding(x, labelled, 12, np.random.default_rng(3), delta=delta).tolist()


def test_without_labels_the_temperature_and_delta_are_one():
    x, (logits, targets) = groups(50, 5, 9), certain(50, 3, 1.0)
    p = np.sort(logits.double().softmax(1).numpy(), 1)
    picks = uherding(x, logits, x[:0], logits[:0], targets[:0], 5, np.random.default_rng(0))
    assert_greedy(picks, x, x[:0], 1 - (p[:, -1] - p[:, -2]), 1.0, 5)


@pytest.mark.parametrize("strategy", [maxherding, uherding])
def test_what_cannot_be_answered_is_refused(strategy):
    x, (logits, targets) = groups(6, 4, 0), certain(6, 3, 1.0)
    more = (x[:1], logits[:1], targets[:1])
    given = {"labelled_embeddings": more[0], "rng": np.random.default_rng(0)}
    given |= {"logits": logits, "labelled_logits": more[1], "labelled_targets": more[2]} if strategy is uherding else {}
    with pytest.raises(ValueError, match="n_query=7"):
        strategy(embeddings=x, n_query=7, **given)
    x[2, 1] = torch.nan
    with pytest.raises(ValueError, match="embeddings of image 2 are not finite"):
        strategy(embeddings=x, n_query=1, **given)
