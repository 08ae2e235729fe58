"""The free-response curve: share of the lesions found against false positives per image, as the threshold falls.

Bunch et al., 1978, A free-response approach to the measurement and characterization of radiographic-observer
performance; for its history and variants Chakraborty, 2013, A brief history of free-response receiver operating
characteristic paradigm data analysis.

    hit          IoU with the lesion of at least `iou` (criterion "iou"), or the centre of the detection in the lesion's
                 box, edges included (criterion "centre"); with `by_class`, only where the classes agree as well
    matching     detections of an image in order of falling score; each takes, of the lesions that it hits and that none
                 took before it, the one of largest IoU. Among equal scores, which no threshold separates, the pair of
                 largest IoU goes first
    second hit   a detection that hits only lesions that are taken: neither found nor false ("ignored"), or a false
                 positive ("false")
    false        a detection that hits nothing, in an image with lesions or in one without

Sensitivity at x is the largest over all thresholds that leave at most x false positives per image: the curve is a
staircase, and nothing is interpolated. Without detections it is 0. Beyond the end of the curve it stays at its last
value, so a detector should return its boxes down to low scores. The operating points are those of Yan et al., 2018,
DeepLesion, J. Med. Imaging 5:036501.

That is the convention "one_to_one". DeepLesion's published sensitivities follow a kinder one, "deeplesion": one pixel
is added to the sides of boxes in the IoU, one box may find several lesions, and second hits are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from data.names import Refused, suggestion

FPS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # operating points, false positives per image
CRITERIA = ("iou", "centre")
SECOND_HITS = ("ignored", "false")
CONVENTIONS = ("one_to_one", "deeplesion")
PAIRS_AT_ONCE = 65_536  # of a detection and a lesion: some tens of MB at most, near the processor


class Detections(NamedTuple):
    """What was found in one image, in any order."""

    boxes: Float[ndarray, "m 4"]  # xyxy, pixels
    scores: Float[ndarray, " m"]
    labels: Int[ndarray, " m"]


class Lesions(NamedTuple):
    """What there is in one image."""

    boxes: Float[ndarray, "g 4"]  # xyxy, pixels
    labels: Int[ndarray, " g"]


class Matches(NamedTuple):
    """All that the curve depends on."""

    n_images: int
    found_at: Float[ndarray, " g"]  # score of the detection that took each lesion, image by image; -inf where none did
    false: Float[ndarray, " f"]  # scores of the false positives, ascending


def match(
    detections: Sequence[Detections],
    lesions: Sequence[Lesions],
    criterion: str = "iou",
    iou: float = 0.5,
    second_hit: str = "ignored",
    by_class: bool = True,
) -> Matches:
    """Match the detections of N images to their lesions, as the head of this module defines it.

    Raises ValueError for unknown conventions, unequal numbers of images, boxes or scores that are not finite, lesions
    without an area, and where there is no lesion in any image: no sensitivity is defined then.
    """
    check_conventions(criterion, iou, second_hit)
    _check_shapes(detections, lesions)
    boxes, scores, labels = (np.concatenate(arrays) for arrays in zip(*detections, strict=True))
    true_boxes, true_labels = (np.concatenate(arrays) for arrays in zip(*lesions, strict=True))
    edges, true_edges = (array.T.astype(np.float64, order="C") for array in (boxes, true_boxes))  # (4, M) and (4, G)
    _check_values(edges, scores, true_edges)

    hits = []
    for detection, lesion in _pairs([len(d.boxes) for d in detections], [len(t.boxes) for t in lesions]):
        if by_class:
            same = labels[detection] == true_labels[lesion]
            detection, lesion = detection[same], lesion[same]
        a, b = edges[:, detection], true_edges[:, lesion]
        overlap = _iou(a, b)
        hit = overlap >= iou if criterion == "iou" else _centre_within(a, b)
        hits.append((detection[hit], lesion[hit], overlap[hit]))
    detection, lesion, overlap = (np.concatenate(arrays) for arrays in zip(*hits, strict=True))

    order = np.lexsort((-overlap, -scores[detection]))
    taker: dict[int, int] = {}  # lesion -> detection
    used: set[int] = set()
    for d, g in zip(detection[order].tolist(), lesion[order].tolist(), strict=True):  # few: most pairs are no hits
        if d not in used and g not in taker:
            taker[g] = d
            used.add(d)

    found_at = np.full(len(true_boxes), -np.inf)
    found_at[list(taker)] = scores[list(taker.values())]
    false = np.ones(len(scores), dtype=bool)
    false[list(used) if second_hit == "false" else detection] = False
    return Matches(len(detections), found_at, np.sort(scores[false]).astype(np.float64))


def match_deeplesion(
    detections: Sequence[Detections],
    lesions: Sequence[Lesions],
    iou: float = 0.5,
    by_class: bool = False,
) -> Matches:
    """Match as the public evaluation code of DeepLesion does (Yan et al., 2018; 3DCE, MULAN and ULDor report with it).

    A box from x1 to x2 is x2 - x1 + 1 wide, and likewise high. A lesion is found by the box of highest score that has
    an IoU of at least `iou` with it, whatever else that box finds; false is a box that has it with no lesion. That code
    knows one class (`by_class` asks for the right one), and interpolates sensitivity linearly between detections where
    it is read from the staircase here, which moves an operating point by one false positive at most. Raises ValueError
    as `match` does.
    """
    check_conventions("iou", iou, "ignored")
    _check_shapes(detections, lesions)
    boxes, scores, labels = (np.concatenate(arrays) for arrays in zip(*detections, strict=True))
    true_boxes, true_labels = (np.concatenate(arrays) for arrays in zip(*lesions, strict=True))
    edges, true_edges = (array.T.astype(np.float64, order="C") for array in (boxes, true_boxes))
    _check_values(edges, scores, true_edges)
    edges[2:] += 1
    true_edges[2:] += 1
    found_at, false = np.full(len(true_boxes), -np.inf), np.ones(len(scores), dtype=bool)
    for detection, lesion in _pairs([len(d.boxes) for d in detections], [len(t.boxes) for t in lesions]):
        hit = _iou(edges[:, detection], true_edges[:, lesion]) >= iou
        if by_class:
            hit &= labels[detection] == true_labels[lesion]
        np.maximum.at(found_at, lesion[hit], scores[detection[hit]])
        false[detection[hit]] = False
    return Matches(len(detections), found_at, np.sort(scores[false]).astype(np.float64))


def match_by(
    detections: Sequence[Detections],
    lesions: Sequence[Lesions],
    criterion: str = "iou",
    iou: float = 0.5,
    second_hit: str = "ignored",
    by_class: bool = True,
    convention: str = "one_to_one",
) -> Matches:
    """`match` or `match_deeplesion`, as the convention says; ValueError for rules that it does not know."""
    check_conventions(criterion, iou, second_hit, convention)
    if convention == "deeplesion":
        return match_deeplesion(detections, lesions, iou, by_class)
    return match(detections, lesions, criterion, iou, second_hit, by_class)


def froc_curve(matches: Matches) -> Float[ndarray, "points 2"]:
    """Corners of the staircase from (0, 0) to where no threshold is left: false positives per image, sensitivity."""
    n_false, n_lesions = len(matches.false), len(matches.found_at)
    taken = np.sort(matches.found_at[np.isfinite(matches.found_at)])
    thresholds = np.unique(taken)[::-1]
    false = np.r_[0, n_false - np.searchsorted(matches.false, thresholds), n_false]
    found = np.r_[0, len(taken) - np.searchsorted(taken, thresholds), len(taken)]
    return np.stack([false / matches.n_images, found / n_lesions], axis=1)


def sensitivity_at(curve: Float[ndarray, "points 2"], fps: Sequence[float | int] = FPS) -> Float[ndarray, " p"]:
    """Sensitivity with at most each of `fps` false positives per image: the last corner that is not to its right."""
    return curve[np.searchsorted(curve[:, 0], fps, side="right") - 1, 1]


def found_within(matches: Matches, fps: float) -> Bool[ndarray, " g"]:
    """Which lesions are found at the lowest threshold with at most `fps` false positives per image."""
    allowed = int(np.searchsorted(np.arange(1, len(matches.false) + 1) / matches.n_images, fps, side="right"))
    one_too_many = matches.false[-1 - allowed] if allowed < len(matches.false) else -np.inf
    return matches.found_at > one_too_many


def sensitivity_by_group(found: Bool[ndarray, " g"], groups: Int[ndarray, " g"], n_groups: int) -> Float[ndarray, " n"]:
    """Share of the lesions of each group that are found; NaN for a group without lesions."""
    n = np.bincount(groups, minlength=n_groups)
    return np.divide(np.bincount(groups[found], minlength=n_groups), n, out=np.full(n_groups, np.nan), where=n > 0)


def size_groups(boxes: Float[ndarray, "g 4"], edges: Sequence[float | int] = (32, 96)) -> Int[ndarray, " g"]:
    """0 for boxes of an area below edges[0]^2 square pixels, 1 below edges[1]^2 and so on; COCO's edges by default."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return np.digitize(areas, np.square(edges))


def convention(criterion: str, iou: float, second_hit: str, by_class: bool, convention: str = "one_to_one") -> str:
    """The conventions in words, to stand beside every number."""
    hit = f"IoU of at least {iou:g}" if criterion == "iou" else "centre in the lesion"
    if convention == "deeplesion":
        hit += " with sides longer by a pixel"
    second = "ignored" if second_hit == "ignored" else "count as false"
    several = ", one box may find several lesions" if convention == "deeplesion" else ""
    return f"hit: {hit}{', right class' if by_class else ''}; second hits {second}{several}"


def check_conventions(criterion: str, iou: float, second_hit: str, convention: str = "one_to_one") -> None:
    """Raise ValueError for a convention that is not defined here."""
    known_values = {"criterion": CRITERIA, "second_hit": SECOND_HITS, "convention": CONVENTIONS}
    for (name, known), value in zip(known_values.items(), (criterion, second_hit, convention), strict=True):
        if value not in known:
            raise Refused(f"unknown {name} {value!r}.{suggestion(value, known)} Known: {', '.join(known)}")
    if not 0 < iou <= 1:
        raise Refused(f"iou={iou!r} must be above 0 and at most 1")
    if convention == "deeplesion" and (criterion, second_hit) != ("iou", "ignored"):
        raise Refused(
            "convention=deeplesion counts by IoU and ignores second hits, "
            f"but criterion={criterion} and second_hit={second_hit} were asked for: "
            "use criterion=iou and second_hit=ignored, or convention=one_to_one"
        )


def _check_shapes(detections: Sequence[Detections], lesions: Sequence[Lesions]) -> None:
    if not detections or len(detections) != len(lesions):
        numbers = f"detections of {len(detections)} images, lesions of {len(lesions)}"
        raise Refused(f"{numbers}: expected equal numbers, at least one")
    for what, images in (("detections", detections), ("lesions", lesions)):
        for i, (boxes, *values) in enumerate(images):
            if boxes.shape != (len(boxes), 4) or any(v.shape != (len(boxes),) for v in values):
                shapes = ", ".join(str(array.shape) for array in (boxes, *values))
                expected = "expected boxes (M, 4) and M values in each other"
                raise Refused(f"{what} of image {i} have arrays of shapes {shapes}; {expected}")


def _check_values(
    boxes: Float[ndarray, "4 m"], scores: Float[ndarray, " m"], true_boxes: Float[ndarray, "4 g"]
) -> None:
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        wrong = np.flatnonzero(~(np.isfinite(boxes).all(axis=0) & np.isfinite(scores)))[0]
        raise Refused(f"detection {wrong}, box {boxes[:, wrong].tolist()} of score {scores[wrong]}, is not finite")
    if not true_boxes.size:
        raise Refused("no lesion in any image: sensitivity needs at least one")
    sound = np.isfinite(true_boxes).all(axis=0) & (true_boxes[:2] < true_boxes[2:]).all(axis=0)
    if not sound.all():
        wrong = sound.argmin()
        raise Refused(f"lesion {wrong} has the box {true_boxes[:, wrong].tolist()}; expected finite x1 < x2, y1 < y2")


def _pairs(
    n_found: Sequence[int], n_true: Sequence[int]
) -> Iterator[tuple[Int[ndarray, " pairs"], Int[ndarray, " pairs"]]]:
    """Every detection with every lesion of its image, indices into the arrays of all images, in one block or more."""
    image = np.repeat(np.arange(len(n_found)), n_found)
    n_pairs = np.asarray(n_true)[image]
    first = (np.cumsum(n_true) - n_true)[image]
    ends = np.searchsorted(np.cumsum(n_pairs), np.arange(PAIRS_AT_ONCE, n_pairs.sum(), PAIRS_AT_ONCE))
    for block in np.split(np.arange(len(image)), ends):
        n = n_pairs[block]
        yield np.repeat(block, n), np.arange(n.sum()) + np.repeat(first[block] - (np.cumsum(n) - n), n)


def _iou(a: Float[ndarray, "4 pairs"], b: Float[ndarray, "4 pairs"]) -> Float[ndarray, " pairs"]:
    """Intersection over union of pairs of boxes; 0 for a detection without area."""
    shared = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0).prod(axis=0)
    area_a, area_b = np.maximum(a[2:] - a[:2], 0).prod(axis=0), (b[2:] - b[:2]).prod(axis=0)
    return shared / (area_a + area_b - shared)


def _centre_within(a: Float[ndarray, "4 pairs"], b: Float[ndarray, "4 pairs"]) -> Bool[ndarray, " pairs"]:
    centre = (a[:2] + a[2:]) / 2
    return np.all((b[:2] <= centre) & (centre <= b[2:]), axis=0)
