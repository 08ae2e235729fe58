"""Labels over a graph of neighbours, beside dense matrices."""

import numpy as np
import pytest
import torch

from experiments.learning import spreading
from experiments.learning.spreading import graph, spread, told


def clusters(n=60, d=5, seed=0):
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % 3
    centres = np.eye(3, d) * 6
    return torch.from_numpy((centres[classes] + rng.normal(0, 1, (n, d))).astype(np.float32)), classes


def dense_graph(features, k):
    """S by loops over pairs."""
    x = features.double().numpy()
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    n, a = len(x), np.zeros((len(x), len(x)))
    for i in range(n):
        cosines = [(-(x[i] @ x[j]), j) for j in range(n) if j != i]
        for negative, j in sorted(cosines)[:k]:
            a[i, j] = max(0.0, -negative) ** 3
    w = a + a.T
    degree = w.sum(1)
    return w / np.sqrt(degree[:, None] * degree[None, :])


@pytest.mark.parametrize("block", [spreading.BLOCK, 200])
def test_the_graph_is_that_of_all_pairs(monkeypatch, block):
    monkeypatch.setattr(spreading, "BLOCK", block)
    features, _ = clusters()
    assert graph(features, 7).toarray() == pytest.approx(dense_graph(features, 7), abs=1e-5)


@pytest.mark.parametrize("alpha", [0.5, 0.99])
def test_spreading_solves_the_dense_system(alpha):
    features, classes = clusters()
    s, labels = dense_graph(features, 7), np.zeros((60, 3))
    labels[range(6), classes[:6]] = [1, 2, 3, 1, 1, 1]
    exact = (1 - alpha) * np.linalg.solve(np.eye(60) - alpha * s, labels)
    assert spread(graph(features, 7), labels, alpha) == pytest.approx(exact, abs=1e-6)


def test_three_labels_tell_three_clusters():
    features, classes = clusters(300)
    labels = np.zeros((300, 3))
    labels[range(3), classes[:3]] = 1
    found, certain = told(spread(graph(features, 10), labels))
    assert (found == classes).mean() > 0.98 and certain.min() > 0


def test_certainty_falls_from_one_label_to_all_alike():
    found, certain = told(np.array([[0.5, 0, 0], [1, 1, 1], [0, 0, 0], [0, 1, 3], [-1e-9, 2e-9, 0]]))
    assert found.tolist()[0] == 0 and found.tolist()[3:] == [2, 1]
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    assert certain == pytest.approx([1, 0, 0, 1 - entropy / np.log(3), 1])
    assert told(np.array([[0.2], [0.0]]))[1].tolist() == [1, 0], "one class alone"


def test_what_no_label_reaches_stays_without():
    """Two groups at right angles, each its own part of the graph."""
    features = torch.tensor([[1.0, 0], [1, 0.01], [0.01, 1], [0, 1]])
    arrived = spread(graph(features, 1), np.array([[1.0, 0], [0, 0], [0, 0], [0, 0]]))
    assert (arrived[:2, 0] > 0).all() and (arrived[2:] == 0).all()
