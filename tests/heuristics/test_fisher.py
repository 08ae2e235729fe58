"""BAIT against its definition: one inverse in float64 for every candidate, in the weights of all classes."""

import numpy as np
import pytest
import torch

from heuristics.fisher import Pool, bait, factors


def evidence(n, n_classes, d, seed, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator), (scale * torch.randn(n, n_classes, generator=generator)).softmax(1)


def rows_of(x, probs):
    """V_x (C, C D): the rows sqrt(p_y) (e_y - p) x z over the classes y."""
    found = []
    for z, p in zip(x.double().numpy(), probs.double().numpy(), strict=True):
        found.append(np.stack([np.sqrt(p[y]) * np.outer(np.eye(len(p))[y] - p, z).ravel() for y in range(len(p))]))
    return found


def binary_rows_of(x, probs):
    p = probs.double().amax(1).numpy()
    return [np.sqrt(q * (1 - q)) * z[None] for q, z in zip(p, x.double().numpy(), strict=True)]


def plain(pool, known, n_query, regularization):
    """Forward to 2 n_query and back to n_query; every trace from an inverse of its own."""
    size = pool[0].shape[1]
    of_all = sum(v.T @ v for v in [*pool, *known])
    start = regularization * np.eye(size) + sum((v.T @ v for v in known), np.zeros((size, size)))

    def trace(picks):
        return np.trace(np.linalg.inv(start + sum((pool[i].T @ pool[i] for i in picks), 0 * start)) @ of_all)

    picks = []
    for _ in range(min(2 * n_query, len(pool))):
        picks.append(min(set(range(len(pool))) - set(picks), key=lambda i: trace([*picks, i])))
    while len(picks) > n_query:
        picks.remove(min(picks, key=lambda i: trace([j for j in picks if j != i])))
    return picks


@pytest.mark.parametrize("n_classes", [2, 3, 4])
@pytest.mark.parametrize("n_labelled", [0, 1, 9])
@pytest.mark.parametrize("regularization", [1.0, 0.01])
def test_picks_are_those_of_the_definition(n_classes, n_labelled, regularization):
    x, probs = evidence(40, n_classes, 4, seed=n_classes)
    known = [part[:n_labelled] for part in evidence(9, n_classes, 4, seed=9)]
    picks = bait(x, probs, *known, 6, np.random.default_rng(0), regularization=regularization)
    expected = plain(rows_of(x, probs), rows_of(*known), 6, regularization)
    assert picks.tolist() == expected


@pytest.mark.parametrize("n_labelled", [0, 9])
def test_above_the_limit_picks_are_those_of_the_binary_form(n_labelled):
    x, probs = evidence(40, 5, 4, seed=1)
    known = [part[:n_labelled] for part in evidence(9, 5, 4, seed=2)]
    picks = bait(x, probs, *known, 7, np.random.default_rng(0), max_exact=15)
    assert picks.tolist() == plain(binary_rows_of(x, probs), binary_rows_of(*known), 7, 1.0)
    assert bait(x, probs, *known, 7, np.random.default_rng(0), max_exact=16).tolist() == plain(
        rows_of(x, probs), rows_of(*known), 7, 1.0
    )


def test_for_two_classes_the_binary_form_is_exact_but_for_the_scale_of_lambda():
    x, probs = evidence(30, 2, 5, seed=3)
    exact = bait(x, probs, x[:4], probs[:4], 5, np.random.default_rng(0), regularization=2.0)
    binary = bait(x, probs, x[:4], probs[:4], 5, np.random.default_rng(0), regularization=1.0, max_exact=1)
    assert exact.tolist() == binary.tolist()


def test_a_hand_computed_case():
    """One feature, two classes, nothing labelled: the trace is least for the largest p (1 - p) z^2."""
    x, p = torch.tensor([[1.0], [3.0], [2.0]]), torch.tensor([0.5, 0.99, 0.6])  # 0.25, 0.0891, 0.96
    probs = torch.stack([p, 1 - p], 1)
    for limit in (1, 0):
        picks = bait(x, probs, x[:0], probs[:0], 1, np.random.default_rng(0), max_exact=max(limit, 1))
        assert picks.tolist() == [2]
    torch.testing.assert_close(factors(probs, exact=False).flatten(), (p * (1 - p)).double())
    torch.testing.assert_close(factors(probs, exact=True).flatten(), 2 * (p * (1 - p)).double())


def test_what_is_kept_up_to_date_is_what_it_would_be_anew():
    x, probs = evidence(30, 4, 5, seed=4)
    kept = Pool(x, factors(probs, True))
    kept.start(x[:0], factors(probs[:0], True), 0.1)
    for pick, sign in ((3, 1), (17, 1), (5, 1), (17, -1), (29, 1), (3, -1)):
        kept.follow(pick, sign)
    anew = Pool(x, factors(probs, True))
    anew.start(x[[5, 29]], factors(probs[[5, 29]], True), 0.1)
    torch.testing.assert_close(kept.inverse, anew.inverse)
    torch.testing.assert_close(kept.own, anew.own)


def test_a_labelled_image_like_it_makes_an_image_worth_less():
    x, probs = evidence(20, 3, 6, seed=5)
    first = int(bait(x, probs, x[:0], probs[:0], 1, np.random.default_rng(0))[0])
    again = bait(x, probs, x[[first] * 50], probs[[first] * 50], 5, np.random.default_rng(0))
    assert first not in again


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_numbers_of_any_precision_and_length(dtype):
    x, probs = evidence(25, 3, 4, seed=6)
    x, probs = (30 * x).to(dtype), probs.to(dtype)
    picks = bait(x, probs, x[:0], probs[:0], 4, np.random.default_rng(0))
    assert picks.tolist() == plain(rows_of(x, probs), [], 4, 1.0)


@pytest.mark.parametrize("max_exact", [1, 100])
def test_long_features_and_a_small_lambda_leave_whole_batches(max_exact):
    """Fewer picks than features: what a pick alone tells about a direction is known to 1 / lambda."""
    x, probs = evidence(40, 3, 12, seed=10)
    x, given = 1000 * x, {"max_exact": max_exact}
    picks = [
        bait(x, probs, x[:2], probs[:2], 4, np.random.default_rng(0), regularization=least, **given).tolist()
        for least in (1e-6, 1e-3)
    ]
    rows = rows_of if max_exact > 1 else binary_rows_of
    assert picks[0] == picks[1] == plain(rows(x, probs), rows(x[:2], probs[:2]), 4, 1.0)


def test_certain_predictions_carry_no_information_and_are_drawn_among():
    x, probs = evidence(12, 3, 4, seed=7)
    sure = torch.nn.functional.one_hot(probs.argmax(1), 3).float()
    runs = {tuple(bait(x, sure, x[:0], sure[:0], 3, np.random.default_rng(s)).tolist()) for s in range(10)}
    assert len(runs) > 5


def test_maps_and_wrong_numbers_are_refused():
    x, probs = evidence(4, 3, 2, seed=8)
    with pytest.raises(ValueError, match="one probability per class and image"):
        bait(x, probs[:, :, None], x, probs[:, :, None], 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="n_query=5"):
        bait(x, probs, x, probs, 5, np.random.default_rng(0))
