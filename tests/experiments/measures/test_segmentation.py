"""Segmentation scores against hand-made cases, a slow reference written here, MONAI, and their limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jaxtyping import TypeCheckError
from scipy.spatial.distance import cdist

from experiments.measures.objects import components
from experiments.measures.segmentation import PartScores, SegmentationScores, hausdorff95, trivial_scores


def blank(h: int = 20, w: int = 30) -> np.ndarray:
    return np.zeros((h, w), dtype=np.int64)


def square(top: int, left: int, side: int, label: int = 1, on: np.ndarray | None = None) -> np.ndarray:
    image = blank() if on is None else on.copy()
    image[top : top + side, left : left + side] = label
    return image


def scores(predicted: np.ndarray, truth: np.ndarray, instances: np.ndarray | None = None, min_size: int = 0) -> dict[str, float]:
    gathered = SegmentationScores(min_size)
    gathered.add(predicted, truth, instances)
    return gathered.summary()


def full_hausdorff(a: np.ndarray, b: np.ndarray) -> float:
    distances = cdist(np.argwhere(a), np.argwhere(b))
    return max(distances.min(0).max(), distances.min(1).max())


def flood(mask: np.ndarray, min_size: int) -> np.ndarray:
    """8-connected components by flooding, pixel by pixel."""
    labels, n, left = np.zeros(mask.shape, dtype=int), 0, {(int(y), int(x)) for y, x in np.argwhere(mask)}
    while left:
        todo, reached = [min(left)], set()
        while todo:
            y, x = todo.pop()
            if (y, x) in left:
                left.remove((y, x))
                reached.add((y, x))
                todo += [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        if len(reached) >= min_size:
            n += 1
            labels[tuple(np.array(sorted(reached)).T)] = n
    return labels


def reference_objects(images: list[tuple[np.ndarray, np.ndarray]], min_size: int) -> tuple[float, float, float]:
    """F1, Dice and Hausdorff over the objects of (predicted, instances) pairs, in full masks and all pairwise distances."""
    detected, n_found, n_true = 0, 0, 0
    sides: list[list[tuple[int, float, float]]] = [[], []]
    for predicted, instances in images:
        labels = flood(predicted > 0, min_size)
        found = [labels == i for i in np.unique(labels) if i]
        true = [instances == i for i in np.unique(instances) if i]
        hit = set()
        for mask in found:
            shared = [int((mask & other).sum()) for other in true]
            best = int(np.argmax(shared)) if any(shared) else None
            if best is not None and shared[best] >= 0.5 * true[best].sum():
                hit.add(best)
        detected, n_found, n_true = detected + len(hit), n_found + len(found), n_true + len(true)
        for side, (own, others) in zip(sides, [(found, true), (true, found)], strict=True):
            for mask in own:
                area, shared = int(mask.sum()), [int((mask & other).sum()) for other in others]
                if not others:
                    side.append((area, 0.0, float(np.hypot(*mask.shape))))
                elif any(shared):
                    partner = others[int(np.argmax(shared))]
                    side.append((area, 2 * max(shared) / (area + partner.sum()), full_hausdorff(mask, partner)))
                else:
                    side.append((area, 0.0, min(full_hausdorff(mask, other) for other in others)))
    halves = [np.average([(d, h) for _, d, h in side], axis=0, weights=[a for a, _, _ in side]) for side in sides if side]
    dice, distance = np.mean(halves, axis=0) if halves else (1.0, 0.0)
    f1 = 2 * detected / (n_found + n_true) if n_found + n_true else 1.0
    return f1, float(dice), float(distance)


def test_perfect_prediction_has_perfect_scores():
    truth = square(2, 3, 6) + square(10, 15, 5)
    ideal = {"dice": 1, "dice_pooled": 1, "iou": 1, "hd95": 0, "object_f1": 1, "object_dice": 1, "object_hausdorff": 0}
    assert scores(truth, truth, components(truth > 0, 0).astype(np.int64)) == ideal


def test_object_scores_are_left_out_without_instances():
    assert set(scores(square(2, 3, 6), square(2, 3, 6))) == {"dice", "dice_pooled", "iou", "hd95"}


def test_shifted_square_by_hand():
    # 6x6 against itself 3 columns to the right: 18 pixels shared of 36 + 36; every edge distance is between 0 and 3.
    got = scores(square(5, 8, 6), square(5, 5, 6), square(5, 5, 6))
    assert got["dice"] == got["dice_pooled"] == got["object_dice"] == 0.5
    assert got["iou"] == pytest.approx(1 / 3)
    assert got["object_f1"] == 1  # exactly half of the true object is covered: detected
    assert got["hd95"] == got["object_hausdorff"] == 3


def test_mean_over_images_differs_from_pooled():
    gathered = SegmentationScores()
    gathered.add(square(0, 0, 10), square(0, 0, 10))
    gathered.add(blank(9, 9), np.pad(np.ones((1, 1), dtype=np.int64), (4, 4)))
    got = gathered.summary()
    assert got["dice"] == 0.5
    assert got["iou"] == 0.5
    assert got["dice_pooled"] == pytest.approx(200 / 201)
    assert got["hd95"] == pytest.approx(np.hypot(9, 9) / 2)


@pytest.mark.parametrize(("predicted", "truth", "dice", "distance"), [(0, 0, 1, 0.0), (0, 6, 0, 36.0555), (6, 0, 0, 36.0555)])
def test_empty_sides(predicted, truth, dice, distance):
    got = scores(square(4, 4, predicted), square(4, 4, truth), square(4, 4, truth))
    assert (got["dice"], got["iou"], got["dice_pooled"], got["object_dice"], got["object_f1"]) == (dice,) * 5
    assert got["hd95"] == got["object_hausdorff"] == pytest.approx(distance, abs=1e-4)


def test_class_absent_from_both_is_left_out():
    # Class 1 is right, class 2 absent, class 3 predicted only: mean of 1 and 0.
    truth = square(2, 2, 4, label=1)
    got = scores(square(10, 10, 4, label=3, on=truth), truth)
    assert got["dice"] == got["iou"] == got["dice_pooled"] == 0.5
    assert got["hd95"] == pytest.approx(np.hypot(20, 30) / 2)


def test_missed_and_invented_objects_by_hand():
    # True: a 4x4 found exactly, a 2x2 missed. Predicted besides: a 2x2 that overlaps nothing, 12 columns from the 4x4 and 6 from the 2x2.
    exact = square(2, 2, 4)
    instances = square(2, 20, 2, label=7, on=exact)
    predicted = square(2, 14, 2, on=exact)
    got = scores(predicted, (instances > 0).astype(np.int64), instances)
    assert got["object_f1"] == 0.5  # TP 1, FP 1, FN 1
    assert got["object_dice"] == 0.8  # 16 of 20 pixels lie in the exact object, on both sides
    assert got["object_hausdorff"] == pytest.approx(0.2 * 6)


def test_one_blob_over_two_glands_is_one_detection_at_most():
    instances = square(5, 5, 4, label=1) + square(5, 9, 4, label=2)
    blob = (instances > 0).astype(np.int64)
    got = scores(blob, blob, instances)
    assert got["object_f1"] == pytest.approx(2 / 3)  # TP 1, FP 0, FN 1
    assert got["object_dice"] == pytest.approx(2 * 16 / (32 + 16))
    assert got["dice"] == 1


def test_two_exact_halves_are_one_detection():
    instances = blank()  # one object in two pieces of equal size
    instances[4:6, 4:10] = instances[8:10, 4:10] = 1
    assert scores(instances, instances, instances)["object_f1"] == pytest.approx(2 / 3)  # TP 1, FP 1, FN 0


def test_small_components_are_no_objects_but_count_as_pixels():
    instances = square(2, 2, 6)
    predicted = square(15, 20, 2, on=instances)
    kept, dropped = scores(predicted, instances, instances, min_size=4), scores(predicted, instances, instances, min_size=5)
    assert kept["object_f1"] == pytest.approx(2 / 3)
    assert dropped["object_f1"] == dropped["object_dice"] == 1
    assert kept["dice"] == dropped["dice"] < 1


def test_diagonal_neighbours_are_one_object():
    mask = np.eye(4, dtype=bool)
    assert components(mask, 0).max() == 1
    assert not components(mask, 5).any()


def pairs_of_maps(shape: tuple[int, int]) -> st.SearchStrategy:
    """A prediction of one class, and a truth of up to four classes or objects."""
    return st.tuples(arrays(np.int64, shape, elements=st.sampled_from([0, 0, 1])), arrays(np.int64, shape, elements=st.integers(0, 4)))


label_maps = st.tuples(st.integers(4, 9), st.integers(4, 9)).flatmap(pairs_of_maps)


@settings(max_examples=80, deadline=None)
@given(st.lists(label_maps, min_size=1, max_size=3), st.integers(0, 3))
def test_object_scores_equal_the_slow_reference_on_noise(images, min_size):
    gathered = SegmentationScores(min_size)
    for predicted, instances in images:
        gathered.add(predicted, (instances > 0).astype(np.int64), instances)
    got = gathered.summary()
    expected = reference_objects(images, min_size)
    assert (got["object_f1"], got["object_dice"], got["object_hausdorff"]) == pytest.approx(expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_object_scores_equal_the_slow_reference_on_blobs(seed):
    rng = np.random.default_rng(seed)
    grid = np.argwhere(np.ones((34, 41), dtype=bool))
    instances, predicted = blank(34, 41), blank(34, 41)
    for i in range(rng.integers(1, 6)):  # rings and discs, nested and touching
        centre, radius, hole = rng.uniform(0, 40, 2), rng.uniform(2, 13), rng.choice([0.0, 0.7])
        for image, wobble in ((instances, 0.0), (predicted, 3.0)):
            away = np.linalg.norm(grid - centre - rng.uniform(-wobble, wobble, 2), axis=1).reshape(34, 41)
            if not wobble or rng.random() < 0.7:
                image[(away <= radius) & (away >= hole * radius)] = i + 1 if image is instances else 1
    got = scores(predicted, (instances > 0).astype(np.int64), instances)
    expected = reference_objects([(predicted, instances)], 0)
    assert (got["object_f1"], got["object_dice"], got["object_hausdorff"]) == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(label_maps)
def test_pixel_scores_are_symmetric_and_bounded(maps):
    a, b = maps
    forward, backward = scores(a, b), scores(b, a)
    assert forward == pytest.approx(backward)
    assert 0 <= forward["iou"] <= forward["dice"] <= 1
    assert 0 <= forward["hd95"] <= np.hypot(*a.shape)
    assert (forward["dice"] == 1) == np.array_equal(a, b)


@settings(max_examples=60, deadline=None)
@given(label_maps, label_maps)
def test_order_of_images_does_not_matter(first, second):
    there, back = SegmentationScores(), SegmentationScores()
    for predicted, instances in (first, second):
        there.add(predicted, (instances > 0).astype(np.int64), instances)
    for predicted, instances in (second, first):
        back.add(predicted, (instances > 0).astype(np.int64), instances)
    assert there.summary() == pytest.approx(back.summary())


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # raised by MONAI against itself
def test_hausdorff_agrees_with_monai():
    import torch
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance

    rng = np.random.default_rng(1)
    for side in (9, 24, 60):
        coarse = rng.random((2, 8, 8)) < 0.4
        masks = np.stack([np.kron(c, np.ones((8, 8), dtype=bool))[:side, :side] for c in coarse])
        masks[:, side // 2] |= rng.random((2, side)) < 0.3  # some of it touches the border of the image
        a, b = torch.from_numpy(masks)[:, None, None].float()
        expected = compute_hausdorff_distance(a, b, include_background=True, percentile=95).item()
        assert hausdorff95(masks[0], masks[1]) == pytest.approx(expected, rel=1e-6)


def test_dice_and_iou_agree_with_monai_where_every_class_is_present():
    import torch
    from monai.metrics.meandice import compute_dice
    from monai.metrics.meaniou import compute_iou

    rng = np.random.default_rng(2)
    predicted, truth = rng.integers(0, 4, (2, 25, 31))
    one_hot = [torch.nn.functional.one_hot(torch.from_numpy(x), 4).permute(2, 0, 1)[None] for x in (predicted, truth)]
    got = scores(predicted, truth)
    assert got["dice"] == pytest.approx(compute_dice(*one_hot, include_background=False).mean().item())
    assert got["iou"] == pytest.approx(compute_iou(*one_hot, include_background=False).mean().item())


def test_dice_of_each_class_is_over_the_images_that_contain_it():
    gathered = SegmentationScores()
    gathered.add(square(2, 2, 4, label=1), square(2, 2, 4, label=1))
    gathered.add(square(2, 2, 4, label=1), square(2, 2, 4, label=2))
    assert gathered.dice_of_classes(4) == pytest.approx([0.5, 0, np.nan], nan_ok=True)
    assert gathered.summary()["dice"] == (1 + 0) / 2


def test_parts_stand_beside_the_whole_test_set():
    classes, images = ("background", "cell", "St. Elmo"), [("A", 4), ("A", 0), ("B", 2)]
    gathered = PartScores([part for part, _ in images], classes)
    for part, side in images:
        gathered.add(part, square(0, 0, 4), square(0, 0, side))
    got, dice = gathered.summary(), [1, 0, 2 * 4 / (16 + 4)]
    assert (got["dice"], got["dice_A"], got["dice_B"]) == pytest.approx((np.mean(dice), 0.5, 0.4))
    assert (got["dice[cell]"], got["dice_B[cell]"]) == pytest.approx((np.mean(dice), 0.4))
    assert np.isnan(got["dice[St. Elmo]"]) and not [name for name in got if "background" in name]
    alone = PartScores(["B"], classes[:2])
    alone.add("B", square(0, 0, 4), square(0, 0, 2))
    assert set(alone.summary()) == {"dice", "dice_pooled", "iou", "hd95"}  # the one class is all that dice is of


def test_the_trivial_prediction_is_the_better_of_all_foreground_and_the_commonest_class():
    # 20x30 pixels. Part A: half of the image is gland; part B: 4 of 600 pixels, and an image without any.
    half = blank()
    half[:10] = 1
    truths = [("A", half, half), ("B", square(0, 0, 2), square(0, 0, 2)), ("B", blank(), blank())]
    got = trivial_scores(lambda: iter(truths), ("background", "gland"))
    everything = [2 * 300 / 900, 2 * 4 / 604, 0]  # Dice of each image if all is gland; if nothing is: 0, 0, 1
    assert got["dice"] == (pytest.approx(np.mean([0, 0, 1])), "all background")
    assert got["dice_A"] == (pytest.approx(everything[0]), "all gland") and got["dice_B"] == (0.5, "all background")
    assert got["dice_pooled"] == (pytest.approx(2 * 304 / (304 + 1800)), "all gland")
    better = {"hd95": min, "object_hausdorff": min}
    constants = []
    for c in (0, 1):
        scores = PartScores(["A", "B"], ("background", "gland"))
        for part, truth, instances in truths:
            scores.add(part, np.full_like(truth, c), truth, instances)
        constants.append(scores.summary())
    for name, (value, words) in got.items():
        values = [scores[name] for scores in constants]
        assert value == better.get(name.removesuffix("_A").removesuffix("_B"), max)(values), name
        assert value == values[words == "all gland"], name


def test_the_trivial_dice_of_a_class_is_that_of_calling_everything_so():
    truth = square(10, 0, 6, label=2, on=square(0, 0, 10))
    got = trivial_scores(lambda: iter([("A", truth, None), ("A", blank(), None)]), ("background", "a b", "c.d"))
    for c, name in ((1, "a b"), (2, "c.d")):
        gathered = SegmentationScores()
        for image in (truth, blank()):
            gathered.add(np.full_like(truth, c), image)
        assert got[f"dice[{name}]"] == (pytest.approx(gathered.dice_of_classes(3)[c - 1]), f"all {name}")


def test_misuse_is_refused():
    with pytest.raises((ValueError, TypeCheckError), match=r"(?s)truth"):
        SegmentationScores().add(blank(4, 5), blank(5, 4))
    with pytest.raises(ValueError, match="-1"):
        SegmentationScores().add(blank(), blank() - 1)
    with pytest.raises(ValueError, match="min_size=-2"):
        SegmentationScores(min_size=-2)
    with pytest.raises(ValueError, match="no image"):
        SegmentationScores().summary()
    gathered = SegmentationScores()
    gathered.add(blank(), blank(), blank())
    with pytest.raises(ValueError, match="all images"):
        gathered.add(blank(), blank())
