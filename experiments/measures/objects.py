"""Objects in label maps: components, edges, overlaps, and exact Hausdorff distances between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy import ndimage
from scipy.spatial import KDTree
from skimage.measure import label


def edge(labels: Int[ndarray, "h w"] | Bool[ndarray, "h w"]) -> Bool[ndarray, "h w"]:
    """Foreground pixels with a 4-neighbour of another label; the world outside the image is background."""
    around = np.pad(labels, 1)
    neighbours = (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:])
    same = np.logical_and.reduce([neighbour == labels for neighbour in neighbours])
    return ~same & (labels != 0)


def components(mask: Bool[ndarray, "h w"], min_size: int) -> Int[ndarray, "h w"]:
    """8-connected components of at least `min_size` pixels, as labels 1.. with gaps where a component was dropped."""
    labels = np.asarray(label(mask, connectivity=2))
    small = np.bincount(labels.ravel()) < min_size
    return np.where(small[labels], 0, labels)


@dataclass(frozen=True)
class Objects:
    """The n objects of one image; object i has label i + 1."""

    labels: Int[ndarray, "h w"]
    areas: Int[ndarray, " n"]
    boxes: Int[ndarray, "n 4"]  # first row and column, last row and column, both inclusive
    edges: list[Int[ndarray, "_ 2"]]  # pixels (row, column)
    trees: list[KDTree]  # over the edges: the point of an object nearest to a point outside lies on its edge
    distances: list[Float[ndarray, "_ _"]]  # from each pixel of its box to the object

    def __len__(self) -> int:
        return len(self.areas)


def objects_of(labels: Int[ndarray, "h w"]) -> Objects:
    """The objects of a label map, in the order of their labels; 0 is background."""
    ids = np.unique(labels[labels > 0])
    compact = np.searchsorted(ids, labels) + 1
    compact[labels == 0] = 0
    edges = _grouped(compact, edge(compact), len(ids))
    boxes = np.array([[*points.min(0), *points.max(0)] for points in edges], dtype=np.int64).reshape(-1, 4)
    crops = [compact[top : bottom + 1, left : right + 1] for top, left, bottom, right in boxes]
    return Objects(
        labels=compact,
        areas=np.bincount(compact.ravel(), minlength=len(ids) + 1)[1:],
        boxes=boxes,
        edges=edges,
        trees=[KDTree(points) for points in edges],
        distances=[np.asarray(ndimage.distance_transform_edt(crop != i + 1)) for i, crop in enumerate(crops)],
    )


def _grouped(labels: Int[ndarray, "h w"], mask: Bool[ndarray, "h w"], n: int) -> list[Int[ndarray, "_ 2"]]:
    """Points of the mask, by label 1..n."""
    points = np.argwhere(mask)
    of = labels[mask]
    order = np.argsort(of, kind="stable")
    starts = np.searchsorted(of[order], np.arange(1, n + 1))
    return np.split(points[order], starts)[1:]


def overlaps(a: Objects, b: Objects) -> Int[ndarray, "n m"]:
    """Pixels that object i of `a` shares with object j of `b`."""
    both = (a.labels > 0) & (b.labels > 0)
    pairs = (a.labels[both] - 1) * len(b) + b.labels[both] - 1
    return np.bincount(pairs, minlength=len(a) * len(b)).reshape(len(a), len(b))


def detections(overlap: Int[ndarray, "n m"], true: Objects) -> tuple[int, int, int]:
    """True positives, false positives and false negatives of one image."""
    n_found, n_true = overlap.shape
    if not overlap.any():
        return 0, n_found, n_true
    partner = overlap.argmax(axis=1)
    covers_half = 2 * overlap[np.arange(n_found), partner] >= true.areas[partner]
    tp = len(np.unique(partner[covers_half]))
    return tp, n_found - tp, n_true - tp


def object_rows(own: Objects, other: Objects, overlap: Int[ndarray, "n m"], diagonal: float) -> ndarray:
    """(n, 3): area, Dice with its partner and Hausdorff distance to it, of each object of `own`."""
    rows = np.zeros((len(own), 3))
    for i in range(len(own)):
        area = own.areas[i]
        if not len(other):
            rows[i] = area, 0.0, diagonal
        elif overlap[i].any():
            j = int(overlap[i].argmax())
            rows[i] = area, 2 * overlap[i, j] / (area + other.areas[j]), _hausdorff(own, i, other, j)
        else:
            rows[i] = area, 0.0, _distance_to_nearest(own, i, other)
    return rows


def _distance_to_nearest(own: Objects, i: int, other: Objects) -> float:
    """Smallest Hausdorff distance of object i to any object of `other`.

    Projection onto an axis never enlarges a Hausdorff distance, so no distance is below the largest difference of the
    sides of the two bounding boxes: objects are tried in that order until none left can be nearer.
    """
    bounds = np.abs(other.boxes - own.boxes[i]).max(axis=1)
    nearest = np.inf
    for j in np.argsort(bounds, kind="stable"):
        if bounds[j] >= nearest:
            break
        nearest = min(nearest, _hausdorff(own, i, other, int(j)))
    return float(nearest)


def _hausdorff(a: Objects, i: int, b: Objects, j: int) -> float:
    """Hausdorff distance of the pixels of two objects."""
    return max(_directed(a, i, b, j), _directed(b, j, a, i))


def _directed(a: Objects, i: int, b: Objects, j: int) -> float:
    """Largest distance from a pixel of object i to object j.

    Outside the bounding box of j only edge pixels of i can be the farthest: from any other, one step away from the box
    along an axis stays in i and is farther from every pixel of j. Inside the box the distances are known.
    """
    origin, end = b.boxes[j, :2], b.boxes[j, 2:]
    beyond = a.edges[i][((a.edges[i] < origin) | (a.edges[i] > end)).any(axis=1)]
    farthest = b.trees[j].query(beyond)[0].max() if len(beyond) else 0.0
    first, last = np.maximum(origin, a.boxes[i, :2]), np.minimum(end, a.boxes[i, 2:])
    if (first <= last).all():
        (top, left), (bottom, right) = first, last + 1
        within = a.labels[top:bottom, left:right] == i + 1
        distance = b.distances[j][top - origin[0] : bottom - origin[0], left - origin[1] : right - origin[1]]
        farthest = max(farthest, distance.max(where=within, initial=0.0))
    return float(farthest)
