"""From a map of scores to one score per image, for segmentation; from the scores of boxes to one, for detection.

An aggregation of maps is a plain function of the maps (B, H, W) and, where it weights by what the network predicts, of
`prediction` (B, C, H, W); class 0 is the background. Weights sum to 1 over the image, so that weighted scores keep the
unit of the map.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor

from data.names import Refused, suggestion

Maps = Float[Tensor, "b h w"]
Scores = Float[Tensor, " b"]
Prediction = Float[Tensor, "b c h w"]


def mean(maps: Maps) -> Scores:
    """Mean over the pixels: images of any size compare."""
    return maps.mean((1, 2))


def sum(maps: Maps) -> Scores:
    """Sum over the pixels: larger images score higher."""
    return maps.sum((1, 2))


def max(maps: Maps) -> Scores:
    """The single most uncertain pixel."""
    return maps.amax((1, 2))


def top_fraction(maps: Maps, fraction: float = 0.1) -> Scores:
    """Mean over the most uncertain tenth of the pixels: small uncertain structures are not drowned by background."""
    flat = maps.flatten(1)
    count = int(np.ceil(fraction * flat.shape[1]))
    return flat.topk(count, 1).values.mean(1)


def foreground(maps: Maps, prediction: Prediction) -> Scores:
    """Mean weighted by the predicted probability of foreground, 1 - p_0."""
    return _weighted(maps, 1 - prediction[:, 0])


def boundary(maps: Maps, prediction: Prediction, width: float = 3.0) -> Scores:
    """Mean over the pixels within `width` pixels of a predicted class boundary; the plain mean where nothing is
    predicted.
    """
    return _weighted(maps, (_boundary_distance(prediction) <= width).to(maps.dtype))


def edt(maps: Maps, prediction: Prediction) -> Scores:
    """Mean weighted by each pixel's Euclidean distance to the nearest predicted class boundary; the plain mean where
    there is none.

    Boundaries are always uncertain and say little about an image; this weighting, used for axon and myelin segmentation
    (Lubrano di Scandalea et al., 2019), looks at the inside of structures.
    """
    return _weighted(maps, _boundary_distance(prediction).nan_to_num(posinf=0).to(maps.dtype))


def _weighted(maps: Maps, weights: Maps) -> Scores:
    total = weights.sum((1, 2))
    weighted = (maps * weights).sum((1, 2)) / total.clamp_min(torch.finfo(maps.dtype).tiny)
    return torch.where(total > 0, weighted, maps.mean((1, 2)))


def _boundary_distance(prediction: Prediction) -> Maps:
    """Distance in pixels to the nearest pixel of another predicted class (1 at a boundary); infinite where there is no
    other.
    """
    labels = prediction.argmax(1).cpu().numpy()
    distances = np.full(labels.shape, np.inf, dtype=np.float32)
    for image, distance in zip(labels, distances, strict=True):
        for label in np.unique(image) if image.min() < image.max() else ():
            inside = image == label
            distance[inside] = np.asarray(ndimage.distance_transform_edt(inside))[inside]
    return torch.from_numpy(distances).to(prediction.device)


AGGREGATIONS: dict[str, Callable[..., Scores]] = {
    function.__name__: function for function in (mean, sum, max, top_fraction, foreground, boundary, edt)
}


def wants(name: str) -> frozenset[str]:
    """The evidence that an aggregation asks for beside the maps."""
    return frozenset(inspect.signature(get(name)).parameters) & {"prediction"}


def get(name: str) -> Callable[..., Scores]:
    """An aggregation by name; ValueError names the nearest known one."""
    if name not in AGGREGATIONS:
        raise Refused(f"unknown aggregate {name!r}.{suggestion(name, AGGREGATIONS)} Known: {', '.join(AGGREGATIONS)}")
    return AGGREGATIONS[name]


def aggregated(name: str, maps: Maps, prediction: Prediction | None = None) -> Scores:
    """One score per image from maps of scores."""
    return get(name)(maps, prediction) if wants(name) else get(name)(maps)


BOX_AGGREGATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "max": torch.amax,
    "mean": torch.mean,
    "min": torch.amin,
    "sum": torch.sum,
}


def over_boxes(name: str, scores: list[Float[Tensor, " _"]], empty: float = 0.0) -> Scores:
    """One score per image from the scores (M,) of its boxes by `max`, `mean`, `min` or `sum`; `empty` for an image
    without boxes.

    Scores of boxes are not negative, so that with the default images without boxes come last. Raises ValueError for an
    unknown name.
    """
    if name not in BOX_AGGREGATIONS:
        known = ", ".join(BOX_AGGREGATIONS)
        raise Refused(f"unknown aggregate {name!r} of boxes.{suggestion(name, BOX_AGGREGATIONS)} Known: {known}")
    return torch.stack([BOX_AGGREGATIONS[name](score) if len(score) else score.new_tensor(empty) for score in scores])
