"""The free-response curve against cases worked out by hand and a slow reference that starts anew at every threshold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.measures import froc
from experiments.measures.froc import (
    FPS,
    Detections,
    Lesions,
    convention,
    found_within,
    froc_curve,
    match,
    match_by,
    match_deeplesion,
    sensitivity_at,
    sensitivity_by_group,
    size_groups,
)


def detections(*rows: tuple[float, ...]) -> Detections:
    """Rows of x1, y1, x2, y2, score and, unless 0, the class."""
    table = np.array([(*row, 0)[:6] for row in rows], dtype=np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def lesions(*rows: tuple[float, ...]) -> Lesions:
    """Rows of x1, y1, x2, y2 and, unless 0, the class."""
    table = np.array([(*row, 0)[:5] for row in rows], dtype=np.float32).reshape(-1, 5)
    return Lesions(table[:, :4], table[:, 4].astype(np.int64))


def curve_of(found: list[Detections], true: list[Lesions], **rules) -> list[list[float]]:
    return froc_curve(match(found, true, **rules)).tolist()


LESION = (10, 10, 20, 20)
OTHER = (40, 40, 60, 60)
AWAY = (80, 80, 90, 90)


def reference_hits(box: list[float], lesion: list[float], criterion: str, iou: float) -> tuple[bool, float]:
    """Whether a box hits a lesion, and their IoU."""
    w = min(box[2], lesion[2]) - max(box[0], lesion[0])
    h = min(box[3], lesion[3]) - max(box[1], lesion[1])
    shared = w * h if w > 0 and h > 0 else 0.0
    area = (box[2] - box[0]) * (box[3] - box[1]) if box[2] > box[0] and box[3] > box[1] else 0.0
    overlap = shared / (area + (lesion[2] - lesion[0]) * (lesion[3] - lesion[1]) - shared)
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    within = lesion[0] <= x <= lesion[2] and lesion[1] <= y <= lesion[3]
    return (overlap >= iou if criterion == "iou" else within), overlap


def reference_counts(found, true, threshold: float, criterion: str, iou: float, second_hit: str, by_class: bool) -> tuple[int, int]:
    """False positives and lesions found among the detections that reach the threshold, matched from the beginning.

    One detection at a time: of those left the one of highest score, at a tie the one with the best lesion still to take.
    """
    n_false = n_found = 0
    for image, truth in zip(found, true, strict=True):
        left = [d for d in range(len(image.scores)) if image.scores[d] >= threshold]
        free = set(range(len(truth.boxes)))

        def hits(d: int, among, image=image, truth=truth) -> list[tuple[float, int]]:
            pairs = []
            for g in among:
                hit, overlap = reference_hits(image.boxes[d].tolist(), truth.boxes[g].tolist(), criterion, iou)
                if hit and not (by_class and image.labels[d] != truth.labels[g]):
                    pairs.append((overlap, -g))
            return sorted(pairs, reverse=True)

        while left:
            highest = max(image.scores[d] for d in left)
            best = max((d for d in left if image.scores[d] == highest), key=lambda d: ([p[0] for p in hits(d, free)[:1]] or [-1], -d))
            left.remove(best)
            if hits(best, free):
                free.remove(-hits(best, free)[0][1])
                n_found += 1
            elif second_hit == "false" or not hits(best, range(len(truth.boxes))):
                n_false += 1
    return n_false, n_found


def reference_sensitivities(found, true, fps, **rules) -> list[float]:
    """The largest sensitivity over all thresholds, one above all scores among them, with at most so many false positives per image."""
    thresholds = {float("inf")} | {float(score) for image in found for score in image.scores}
    counts = [reference_counts(found, true, threshold, **rules) for threshold in thresholds]
    n_lesions = sum(len(t.boxes) for t in true)
    return [max(n_found for n_false, n_found in counts if n_false / len(true) <= x) / n_lesions for x in fps]


def test_curve_by_hand():
    # From the top: 0.9 finds a lesion, 0.8 is false, 0.7 finds the other, 0.6 is false in an image without lesions.
    found = [detections((*AWAY, 0.8), (*LESION, 0.9)), detections((*LESION, 0.6)), detections((*OTHER, 0.7))]
    true = [lesions(LESION), lesions(), lesions(OTHER)]
    curve = froc_curve(match(found, true))
    assert curve.tolist() == [[0, 0], [0, 0.5], [1 / 3, 1], [2 / 3, 1]]
    assert sensitivity_at(curve, [0, 0.33, 1 / 3, 16]).tolist() == [0.5, 0.5, 1, 1]
    assert sensitivity_at(curve).shape == (len(FPS),)


def test_images_without_lesions_and_without_detections_count_in_the_rate():
    found, true = [detections((*AWAY, 0.9), (*LESION, 0.5))], [lesions(LESION)]
    assert curve_of(found, true) == [[0, 0], [1, 1], [1, 1]]
    assert curve_of([*found, detections()], [*true, lesions()])[-1] == [0.5, 1]
    assert curve_of([*found, detections((*AWAY, 0.9))], [*true, lesions()])[-1] == [1, 1]


def test_second_hits_by_both_conventions():
    found = [detections((*LESION, 0.9), (10, 10, 20, 21, 0.8), (*OTHER, 0.7))]
    true = [lesions(LESION, OTHER)]
    assert curve_of(found, true, second_hit="ignored") == [[0, 0], [0, 0.5], [0, 1], [0, 1]]
    assert curve_of(found, true, second_hit="false") == [[0, 0], [0, 0.5], [1, 1], [1, 1]]


def test_a_detection_takes_the_best_lesion_that_is_left():
    # Two lesions that overlap by IoU 0.8: the first detection takes the better one, the second what is left of its hits.
    true = [lesions((0, 0, 10, 10), (0, 0, 10, 8))]
    found = [detections((0, 0, 10, 8, 0.9), (0, 0, 10, 8, 0.5))]
    matches = match(found, true, second_hit="false")
    assert matches.found_at.tolist() == [0.5, pytest.approx(0.9)]
    assert matches.false.tolist() == []


def test_iou_at_its_threshold_is_a_hit():
    true = [lesions((0, 0, 10, 10))]
    assert curve_of([detections((0, 0, 10, 5, 0.9))], true) == [[0, 0], [0, 1], [0, 1]]
    assert curve_of([detections((0, 0, 10, 4.99, 0.9))], true) == [[0, 0], [1, 0]]
    assert curve_of([detections((0, 0, 10, 5, 0.9))], true, iou=0.51) == [[0, 0], [1, 0]]


def test_centre_criterion_needs_no_overlap_to_speak_of():
    true = [lesions((40, 40, 60, 60))]
    small, large, beside = (49, 49, 50, 50, 0.9), (0, 0, 100, 100, 0.9), (40, 50.5, 60, 70, 0.9)
    for box in (small, large, (50, 50, 50, 50, 0.9), (55, 55, 65, 65, 0.9)):  # the last: centre on the corner
        assert curve_of([detections(box)], true, criterion="centre")[-1] == [0, 1]
        assert curve_of([detections(box)], true, criterion="iou")[-1] == [1, 0]
    assert curve_of([detections(beside)], true, criterion="centre")[-1] == [1, 0]


def test_classes_must_agree_unless_told_otherwise():
    found, true = [detections((*LESION, 0.9, 1))], [lesions((*LESION, 2))]
    assert curve_of(found, true) == [[0, 0], [1, 0]]
    assert curve_of(found, true, by_class=False) == [[0, 0], [0, 1], [0, 1]]


def test_equal_scores_stand_or_fall_together():
    # A false positive and a hit share a score: there is no threshold between them, so no sensitivity without the false positive.
    found, true = [detections((*LESION, 0.5), (*AWAY, 0.5))], [lesions(LESION)]
    matches = match(found, true)
    assert froc_curve(matches).tolist() == [[0, 0], [1, 1], [1, 1]]
    assert sensitivity_at(froc_curve(matches), [0.5, 1]).tolist() == [0, 1]
    assert not found_within(matches, 0.5).any()


def test_without_detections_the_sensitivity_is_zero():
    curve = froc_curve(match([detections()] * 2, [lesions(LESION), lesions()]))
    assert curve.tolist() == [[0, 0], [0, 0]]
    assert sensitivity_at(curve).tolist() == [0] * 6


def test_rates_that_binary_fractions_miss_are_met():
    # 29 false positives in 100 images are 0.29 each, although 0.29 * 100 < 29 in floating point.
    found = [detections((*AWAY, 0.9)) for _ in range(29)] + [detections((*LESION, 0.5))] + [detections()] * 70
    matches = match(found, [lesions(LESION)] + [lesions()] * 28 + [lesions(LESION)] + [lesions()] * 70)
    assert sensitivity_at(froc_curve(matches), [0.28, 0.29]).tolist() == [0, 0.5]
    assert found_within(matches, 0.29).tolist() == [False, True]
    assert found_within(matches, 0.28).tolist() == [False, False]


def test_sensitivity_by_group_and_size():
    boxes = lesions((0, 0, 31, 33), (0, 0, 32, 32), (0, 0, 95, 97), (0, 0, 96, 96), (500, 500, 4000, 4000)).boxes
    assert size_groups(boxes).tolist() == [0, 1, 1, 2, 2]
    assert size_groups(boxes, (10, 1000)).tolist() == [1, 1, 1, 1, 2]
    by_group = sensitivity_by_group(np.array([True, False, True]), np.array([0, 0, 3]), 5)
    assert by_group.tolist() == pytest.approx([0.5, np.nan, np.nan, 1, np.nan], nan_ok=True)


coordinates = st.integers(0, 6)


@st.composite
def boxes(draw) -> tuple[float, float, float, float]:
    x, y = draw(coordinates), draw(coordinates)
    return x, y, x + draw(st.integers(1, 4)), y + draw(st.integers(1, 4))


@st.composite
def image_sets(draw) -> tuple[list[Detections], list[Lesions]]:
    """Few images on a coarse grid with few scores, so that second hits, ties and shared lesions abound."""
    found, true = [], []
    for _ in range(draw(st.integers(1, 3))):
        rows = draw(st.lists(st.tuples(boxes(), st.integers(0, 4), st.integers(0, 1)), max_size=6))
        found.append(detections(*((*box, score / 4, label) for box, score, label in rows)))
        true.append(lesions(*((*box, label) for box, label in draw(st.lists(st.tuples(boxes(), st.integers(0, 1)), max_size=4)))))
    true[0] = true[0] if len(true[0].boxes) else lesions((2, 2, 5, 5))
    return found, true


rules = st.fixed_dictionaries(
    {
        "criterion": st.sampled_from(["iou", "centre"]),
        "iou": st.sampled_from([0.2, 0.5]),
        "second_hit": st.sampled_from(["ignored", "false"]),
        "by_class": st.booleans(),
    }
)


@settings(max_examples=60, deadline=None)
@given(image_sets(), rules)
def test_sensitivities_equal_the_slow_reference(images, conventions):
    found, true = images
    fps = (0.0, 1 / 3, 0.5, 1.0, 2.0, 16.0)
    matches = match(found, true, **conventions)
    got = sensitivity_at(froc_curve(matches), fps)
    # Where pairs of a score are equal in IoU too, their order decides; the reference goes by the first detection, then the first lesion.
    assert got.tolist() == pytest.approx(reference_sensitivities(found, true, fps, **conventions))
    assert [found_within(matches, x).mean() for x in fps] == pytest.approx(got.tolist())


@settings(max_examples=60, deadline=None)
@given(image_sets(), rules)
def test_curves_rise_and_order_does_not_matter(images, conventions):
    found, true = images
    curve = froc_curve(match(found, true, **conventions))
    assert curve[0].tolist() == [0, 0]
    assert (np.diff(curve, axis=0) >= 0).all()
    assert curve[-1, 1] <= 1
    assert froc_curve(match(found[::-1], true[::-1], **conventions)).tolist() == curve.tolist()


def test_ignoring_second_hits_never_lowers_the_curve_and_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(3)
    found, true = [], []
    for side in (64, 512, 3000, 20, 128):
        corners = rng.uniform(0, side, (9, 2))
        table = np.c_[corners, corners + rng.uniform(0.1, 0.4, (9, 2)) * side].astype(np.float32)
        true.append(Lesions(table[:4], np.zeros(4, dtype=np.int64)))
        moved = np.concatenate([table, table[:6] * 1.01]).astype(np.float32)
        found.append(Detections(moved, rng.random(15).astype(np.float32), np.zeros(15, dtype=np.int64)))
    whole = {hit: froc_curve(match(found, true, second_hit=hit)) for hit in ("ignored", "false")}
    rates = np.linspace(0, 16, 50).tolist()
    assert (sensitivity_at(whole["ignored"], rates) >= sensitivity_at(whole["false"], rates)).all()
    assert not np.array_equal(whole["ignored"], whole["false"])
    monkeypatch.setattr(froc, "PAIRS_AT_ONCE", 7)
    assert np.array_equal(froc_curve(match(found, true)), whole["ignored"])


def reference_deeplesion(found, true, threshold: float, iou: float, by_class: bool) -> tuple[int, int]:
    """False positives and lesions found among the detections that reach the threshold, counted pixel by pixel.

    A box of whole pixels from x1 to x2 holds both x1 and x2, so that its sides are x2 - x1 + 1 long.
    """

    def pixels(box):
        x1, y1, x2, y2 = (int(value) for value in box)
        return {(x, y) for x in range(x1, x2 + 1) for y in range(y1, y2 + 1)}

    n_false = n_found = 0
    for image, truth in zip(found, true, strict=True):
        taken = set()
        for box, score, label in zip(*image, strict=True):
            if score < threshold:
                continue
            hits = set()
            for g, (lesion, lesion_label) in enumerate(zip(*truth, strict=True)):
                a, b = pixels(box), pixels(lesion)
                if len(a & b) / len(a | b) >= iou and (label == lesion_label or not by_class):
                    hits.add(g)
            taken |= hits
            n_false += not hits
        n_found += len(taken)
    return n_false, n_found


@settings(max_examples=60, deadline=None)
@given(image_sets(), st.sampled_from([0.2, 0.5]), st.booleans())
def test_the_convention_of_deeplesion_equals_the_slow_reference(images, iou, by_class):
    found, true = images
    fps = (0.0, 1 / 3, 0.5, 1.0, 2.0, 16.0)
    thresholds = {float("inf")} | {float(score) for image in found for score in image.scores}
    counts = [reference_deeplesion(found, true, threshold, iou, by_class) for threshold in thresholds]
    n_lesions = sum(len(t.boxes) for t in true)
    expected = [max(n for f, n in counts if f / len(true) <= x) / n_lesions for x in fps]
    got = match_deeplesion(found, true, iou, by_class)
    assert sensitivity_at(froc_curve(got), fps).tolist() == pytest.approx(expected)
    same = match_by(found, true, iou=iou, by_class=by_class, convention="deeplesion")
    assert all(np.array_equal(a, b) for a, b in zip(got, same, strict=True))


def test_deeplesion_adds_a_pixel_and_lets_one_box_find_two_lesions():
    # Without the pixel 4 x 3 of 5 x 5 are below one half, with it 5 x 4 of 6 x 6 are above.
    box, lesion = (0, 0, 4, 3, 0.9), (0, 0, 5, 5)
    assert curve_of([detections(box)], [lesions(lesion)])[-1] == [1, 0]
    assert froc_curve(match_deeplesion([detections(box)], [lesions(lesion)])).tolist()[-1] == [0, 1]
    found, true = [detections((0, 0, 20, 20, 0.9))], [lesions((0, 0, 20, 19), (0, 1, 20, 20))]
    assert curve_of(found, true)[-1] == [0, 0.5]
    assert froc_curve(match_deeplesion(found, true)).tolist() == [[0, 0], [0, 1], [0, 1]]


def test_blocks_change_nothing_for_deeplesion_either(monkeypatch):
    rng = np.random.default_rng(4)
    corners = rng.uniform(0, 30, (40, 2))
    table = np.c_[corners, corners + rng.uniform(5, 20, (40, 2))].astype(np.float32)
    found = [Detections(table[i::4], rng.random(10).astype(np.float32), np.zeros(10, dtype=np.int64)) for i in range(4)]
    true = [Lesions(table[i : i + 8], np.zeros(8, dtype=np.int64)) for i in range(4)]
    whole = match_deeplesion(found, true)
    assert np.isfinite(whole.found_at).any() and len(whole.false)
    monkeypatch.setattr(froc, "PAIRS_AT_ONCE", 7)
    assert all(np.array_equal(a, b) for a, b in zip(match_deeplesion(found, true), whole, strict=True))


def test_conventions_in_words():
    hit, second = "IoU of at least 0.5 with sides longer by a pixel", "ignored, one box may find several lesions"
    assert convention("iou", 0.5, "ignored", False, "deeplesion") == f"hit: {hit}; second hits {second}"
    assert convention("iou", 0.5, "ignored", True) == "hit: IoU of at least 0.5, right class; second hits ignored"
    assert convention("centre", 0.5, "false", False) == "hit: centre in the lesion; second hits count as false"


def test_misuse_is_refused():
    found, true = [detections((*LESION, 0.5))], [lesions(LESION)]
    with pytest.raises(ValueError, match="no lesion in any image"):
        match([*found, detections()], [lesions(), lesions()])
    with pytest.raises(ValueError, match="detections of 0 images"):
        match([], [])
    with pytest.raises(ValueError, match="of 1 images, lesions of 2"):
        match(found, true * 2)
    with pytest.raises(ValueError, match="criterion 'center'. Did you mean 'centre'"):
        match(found, true, criterion="center")
    with pytest.raises(ValueError, match="second_hit 'ignore'. Did you mean 'ignored'"):
        match(found, true, second_hit="ignore")
    with pytest.raises(ValueError, match="convention 'deeplesions'. Did you mean 'deeplesion'"):
        match_by(found, true, convention="deeplesions")
    for rule in ({"criterion": "centre"}, {"second_hit": "false"}):
        with pytest.raises(ValueError, match=f"convention=deeplesion counts by IoU.*{next(iter(rule.values()))}"):
            match_by(found, true, convention="deeplesion", **rule)
    with pytest.raises(ValueError, match="iou=50.0"):
        match(found, true, iou=50.0)
    with pytest.raises(ValueError, match=r"detection 1, box .*score nan, is not finite"):
        match([*found, detections((*LESION, np.nan))], true * 2)
    with pytest.raises(ValueError, match=r"lesion 0 has the box .20.0, 10.0, 10.0, 20.0.; expected finite x1 < x2"):
        match(found, [lesions((20, 10, 10, 20))])
    with pytest.raises(ValueError, match=r"detections of image 0 .*\(1, 4\), \(2,\), \(1,\)"):
        match([found[0]._replace(scores=np.zeros(2, dtype=np.float32))], true)
