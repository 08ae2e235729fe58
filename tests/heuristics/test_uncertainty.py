"""Scores against hand-computed values and the definitions written out pass by pass."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heuristics import get
from heuristics.core.evidence import MC, RunningMC, entropy_of

STREAMED = ["least_confidence", "margin", "entropy", "dbal", "bald", "mc_variance", "mean_std", "expected_entropy", "variation_ratio"]


def evidence_of(mc_probs):
    """Evidence from all passes (B, C, K, *S) at once: the stacked reference."""
    p = np.array(mc_probs, dtype=np.float64)
    p = np.ascontiguousarray(p)
    log = np.log(np.where(p > 0, p, 1))
    hot = np.moveaxis(np.eye(p.shape[1])[p.argmax(1)], -1, 1)
    found = {
        "probs": p[:, :, 0],
        "mc_mean": p.mean(2),
        "mc_entropy": -(p * log).sum(1).mean(1),
        "mc_std": p.std(2),
        "mc_votes": hot.mean(2),
    }
    return {name: torch.from_numpy(value) for name, value in found.items()}


def score(name, mc_probs):
    return get(name)(**evidence_of(mc_probs)).numpy()


def test_hand_computed_scores_of_one_prediction():
    p = np.array([0.5, 0.3, 0.2])[None, :, None]  # one image, one pass
    assert score("least_confidence", p) == pytest.approx([0.5])
    assert score("margin", p) == pytest.approx([-0.2])
    assert score("entropy", p) == pytest.approx([-(0.5 * np.log(0.5) + 0.3 * np.log(0.3) + 0.2 * np.log(0.2))])
    assert score("bald", p) == pytest.approx([0.0], abs=1e-12)


def test_hand_computed_disagreement():
    p = np.array([[[1.0, 0.0], [0.0, 1.0]]])  # two classes, two passes, each certain, opposed
    assert score("bald", p) == pytest.approx([np.log(2)])
    assert score("dbal", p) == pytest.approx([np.log(2)])
    assert score("expected_entropy", p) == pytest.approx([0.0])
    assert score("mc_variance", p) == pytest.approx([0.25])  # v (1 - v) with v = 1/2
    assert score("mean_std", p) == pytest.approx([0.5])
    assert score("variation_ratio", p) == pytest.approx([0.5])


def test_certain_predictions_score_least_and_are_finite():
    p = np.array([[[1.0, 1.0], [0.0, 0.0]]])
    for name in STREAMED:
        assert score(name, p) == pytest.approx([-1.0 if name == "margin" else 0.0], abs=1e-12), name


def test_mc_variance_is_the_variance_of_the_binary_map_and_of_one_hot_maps():
    rng = np.random.default_rng(0)
    two = rng.dirichlet([1, 1], (5, 7, 4, 4)).transpose(0, 4, 1, 2, 3)
    assert score("mc_variance", two) == pytest.approx((two.argmax(1)).astype(float).var(1))
    four = rng.dirichlet([1] * 4, (5, 7)).transpose(0, 2, 1)
    hot = np.eye(4)[four.argmax(1)]
    assert score("mc_variance", four) == pytest.approx(hot.var(1).sum(1) / 2)


mc_arrays = st.tuples(st.integers(1, 4), st.integers(2, 5), st.integers(1, 6), st.integers(0, 2**16)).map(
    lambda a: np.random.default_rng(a[3]).dirichlet([0.3] * a[1], (a[0], a[2])).transpose(0, 2, 1)
)


@given(mc_arrays)
def test_bounds_and_symmetry(p):
    """Every score lies in its documented range and does not depend on the order of passes or the numbering of classes."""
    c = p.shape[1]
    highest = {
        "least_confidence": 1 - 1 / c, "margin": 0, "entropy": np.log(c), "dbal": np.log(c), "bald": np.log(c),
        "expected_entropy": np.log(c), "mc_variance": (1 - 1 / c) / 2, "mean_std": 0.5, "variation_ratio": 1 - 1 / c,
    }  # fmt: skip
    for name in STREAMED:
        value = score(name, p)
        assert (value <= highest[name] + 1e-9).all() and (value >= (-1 if name == "margin" else 0)).all(), name
        assert value == pytest.approx(score(name, p[:, ::-1]), abs=1e-9), name
        if name not in ("least_confidence", "margin", "entropy"):
            assert value == pytest.approx(score(name, p[:, :, ::-1]), abs=1e-9), name
    assert score("bald", p) == pytest.approx(score("dbal", p) - score("expected_entropy", p), abs=1e-9)


@given(mc_arrays, st.booleans())
def test_streaming_equals_stacking(p, as_map):
    """The running statistics after K passes are those of the stack of all passes."""
    if as_map:
        p = np.repeat(np.repeat(p[..., None, None], 2, -1), 3, -2)
    running = RunningMC()
    for k in range(p.shape[2]):
        running.add(torch.from_numpy(p[:, :, k]))
    stacked = evidence_of(p)
    for name, value in running.evidence().items():
        np.testing.assert_allclose(value, stacked[name], atol=1e-9, err_msg=name)
    assert set(running.evidence()) == MC - {"mc_probs"}


def test_running_statistics_do_not_touch_the_passes():
    p = torch.rand(2, 3, 4).softmax(1)
    before = p.clone()
    running = RunningMC()
    running.add(p)
    running.add(p)
    assert torch.equal(p, before)


def test_std_of_nearly_equal_passes_is_not_lost_in_rounding():
    running = RunningMC({"mc_mean", "mc_std"})
    for k in range(4):
        running.add(torch.tensor([[0.7 + k * 1e-5, 0.3 - k * 1e-5]]))
    assert running.std[0, 0].item() == pytest.approx(np.std(np.arange(4)) * 1e-5, rel=0.02)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 5, 7), (600, 3, 40, 40)])
def test_entropy_is_that_of_scipy_and_zero_at_zero(shape):
    from scipy.stats import entropy

    p = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).softmax(1)
    p[0] = 0
    p[0, 0] = 1
    np.testing.assert_allclose(entropy_of(p), entropy(p.numpy(), axis=1), atol=1e-12)
    assert (entropy_of(p)[0] == 0).all()


def test_random_balanced_gives_rare_predicted_classes_their_share():
    predicted = torch.tensor([0] * 90 + [1] * 6 + [2] * 4)
    probs = torch.nn.functional.one_hot(predicted, 4).float() * 0.8 + 0.05
    draw = get("random_balanced")
    picks = [draw(probs=probs, n_query=12, rng=np.random.default_rng(seed)) for seed in range(2)]
    for chosen in picks:
        assert np.bincount(predicted[chosen], minlength=4).tolist() == [4, 4, 4, 0] and len(set(chosen.tolist())) == 12
    assert picks[0].tolist() != picks[1].tolist()
    assert np.bincount(predicted[draw(probs=probs, n_query=30, rng=np.random.default_rng(0))]).tolist() == [20, 6, 4]


def test_least_confidence_tells_saturated_predictions_apart():
    """From a logit gap of 17 the probability of the predicted class is 1 in float32; what is left to the others is not 0."""
    gaps = torch.tensor([40.0, 18.0, 30.0, 20.0])
    probs = torch.stack([gaps, torch.zeros(4)], 1).softmax(1)
    assert get("least_confidence")(probs=probs).argsort(descending=True).tolist() == [1, 3, 2, 0]
