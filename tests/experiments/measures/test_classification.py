"""Classification metrics against hand-computed values, scikit-learn and torchmetrics."""

from __future__ import annotations

import json
import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx, mark, raises
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss, roc_auc_score
from torchmetrics.functional.classification import multiclass_calibration_error

from experiments.measures.classification import classification_metrics, expected_calibration_error, trivial_metrics
from experiments.measures.table import by_class, is_of_class


def predictions(seed: int, n: int = 200, c: int = 4, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(c, size=n)
    logits = rng.normal(size=(n, c)) + np.eye(c)[targets]
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return (probs[rng.integers(n, size=n)] if ties else probs), targets


def test_by_hand():
    probs = np.array([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.1, 0.8, 0.1], [0.3, 0.1, 0.6]])
    metrics = classification_metrics(probs, np.array([0, 0, 1, 1]))  # class 2 never occurs, but is predicted once
    assert metrics["accuracy"] == 0.5
    assert metrics["per_class_accuracy"][:2] == [0.5, 0.5] and math.isnan(metrics["per_class_accuracy"][2])
    assert metrics["balanced_accuracy"] == metrics["worst_class_accuracy"] == 0.5
    assert metrics["confusion"] == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]
    # F1: class 0 has precision 1, recall 1/2; class 1 precision 1/2, recall 1/2; class 2 zero
    assert metrics["macro_f1"] == approx((2 / 3 + 1 / 2 + 0) / 3)
    # class 0: positives .7 .4 against .1 .3, all won; class 1: positives .8 .1 against .2 .5, two of four won
    assert metrics["macro_auroc"] == approx((1 + 0.5) / 2)
    assert metrics["nll"] == approx(-np.log([0.7, 0.4, 0.8, 0.1]).mean())
    # all four confidences .7, .5, .8, .6 fall into bins of their own; correct: yes, no, yes, no
    assert metrics["ece"] == approx((0.3 + 0.5 + 0.2 + 0.6) / 4)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6))
def test_against_the_libraries(seed, c):
    probs, targets = predictions(seed, c=c)
    metrics, predicted = classification_metrics(probs, targets), probs.argmax(1)
    assert metrics["accuracy"] == approx(accuracy_score(targets, predicted))
    assert metrics["balanced_accuracy"] == approx(balanced_accuracy_score(targets, predicted))
    assert metrics["macro_f1"] == approx(f1_score(targets, predicted, average="macro"))
    aurocs = [roc_auc_score(targets == k, probs[:, k]) for k in range(c)]
    assert metrics["macro_auroc"] == approx(np.mean(aurocs))
    assert metrics["nll"] == approx(log_loss(targets, probs, labels=range(c)))
    assert metrics["worst_class_accuracy"] == min(metrics["per_class_accuracy"])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6))
def test_calibration_against_torchmetrics(seed, c):
    probs, targets = predictions(seed, c=c, ties=False)  # float32 there: a confidence on an edge could change its bin
    theirs = multiclass_calibration_error(torch.from_numpy(probs), torch.from_numpy(targets), c, n_bins=15)
    assert classification_metrics(probs, targets)["ece"] == approx(theirs.item(), abs=1e-6)


def test_bins_of_the_calibration_error_share_their_examples():
    # one bin (0.6, 0.667]: mean confidence 0.64, accuracy 0.5
    assert expected_calibration_error(np.array([0.62, 0.66]), np.array([True, False])) == approx(0.14)
    assert expected_calibration_error(np.array([1.0, 1.0]), np.array([True, True])) == 0
    # the upper edge of a bin belongs to it: 0.5 lies with 0.25 in the lower of two bins, mean confidence 0.375, accuracy 0.5
    assert expected_calibration_error(np.array([0.5, 0.25]), np.array([True, False]), n_bins=2) == approx(0.5 - 0.375)


def test_certain_and_wrong_stays_finite():
    metrics = classification_metrics(np.array([[1.0, 0.0], [1.0, 0.0]], dtype=np.float32), np.array([1, 0]))
    assert metrics["nll"] == approx(-math.log(np.finfo(np.float32).tiny) / 2) and metrics["ece"] == approx(0.5)
    assert metrics["macro_auroc"] == 0.5  # all tied


def test_equal_probabilities_stay_tied_whatever_the_other_classes_have():
    there, back = [0.7, 0.05, 0.1, 0.15], [0.7, 0.15, 0.1, 0.05]
    assert sum(there[1:]) != sum(back[1:])  # in the last bit
    assert classification_metrics(np.array([there, back]), np.array([0, 1]))["macro_auroc"] == (0.5 + 1) / 2


def softmax(logits: np.ndarray, dtype: type = np.float64) -> np.ndarray:
    """Of rows, computed in this precision."""
    return torch.softmax(torch.from_numpy(logits.astype(dtype)), 1).numpy()


@mark.parametrize("dtype", [np.float32, np.float64])
@mark.parametrize("sure_of", [0, 1])
def test_of_two_classes_the_auroc_is_that_of_the_logits(dtype, sure_of):
    """Rare positives far from the threshold, of which float32 makes p = 1."""
    rng = np.random.default_rng(0)
    targets = (rng.random(4000) < 0.02).astype(int)
    gap = rng.normal(np.where(targets, -17.0, -22.0), 2.5)
    probs = softmax(np.stack([np.zeros(4000), gap], 1), dtype)[:, [sure_of, 1 - sure_of]]
    assert (probs == 1).any(axis=None) == (dtype is np.float32)
    expected = roc_auc_score(targets, gap)
    given = targets if sure_of == 0 else 1 - targets
    assert classification_metrics(probs, given)["macro_auroc"] == approx(expected, abs=1e-6)
    assert expected == approx(0.897, abs=5e-4)


def test_of_more_classes_too_certain_predictions_keep_their_ranks():
    """Against the same areas from logits: z_k - logsumexp of the others orders images as p_k does."""
    rng = np.random.default_rng(1)
    targets = rng.integers(3, size=500)
    logits = rng.normal(scale=6, size=(500, 3)) + 45 * np.eye(3)[rng.integers(3, size=500)] + 9 * np.eye(3)[targets]
    others = np.stack([np.logaddexp(*np.delete(logits, k, 1).T) for k in range(3)], 1)
    expected = np.mean([roc_auc_score(targets == k, logits[:, k] - others[:, k]) for k in range(3)])
    probs = softmax(logits)
    assert (probs == 1).sum() > 100
    assert classification_metrics(probs, targets)["macro_auroc"] == approx(expected, abs=1e-12)
    nll = (np.logaddexp.reduce(logits, 1) - logits[np.arange(500), targets]).mean()
    assert classification_metrics(probs, targets)["nll"] == approx(nll, rel=1e-12)
    assert classification_metrics(softmax(2 * logits), targets)["nll"] > -math.log(1e-38) / 2  # not cut at float32's end


def test_one_class_only():
    metrics = classification_metrics(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 0]))
    assert metrics["macro_auroc"] == 0.5 and metrics["balanced_accuracy"] == metrics["worst_class_accuracy"] == 0.5
    assert all(math.isfinite(value) for value in metrics.values() if isinstance(value, float))


def test_permuted_examples_change_nothing_and_values_are_plain():
    probs, targets = predictions(0)
    order = np.random.default_rng(1).permutation(len(targets))
    metrics, permuted = classification_metrics(probs, targets), classification_metrics(probs[order], targets[order])
    assert metrics["confusion"] == permuted["confusion"]
    numbers = {name: value for name, value in metrics.items() if name != "confusion"}
    assert {name: permuted[name] for name in numbers} == {name: approx(value) for name, value in numbers.items()}
    assert json.loads(json.dumps(metrics)) == metrics


def test_the_trivial_prediction_by_hand():
    """Three of four are of class 1, which is what is always predicted, with probabilities that are right on average."""
    trivial = trivial_metrics(np.array([1, 0, 1, 1]), 3)
    assert trivial == approx(
        {
            "accuracy": 0.75, "balanced_accuracy": 0.5, "worst_class_accuracy": 0.0, "macro_f1": (6 / 7 + 0) / 2,
            "macro_auroc": 0.5, "nll": -0.75 * math.log(0.75) - 0.25 * math.log(0.25), "ece": 0.0,
        }
    )  # fmt: skip
    assert all(type(value) is float for value in trivial.values())


def test_metrics_of_a_class_carry_its_name_whatever_it_is():
    names = by_class("accuracy", ["normal mucosa", "St. Elmo [b]", "normal_mucosa"], [0.5, 1, 0])
    assert names == {"accuracy[normal mucosa]": 0.5, "accuracy[St. Elmo [b]]": 1.0, "accuracy[normal_mucosa]": 0.0}
    assert all(map(is_of_class, names)) and not is_of_class("worst_class_accuracy")


def test_refusals():
    with raises(ValueError, match="there is none"):
        classification_metrics(np.zeros((0, 2)), np.zeros(0, dtype=np.int64))
    with raises(ValueError, match=r"row 1 of the probabilities is \[2.0, -1.0\]"):
        classification_metrics(np.array([[0.5, 0.5], [2.0, -1.0]]), np.array([0, 1]))
    with raises(ValueError, match="row 0"):
        classification_metrics(np.array([[np.nan, 1.0]]), np.array([0]))
    with raises(ValueError, match="target 2 is not a class of 0 to 1"):
        classification_metrics(np.array([[0.5, 0.5]]), np.array([2]))
