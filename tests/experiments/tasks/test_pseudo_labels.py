"""Pseudo-labels: which boxes, how good they are, and the mean teacher."""

import pytest
import torch
from torch import nn

from experiments.learning import teacher
from experiments.learning.teacher import MeanTeacher, network_of
from experiments.tasks.pseudo_labels import pseudo_labels, thresholds_of

CLASSES = ("RBC", "WBC")


def found(*rows):
    """Detections (x1, class, score) as boxes of 10 pixels."""
    boxes = torch.tensor([[x, 0, x + 10, 10] for x, _, _ in rows], dtype=torch.float32).reshape(-1, 4)
    labels, scores = torch.tensor([c for _, c, _ in rows], dtype=torch.int64), torch.tensor([s for *_, s in rows])
    return {"boxes": boxes, "labels": labels, "scores": scores.float()}


def test_all_boxes_above_the_threshold_of_their_class_are_kept():
    limits = thresholds_of(CLASSES, 0.7, {"WBC": 0.9})
    assert limits.tolist() == pytest.approx([0.7, 0.9])
    kept = pseudo_labels(found((0, 0, 0.95), (20, 0, 0.75), (40, 1, 0.85), (60, 1, 0.95), (80, 0, 0.6)), limits)
    assert kept[:, [0, 4]].tolist() == [[0, 0], [20, 0], [60, 1]]
    assert pseudo_labels(found(), limits).shape == (0, 5)


def test_adaptive_thresholds_match_the_class_frequency_of_the_labelled_images():
    """Two labelled images with 2 RBC and 1 WBC: a pool of four should have 4 RBC and 2 WBC."""
    labelled = [torch.tensor([[0, 0, 9, 9, 0.0], [5, 5, 9, 9, 0], [1, 1, 9, 9, 1]]), torch.zeros(0, 5)]
    pool = [found((0, 0, 0.9), (0, 1, 0.5)), found((0, 0, 0.75), (9, 0, 0.65)), found((0, 0, 0.6), (0, 1, 0.3)), found((0, 0, 0.55))]
    limits = thresholds_of(CLASSES, 0.7, {}, pool, labelled, adaptive=True)
    assert limits.tolist() == pytest.approx([0.6, 0.35])  # the fourth RBC; the second WBC lies below half the threshold
    assert thresholds_of(CLASSES, 0.5, {}, pool, labelled, adaptive=True)[0] == 0.5, "never above the threshold that was asked for"
    assert thresholds_of(CLASSES, 0.7, {}, [], labelled, adaptive=True).tolist() == pytest.approx([0.7, 0.7])


@pytest.mark.parametrize("delay", [1, 10])
def test_the_teacher_is_the_moving_average_of_the_student(delay, monkeypatch):
    monkeypatch.setattr(teacher, "DELAY", delay)
    torch.manual_seed(0)
    model = MeanTeacher(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    weights = []
    for step in range(5):
        with torch.no_grad():
            model.student[0].weight += step + 1
        model.follow(0.7)
        weights.append(model.student[0].weight.clone())
    expected = weights[0]
    for t, new in enumerate(weights[1:], start=2):
        kept = min(0.7, 1 - delay / (t + delay - 1))
        expected = kept * expected + (1 - kept) * new
    assert torch.allclose(model.teacher[0].weight, expected)
    assert network_of(model) is model.teacher and network_of(model.student) is model.student
    assert all(not p.requires_grad for p in model.teacher.parameters()) and int(model.steps) == 5
    assert model.teacher[1].num_batches_tracked == model.student[1].num_batches_tracked


def test_the_teacher_of_a_short_training_does_not_lag_behind():
    """A weight that is t after step t: the mean over all of 100 steps would be 50.5, the last tenth begins at 91."""
    model = MeanTeacher(nn.Linear(1, 1, bias=False))
    for step in range(1, 101):
        with torch.no_grad():
            model.student.weight.fill_(step)
        model.follow(0.99)
    assert 88 < float(model.teacher.weight) < 95
