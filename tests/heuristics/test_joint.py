"""batchbald against joint entropies by enumeration, epig against a sum over all pairs of labels, and the limits of both."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from heuristics.joint import Outcomes, batchbald, epig, predictive_information


def passes(n: int, c: int, k: int, seed: int, spread: float = 1.5) -> Tensor:
    """Random passes that share their weights across images, as MC dropout with fixed masks does."""
    generator = torch.Generator().manual_seed(seed)
    features, weights = torch.randn(n, 4, generator=generator), torch.randn(4, c, k, generator=generator)
    return (spread * torch.einsum("nd,dck->nck", features, weights) + torch.randn(n, c, 1, generator=generator)).softmax(1)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def joint_information(probs: np.ndarray, batch: list[int]) -> float:
    """I(y_batch; w) by enumeration of all outcomes in double precision."""
    joint = 0.0
    for outcome in itertools.product(range(probs.shape[1]), repeat=len(batch)):
        p = np.mean(np.prod([probs[i, y] for i, y in zip(batch, outcome, strict=True)], axis=0))
        joint -= p * np.log(p) if p > 0 else 0
    each = probs[batch]
    logs = np.log(np.where(each > 0, each, 1))
    return joint + (each * logs).sum((0, 1)).mean()


def greedy_reference(probs: Tensor, n_query: int) -> list[int]:
    """Plain greedy over exact joint information."""
    exact = probs.double().numpy()
    picks: list[int] = []
    while len(picks) < n_query:
        values = [joint_information(exact, [*picks, i]) if i not in picks else -np.inf for i in range(len(exact))]
        picks.append(int(np.argmax(values)))
    return picks


@pytest.mark.parametrize("seed", range(4))
def test_batchbald_has_the_picks_of_exact_greedy(seed: int) -> None:
    probs = passes(15, 3, 6, seed)
    assert batchbald(probs, 4, rng(seed)).tolist() == greedy_reference(probs, 4)


@pytest.mark.parametrize("seed", range(3))
def test_first_pick_of_batchbald_is_the_best_single_image_and_stays_in_the_batch(seed: int) -> None:
    probs = passes(40, 4, 8, seed)
    bald = [joint_information(probs.double().numpy(), [i]) for i in range(40)]
    for n_query in (1, 2, 5):
        assert batchbald(probs, n_query, rng())[0] == np.argmax(bald)


@pytest.mark.parametrize("seed", range(6))
def test_lazy_evaluation_has_the_picks_of_plain_greedy_on_the_same_sampled_outcomes(seed: int) -> None:
    probs, n_query, capacity = passes(300, 4, 10, seed, spread=0.7), 9, 6000
    picks = batchbald(probs, n_query, rng(seed), max_joint=capacity * 10).tolist()
    drawn = rng(seed)
    drawn.permutation(300)  # the ranks of ties are drawn first, then the samples
    outcomes = Outcomes(10, capacity, drawn, probs)
    noise = -torch.special.xlogy(probs, probs).sum(1)
    for m, pick in enumerate(picks):
        gains = outcomes.information(probs, noise)[0]
        gains[picks[:m]] = -torch.inf
        assert gains[pick] >= gains.max() - 2e-6  # equal within the tolerance for ties
        outcomes.extend(probs[pick])
    assert not outcomes.exact


def test_sampled_outcomes_estimate_the_information_without_bias() -> None:
    probs = passes(12, 3, 6, seed=1, spread=1.0)
    noise = -torch.special.xlogy(probs, probs).sum(1)
    exact = Outcomes(6, 3**7, rng(), probs)
    for i in range(6):
        exact.extend(probs[i])
    assert exact.exact and len(exact.weights) == 3**6
    estimates = []
    for seed in range(60):
        sampled = Outcomes(6, 100, rng(seed), probs)
        for i in range(6):
            sampled.extend(probs[i])
        assert not sampled.exact and len(sampled.weights) <= 100
        estimates.append(sampled.information(probs, noise)[0])
    spread = torch.stack(estimates).std(0) / 60**0.5
    truth = exact.information(probs, noise)[0]
    assert ((torch.stack(estimates).mean(0) - truth).abs() < 5 * spread).all()


def test_information_of_one_more_label_is_the_difference_of_joint_informations() -> None:
    probs = passes(6, 3, 5, seed=3).double()
    probs /= probs.sum(1, keepdim=True)
    outcomes = Outcomes(5, 10_000, rng(), probs)
    batch = [0, 1, 2]
    for i in batch:
        outcomes.extend(probs[i])
    exact = probs.numpy()
    noise = -torch.special.xlogy(probs, probs).sum(1)
    for i in (3, 4, 5):
        gain = outcomes.information(probs[i : i + 1], noise[i : i + 1])[0].item()
        assert gain == pytest.approx(joint_information(exact, [*batch, i]) - joint_information(exact, batch), abs=1e-12)


def test_batchbald_does_not_repeat_what_a_duplicate_told() -> None:
    """Two copies of the most informative image: the second copy is worth less than another image, where BALD takes both."""
    sure_but_disagreeing = torch.tensor([[0.99, 0.99, 0.01, 0.01], [0.01, 0.01, 0.99, 0.99]])
    other = torch.tensor([[0.95, 0.05, 0.95, 0.05], [0.05, 0.95, 0.05, 0.95]])
    probs = torch.stack([sure_but_disagreeing, sure_but_disagreeing, other])
    picks = batchbald(probs, 2, rng())
    assert picks[0] in (0, 1) and picks[1] == 2


def test_probabilities_of_zero_and_one_give_finite_information() -> None:
    probs = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [0.0, 0.0]], [[0.5, 0.5], [0.5, 0.5]]])
    assert batchbald(probs, 3, rng())[0] == 0
    information = predictive_information(probs, probs[:1])
    assert information.tolist() == pytest.approx([np.log(2), 0, 0], abs=1e-6)


@pytest.mark.parametrize("function", [batchbald, epig])
@pytest.mark.parametrize("case", ["one pass", "constant", "duplicates", "certain"])
def test_whole_pool_can_be_picked(function, case: str) -> None:
    probs = {
        "one pass": passes(9, 3, 1, 0),
        "constant": torch.full((9, 3, 4), 1 / 3),
        "duplicates": passes(3, 3, 4, 0).repeat(3, 1, 1),
        "certain": torch.eye(3)[torch.arange(9) % 3][:, :, None].repeat(1, 1, 4),
    }[case]
    picks = function(probs, 9, rng())
    assert picks.dtype.kind == "i" and sorted(picks.tolist()) == list(range(9))
    assert len(function(probs, 0, rng())) == 0


@pytest.mark.parametrize("function", [batchbald, epig])
def test_ties_are_broken_by_the_generator(function) -> None:
    probs = passes(1, 3, 4, 0).repeat(12, 1, 1)
    firsts = {int(function(probs, 1, rng(seed))[0]) for seed in range(40)}
    assert len(firsts) >= 8
    assert function(probs, 5, rng(7)).tolist() == function(probs, 5, rng(7)).tolist()


@pytest.mark.parametrize("function", [batchbald, epig])
def test_misuse_is_named(function) -> None:
    with pytest.raises(ValueError, match=r"one label per image.*bald"):
        function(torch.full((2, 2, 3, 4, 4), 0.5), 1, rng())
    with pytest.raises(ValueError, match="cannot pick 4 images from a pool of 3"):
        function(passes(3, 2, 2, 0), 4, rng())


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="max_joint=5 of batchbald must be at least .* 6"):
        batchbald(passes(3, 2, 6, 0), 1, rng(), max_joint=5)
    with pytest.raises(ValueError, match="n_targets=0"):
        epig(passes(3, 2, 2, 0), 1, rng(), n_targets=0)


def test_predictive_information_is_the_divergence_of_the_joint_from_the_product() -> None:
    probs = passes(7, 3, 5, seed=2)
    images, targets = probs.double().numpy(), probs[4:].double().numpy()
    expected = np.zeros(7)
    for i, t in itertools.product(range(7), range(3)):
        for y, z in itertools.product(range(3), repeat=2):
            joint = (images[i, y] * targets[t, z]).mean()
            expected[i] += joint * np.log(joint / (images[i, y].mean() * targets[t, z].mean())) / 3
    assert predictive_information(probs, probs[4:]).numpy() == pytest.approx(expected, abs=2e-6)


def test_epig_ignores_information_that_no_target_shares() -> None:
    """An image on which passes disagree is worth nothing if its disagreement is independent of that on every other image."""
    shared = torch.tensor([[0.9, 0.9, 0.1, 0.1], [0.1, 0.1, 0.9, 0.9]])
    lonely = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]])
    probs = torch.stack([lonely, *[shared] * 30])
    assert 0 not in epig(probs, 30, rng(), n_targets=30)
    assert batchbald(probs, 1, rng()).tolist() == [0]


def test_epig_in_blocks_is_epig(monkeypatch) -> None:
    probs = passes(20, 4, 6, seed=5)
    whole = predictive_information(probs, probs)
    monkeypatch.setattr("heuristics.joint.CHUNK", 40)
    assert torch.allclose(predictive_information(probs, probs), whole, atol=2e-6)
