"""How right pseudo-labels are, counted by hand."""

import numpy as np
import pytest
import torch

from data.phantoms.ct import ct_slices
from experiments.measures.pseudo import of_boxes, of_classes, of_maps


class Labels:
    """Targets alone."""

    def __init__(self, targets, classes=("a", "b", "c")):
        self.targets, self.classes = targets, classes
        self.labelled = np.ones(len(targets), dtype=bool)

    def target(self, i):
        return torch.as_tensor(self.targets[i])


def counted(function, *given):
    """Without the check of types: labels alone are no dataset."""
    return function.__wrapped__(*given) if hasattr(function, "__wrapped__") else function(*given)


def test_boxes_count_once(phantom_cache):
    train = ct_slices(24, 8, 64, cache_root=phantom_cache).part("train")
    i = next(i for i in range(len(train)) if len(train.target(i)) >= 2)
    truth = train.target(i)
    wrong = torch.tensor([[0.0, 0, 3, 3, 0]])
    report = of_boxes({i: torch.cat([truth[:1], truth[:1], wrong])}, train)  # one right, one twice, one wrong
    assert report["pseudo_boxes"] == 3 and report["pseudo_precision"] == pytest.approx(1 / 3)
    assert report["pseudo_recall"] == pytest.approx(1 / len(truth))
    nothing = of_boxes({i: torch.zeros(0, 5)}, train)
    assert np.isnan(nothing["pseudo_precision"]) and nothing["pseudo_recall"] == 0


def test_classes_count_where_they_are_certain():
    labels = Labels([0, 1, 2, 0, 1])
    found, certain = np.array([0, 1, 0, 1]), np.array([True, True, True, False])
    report = counted(of_classes, np.array([0, 1, 2, 4]), found, certain, labels)
    assert report == {
        "pseudo_precision": pytest.approx(2 / 3),
        "pseudo_recall": 0.5,
    }  # image 4 is right and not certain
    none = counted(of_classes, np.array([0]), np.array([0]), np.array([False]), labels)
    assert np.isnan(none["pseudo_precision"]) and none["pseudo_recall"] == 0


def test_maps_are_means_over_the_classes():
    """Of class a 3 pixels, 2 of them found among 4; of b 2, 1 found of 1; c is neither there nor found; 255 counts not."""
    labels = Labels([np.array([[0, 0, 0], [1, 1, 255]])])
    report = counted(of_maps, [(0, np.array([[0, 0, 1], [0, 1, 0]]))], labels)
    precision, recall = [2 / 3, 1 / 2], [2 / 3, 1 / 2]
    assert report == {
        "pseudo_precision": pytest.approx(np.mean(precision)),
        "pseudo_recall": pytest.approx(np.mean(recall)),
    }
