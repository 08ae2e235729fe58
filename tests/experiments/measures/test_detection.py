"""Scores of a detector: hand-made cases, average precision computed slowly here, gathering in batches, and limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from experiments.measures.detection import DetectionScores, trivial_detections
from experiments.measures.froc import FPS


def found(*rows: tuple[float, ...]) -> dict[str, Tensor]:
    """What a detector returns: rows of x1, y1, x2, y2, score, class, highest score first."""
    table = torch.tensor(sorted(rows, key=lambda row: -row[4]), dtype=torch.float32).reshape(-1, 6)
    boxes, scores, labels = table[:, :4], table[:, 4], table[:, 5].long()
    return {"boxes": boxes, "scores": scores, "labels": labels, "probs": torch.zeros(len(table), 4), "proposals": boxes}


def true(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 5)


def precision_of_class(detections: list[dict[str, Tensor]], targets: list[Tensor], label: int, iou: float) -> float:
    """Average precision of one class at one IoU by COCO's rule: mean of the best precision at 101 recalls, boxes taken greedily."""
    rows = [
        (float(image["scores"][d]), i, image["boxes"][d].tolist())
        for i, image in enumerate(detections)
        for d in range(len(image["scores"]))
        if image["labels"][d] == label
    ]
    left = [[row[:4].tolist() for row in target if row[4] == label] for target in targets]
    n_true, right, precisions = sum(map(len, left)), 0, []
    for n, (_, i, box) in enumerate(sorted(rows, key=lambda row: -row[0]), start=1):
        overlaps = []
        for other in left[i]:
            w, h = min(box[2], other[2]) - max(box[0], other[0]), min(box[3], other[3]) - max(box[1], other[1])
            shared = max(w, 0) * max(h, 0)
            overlaps.append(shared / ((box[2] - box[0]) * (box[3] - box[1]) + (other[2] - other[0]) * (other[3] - other[1]) - shared))
        if overlaps and max(overlaps) >= iou:
            left[i].pop(int(np.argmax(overlaps)))
            right += 1
        precisions.append((right / n_true, right / n))
    return float(np.mean([max((p for r, p in precisions if r >= recall), default=0.0) for recall in np.linspace(0, 1, 101)]))


def noisy_set(n: int = 12) -> tuple[list[dict[str, Tensor]], list[Tensor]]:
    """Images from 40 to 4000 pixels wide with 2 classes; most lesions found roughly, some twice, others invented."""
    rng = np.random.default_rng(5)
    detections, targets = [], []
    for side in np.geomspace(40, 4000, n):
        corner = rng.uniform(0, 0.6 * side, (rng.integers(0, 5), 2))
        lesions = np.c_[corner, corner + rng.uniform(0.05, 0.4, corner.shape) * side, rng.integers(0, 2, len(corner))]
        rows = []
        for x1, y1, x2, y2, label in np.concatenate([lesions, lesions[:2]]):
            move = rng.normal(0, 0.06, 2) * (x2 - x1, y2 - y1)
            rows.append((x1 + move[0], y1 + move[1], x2 + move[0], y2, rng.beta(4, 2), label if rng.random() < 0.9 else 1 - label))
        for _ in range(rng.integers(0, 6)):
            x, y = rng.uniform(0, 0.8 * side, 2)
            rows.append((x, y, x + 0.1 * side, y + 0.1 * side, rng.beta(2, 4), rng.integers(0, 2)))
        detections.append(found(*rows))
        targets.append(torch.from_numpy(lesions).float())
    return detections, targets


def test_perfect_detector():
    scores = DetectionScores(n_classes=2)
    scores.add([found((10, 10, 30, 30, 0.9, 0), (5, 5, 60, 60, 0.8, 1)), found()], [true((10, 10, 30, 30, 0), (5, 5, 60, 60, 1)), true()])
    got = scores.summary()
    assert [got[f"froc_at_{x}"] for x in ("0.5", "1", "2", "4", "8", "16")] == [1] * 6
    assert [got[name] for name in ("froc", "ap", "ap50", "ar", "sensitivity_small", "sensitivity_medium")] == pytest.approx([1] * 6)
    assert np.isnan(got["sensitivity_large"])  # there is none
    assert got["per_class_sensitivity"] == [1, 1]
    assert scores.curve().tolist() == [[0, 0], [0, 0.5], [0, 1], [0, 1]]


def test_summary_by_hand():
    # Class 0 found first; then three false positives in two images; then class 1, small and large.
    scores = DetectionScores(n_classes=3, fps_of_groups=1.0)
    invented = [(200, 200, 210, 210, 0.8, 1), (220, 200, 230, 210, 0.7, 0)]
    scores.add([found((0, 0, 100, 100, 0.9, 0), *invented)], [true((0, 0, 100, 100, 0))])
    second = [(50, 50, 60, 60), (0, 0, 150, 150)]
    scores.add([found((0, 0, 9, 9, 0.6, 0), (*second[0], 0.5, 1), (*second[1], 0.4, 1))], [true((*second[0], 1), (*second[1], 1))])
    got = scores.summary()
    assert got["froc_at_0.5"] == got["froc_at_1"] == pytest.approx(1 / 3)
    assert got["froc_at_2"] == got["froc_at_16"] == 1
    assert got["froc"] == pytest.approx((2 / 3 + 4) / 6)
    assert (got["sensitivity_small"], got["sensitivity_large"]) == (0, 0.5)
    assert got["per_class_sensitivity"] == pytest.approx([1, 0, np.nan], nan_ok=True)
    assert scores.operating_points().tolist() == [got[f"froc_at_{x:g}"] for x in FPS]


def test_average_precision_equals_the_slow_computation():
    detections, targets = noisy_set()
    scores = DetectionScores(n_classes=2)
    scores.add(detections, targets)
    got = scores.summary()
    by_iou = [np.mean([precision_of_class(detections, targets, label, t / 100) for label in (0, 1)]) for t in range(50, 100, 5)]
    assert 0.1 < got["ap"] < got["ap50"] < 0.95
    assert got["ap50"] == pytest.approx(by_iou[0], abs=1e-6)
    assert got["ap"] == pytest.approx(np.mean(by_iou), abs=1e-6)
    assert 0.1 < got["ar"] < 1
    assert 0.1 < got["froc"] < 1


def test_batches_do_not_matter_and_conventions_do():
    detections, targets = noisy_set()
    whole, parts = DetectionScores(2), DetectionScores(2)
    whole.add(detections, targets)
    for first in range(0, len(targets), 5):
        parts.add(detections[first : first + 5], targets[first : first + 5])
    assert parts.summary() == whole.summary()
    curves = [whole.curve().tolist()]
    for rules in ({"second_hit": "false"}, {"criterion": "centre"}, {"by_class": False}, {"iou": 0.8}):
        other = DetectionScores(2, **rules)
        other.add(detections, targets)
        curves.append(other.curve().tolist())
    assert len({str(curve) for curve in curves}) == len(curves)
    assert DetectionScores(2, second_hit="false").convention == "hit: IoU of at least 0.5, right class; second hits count as false"


def test_the_convention_of_deeplesion_lets_one_box_find_two_lesions():
    detections, targets = [found((0, 0, 20, 20, 0.9, 0))], [true((0, 0, 20, 19, 0), (0, 1, 20, 20, 0))]
    for convention, sensitivity in (("one_to_one", 0.5), ("deeplesion", 1)):
        scores = DetectionScores(1, convention=convention)
        scores.add(detections, targets)
        assert scores.summary()["froc"] == sensitivity
        assert ("several lesions" in scores.convention) == (convention == "deeplesion")


def test_no_detection_scores_zero():
    scores = DetectionScores(1)
    scores.add([found(), found()], [true((1, 1, 9, 9, 0)), true()])
    got = scores.summary()
    assert all(got[name] == 0 for name in ("froc", "froc_at_16", "ap", "ap50", "ar", "sensitivity_small"))
    assert got["per_class_sensitivity"] == [0]


def test_half_precision_on_the_graph_is_taken():
    scores = DetectionScores(1)
    image = found((1, 1, 9, 9, 0.5, 0))
    image |= {name: image[name].half().requires_grad_() for name in ("boxes", "scores")}
    scores.add([image], [true((1, 1, 9, 9, 0))])
    assert scores.summary()["ap"] == pytest.approx(1)


def test_the_trivial_prediction_is_one_mean_box_of_the_commonest_class():
    targets = [true((0, 0, 10, 20, 1), (20, 10, 40, 20, 1)), true((10, 10, 20, 30, 0)), true()]
    got = trivial_detections(targets, np.full((3, 2), 50))
    for image in got:
        assert image["boxes"].tolist() == [pytest.approx([10, 20 / 3, 70 / 3, 70 / 3], rel=1e-5)]
        assert image["labels"].tolist() == [1] and image["scores"].tolist() == [1]
    # Twice the size, half the width: means are shares of each image.
    double = trivial_detections([targets[0], 2 * targets[1], targets[2]], np.array([[50, 50], [100, 100], [50, 25]]))
    assert double[1]["boxes"].tolist() == [pytest.approx([20, 40 / 3, 140 / 3, 140 / 3], rel=1e-5)]
    assert double[2]["boxes"].tolist() == [pytest.approx([5, 20 / 3, 35 / 3, 70 / 3], rel=1e-5)]
    scores = DetectionScores(2)
    scores.add(trivial_detections(targets[1:2], np.array([[50, 50]])), targets[1:2])
    assert scores.summary()["froc"] == 1
    with pytest.raises(ValueError, match="no image of the test part has a box"):
        trivial_detections([true()], np.array([[50, 50]]))


def test_misuse_is_refused():
    for wrong, message in (
        ({"n_classes": 0}, "n_classes=0"),
        ({"n_classes": 1, "criterion": "centroid"}, "Did you mean 'centre'"),
        ({"n_classes": 1, "convention": "deeplesion", "second_hit": "false"}, "second_hit=false were asked for"),
        ({"n_classes": 1, "size_edges": (96, 32)}, "size_edges=.96, 32"),
        ({"n_classes": 1, "fps_of_groups": float("nan")}, "fps_of_groups=nan"),
    ):
        with pytest.raises(ValueError, match=message):
            DetectionScores(**wrong)
    scores = DetectionScores(2)
    with pytest.raises(ValueError, match="detections of 0 images"):
        scores.summary()
    with pytest.raises(ValueError, match="detections of 1 images, targets of 2"):
        scores.add([found()], [true(), true()])
    with pytest.raises(ValueError, match="lesion of class 2 in image 0: expected 0 to 1"):
        scores.add([found()], [true((1, 1, 9, 9, 2))])
    with pytest.raises(ValueError, match="detection of class -1"):
        scores.add([found((1, 1, 9, 9, 0.5, -1))], [true()])
    scores.add([found((1, 1, 9, 9, 0.5, 1))], [true()])
    with pytest.raises(ValueError, match="no lesion"):
        scores.summary()
