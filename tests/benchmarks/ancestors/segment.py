"""A plain script for segmentation with BALD.

It imitates scripts that push one image at a time through the network, keep the maps of all K passes on the host, for
the whole pool until its last image was seen and for each test image until its mean is taken, and that measure with a
loop over the images and the pairs of objects.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import ndimage
from skimage.measure import label
from torch import Tensor, nn

from data.augment.images import crop_example
from models.segmenters import make_segmenter
from tests.benchmarks.ancestors.shared import Files, Plain, Values, as_tensor, augmented, dropout_on


def make_model(options: Values, files: Files) -> nn.Module:
    shape = {name: options[name] for name in ("width", "depth", "dropout")}
    return make_segmenter(options["model"], len(files.known["classes"]), files.known["channels"], **shape)


def example(files: Files, part: str, i: int, options: Values, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    mask = (files.mask(part, i) > 0).astype(np.int64)
    picture, mask = crop_example(files.picture(part, i), mask, options["crop"], rng)
    picture, mask = augmented(as_tensor(picture), torch.from_numpy(mask), options["augment"], rng)
    return picture, mask


def loss(model: nn.Module, batch: list) -> Tensor:
    pictures, masks = zip(*batch, strict=True)
    return nn.functional.cross_entropy(model(torch.stack(pictures)), torch.stack(masks))


@torch.no_grad()
def passes(model: nn.Module, picture: Tensor, k: int) -> np.ndarray:
    """Probabilities (K, C, H, W) of one image, one pass after the other, all of the network each time."""
    model.eval()
    dropout_on(model)
    found = [model(picture).softmax(1)[0].numpy() for _ in range(k)]
    model.eval()
    return np.stack(found)


def bald(probs: np.ndarray) -> float:
    """Mean over the pixels of H[mean p] - mean H[p] of passes (K, C, H, W), in nats."""
    mean = probs.mean(0)
    of_mean = -(mean * np.log(mean + 1e-12)).sum(0)
    mean_of = -(probs * np.log(probs + 1e-12)).sum(1).mean(0)
    return float((of_mean - mean_of).mean())


def query(model: nn.Module, files: Files, labelled: list[int], pool: list[int], options: Values) -> list[int]:
    maps = [passes(model, files.tensor("train", i), options["mc_samples"]) for i in pool]  # all of them
    scores = [bald(probs) for probs in maps]
    return [pool[i] for i in np.argsort(scores)[::-1][: options["n_query"]]]


@torch.no_grad()
def test(model: nn.Module, files: Files, options: Values) -> dict[str, float]:
    found: dict[str, list] = {"": [], "mc_": []}
    for i in files.numbers("test"):
        picture, objects = files.tensor("test", i), files.mask("test", i)
        predictions = {"": model(picture).softmax(1)[0].numpy()}
        predictions["mc_"] = passes(model, picture, options["eval_samples"]).mean(0)
        for prefix, probs in predictions.items():
            found[prefix].append(measured(probs.argmax(0), objects, options["min_object"]))
    rows = {prefix: summary(images) for prefix, images in found.items()}
    return {f"{prefix}{name}": value for prefix, row in rows.items() for name, value in row.items()}


def measured(predicted: np.ndarray, objects: np.ndarray, min_object: int) -> dict[str, Any]:
    """What one image says of a foreground of one class and its objects."""
    truth = (objects > 0).astype(np.int64)
    a, b = predicted == 1, truth == 1
    both, either = (a & b).sum(), (a | b).sum()
    return {
        "dice": 2 * both / (a.sum() + b.sum()) if either else 1.0,
        "iou": both / either if either else 1.0,
        "hd95": hausdorff95(a, b),
        **matched(a, objects, min_object),
    }


def hausdorff95(a: np.ndarray, b: np.ndarray) -> float:
    """From maps of the distance of every pixel to an edge."""
    if not a.any() or not b.any():
        return float(np.hypot(*a.shape)) if a.any() or b.any() else 0.0
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (a, b)]
    to_a, to_b = (ndimage.distance_transform_edt(~edge) for edge in edges)
    return float(max(np.percentile(to_b[edges[0]], 95), np.percentile(to_a[edges[1]], 95)))


def matched(predicted: np.ndarray, objects: np.ndarray, min_object: int) -> dict[str, Any]:
    """Counts of objects, and area and Dice of each, by a loop over all pairs of masks."""
    components, n = label(predicted, connectivity=2, return_num=True)
    found = [components == i for i in range(1, n + 1)]
    found = [mask for mask in found if mask.sum() >= min_object]
    true = [objects == i for i in np.unique(objects) if i]
    hit = set()
    for mask in found:
        shared = [(mask & other).sum() for other in true]
        if shared and max(shared) > 0:
            partner = int(np.argmax(shared))
            if 2 * shared[partner] >= true[partner].sum():
                hit.add(partner)
    sides = []
    for own, others in ((found, true), (true, found)):
        rows = []
        for mask in own:
            shared = [(mask & other).sum() for other in others]
            best = int(np.argmax(shared)) if shared else -1
            some = bool(shared) and shared[best] > 0
            rows.append((mask.sum(), 2 * shared[best] / (mask.sum() + others[best].sum()) if some else 0.0))
        sides.append(rows)
    return {"counts": (len(hit), len(found) - len(hit), len(true) - len(hit)), "found": sides[0], "true": sides[1]}


def summary(images: list[dict[str, Any]]) -> dict[str, float]:
    """Means over the images, and scores over all of their objects."""
    row = {name: float(np.mean([image[name] for image in images])) for name in ("dice", "iou", "hd95")}
    tp, fp, fn = np.sum([image["counts"] for image in images], axis=0)
    row["object_f1"] = float(2 * tp / (2 * tp + fp + fn)) if tp + fp + fn else 1.0
    means = []
    for side in ("found", "true"):
        rows = [row for image in images for row in image[side]]
        if rows:
            areas, dices = zip(*rows, strict=True)
            means.append(np.average(dices, weights=areas))
    return row | {"object_dice": float(np.mean(means)) if means else 1.0}


PLAIN = Plain(make_model, example, loss, test, query)
