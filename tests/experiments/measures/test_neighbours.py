"""The accuracy of nearest neighbours against scikit-learn's."""

from __future__ import annotations

import numpy as np
import torch
from pytest import approx, mark
from sklearn.neighbors import KNeighborsClassifier

from experiments.measures import neighbours
from experiments.measures.neighbours import knn_accuracy


def blobs(n, seed):
    rng = np.random.default_rng(seed)
    classes = rng.integers(4, size=n)
    return rng.normal(size=(n, 12)) + 0.7 * np.eye(12)[classes], classes


def votes(distances):
    return np.exp((1 - distances) / 0.07)


@mark.parametrize("n", [90, 500])
def test_as_scikit_learn(n, monkeypatch):
    monkeypatch.setattr(neighbours, "AT_ONCE", 64)
    (known, classes), (asked, truth) = blobs(n, 0), blobs(150, 1)
    reference = KNeighborsClassifier(min(200, n), weights=votes, metric="cosine").fit(known, classes)
    found = knn_accuracy(*map(torch.tensor, (known, classes, asked, truth)), 4)
    assert found == approx(reference.score(asked, truth)) and 0.3 < found < 0.95


def test_each_from_all_others_as_scikit_learn(monkeypatch):
    monkeypatch.setattr(neighbours, "AT_ONCE", 32)
    known, classes = blobs(80, 2)
    right = 0
    for i in range(80):
        rest = np.arange(80) != i
        model = KNeighborsClassifier(79, weights=votes, metric="cosine").fit(known[rest], classes[rest])
        right += int(model.predict(known[i : i + 1])[0] == classes[i])
    assert knn_accuracy(torch.tensor(known), torch.tensor(classes), None, None, 4) == approx(right / 80)
