"""The head's solver against scikit-learn's, and its cross-validation."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from experiments.learning.logistic import FOLDS, GRID, MOST_VALIDATED, fit, folds_of, strength


def examples(n, d, c, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    classes = np.concatenate([np.arange(c), rng.integers(c, size=n - c)])
    return rng.normal(size=(c, d))[classes] + noise * rng.normal(size=(n, d)) + 0.5, classes


@pytest.mark.parametrize(("n", "d", "c"), [(40, 300, 3), (200, 20, 4), (30, 60, 2)])
def test_the_solution_is_that_of_scikit_learn(n, d, c):
    """In the span of few examples and among many; two columns for two classes carry half the penalty of one."""
    x, classes = examples(n, d, c)
    counts = np.bincount(classes)
    l2, weights = 5.0, (n / (c * counts))[classes]
    found = fit(x, np.eye(c)[classes], weights, l2)
    strength_there = 1 / l2 if c > 2 else 2 / l2
    theirs = LogisticRegression(C=strength_there, class_weight="balanced", solver="newton-cg", tol=1e-12)
    theirs.fit(x, classes)
    weight, bias = theirs.coef_, theirs.intercept_
    if c == 2:
        weight, bias = np.vstack([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    assert np.abs(found.weight - weight).max() < 1e-6
    assert np.abs(found.bias - (bias - bias.mean())).max() < 1e-6


def test_folds_divide_each_class_and_leave_single_images_in():
    classes = np.array([0] * 11 + [1] * 6 + [2])
    folds = folds_of(classes, np.random.default_rng(0))
    assert folds[-1] == -1 and (folds[:-1] >= 0).all()
    for c, n in ((0, 11), (1, 6)):
        counts = np.bincount(folds[classes == c], minlength=FOLDS)
        assert counts.sum() == n and np.ptp(counts) <= 1
    assert np.array_equal(folds, folds_of(classes, np.random.default_rng(0)))
    many = folds_of(np.zeros(2 * MOST_VALIDATED, int), np.random.default_rng(0))
    assert (many >= 0).sum() == MOST_VALIDATED


@pytest.mark.parametrize("n", [10, 60])
def test_noise_is_regularised_more_than_signal(n):
    def chosen(noise, shuffled):
        x, classes = examples(n, 50, 2, noise)
        classes = np.random.default_rng(1).permutation(classes) if shuffled else classes
        return strength(x, np.eye(2)[classes], np.ones(n), folds_of(classes, np.random.default_rng(0)))

    assert chosen(0.3, shuffled=False) < 1 <= chosen(3.0, shuffled=True)


def test_without_two_images_of_a_class_the_middle_is_taken():
    x, classes = examples(3, 5, 3)
    folds = folds_of(classes, np.random.default_rng(0))
    assert strength(x, np.eye(3)[classes], np.ones(3), folds) == GRID[len(GRID) // 2]
