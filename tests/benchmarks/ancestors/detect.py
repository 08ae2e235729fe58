"""A plain script for detection with localization tightness.

It imitates scripts that detect in one image at a time, compare boxes in pairs, and make a free-response curve by
counting all images again at each threshold.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from data.augment.boxes import AUGMENTATIONS
from models.detecting import detect
from models.detectors import losses, make_detector
from tests.benchmarks.ancestors.shared import Files, Plain, Values, as_tensor

FPS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # false positives per image
HIT = 0.5  # least overlap
Found = list[tuple[list[float], float, int]]  # box, score and class of each detection of an image


def make_model(options: Values, files: Files) -> nn.Module:
    chosen = ("dropout", "anchor_sizes", "anchor_ratios", "score_threshold", "max_detections", "nms")
    shape = {name: options[name] for name in chosen}
    return make_detector(options["model"], len(files.known["classes"]), files.known["channels"], **shape)


def example(files: Files, part: str, i: int, options: Values, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    boxes = torch.tensor(files.target(part, i), dtype=torch.float32).reshape(-1, 5)
    return AUGMENTATIONS[options["augment"]](as_tensor(files.picture(part, i)), boxes, rng)


def loss(model: nn.Module, batch: list) -> Tensor:
    pictures, boxes = zip(*batch, strict=True)
    return losses(model, pictures, boxes)


@torch.no_grad()
def query(model: nn.Module, files: Files, labelled: list[int], pool: list[int], options: Values) -> list[int]:
    scores = []
    for i in pool:
        (found,) = detect(model, files.tensor("train", i))
        scores.append(tightness(found["boxes"].tolist(), found["proposals"].tolist(), found["confidence"].tolist()))
    return [pool[i] for i in np.argsort(scores)[::-1][: options["n_query"]]]


def tightness(boxes: list, proposals: list, confidence: list[float]) -> float:
    """The largest 1 - |IoU(proposal, box) + P - 1| of an image's boxes, 0 without one."""
    found = [0.0]
    for box, proposal, sure in zip(boxes, proposals, confidence, strict=True):
        found.append(1 - abs(overlap(box, proposal) + sure - 1))
    return max(found)


def overlap(a: list[float], b: list[float]) -> float:
    """Intersection over union of two boxes."""
    shared = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    together = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / together if together > 0 else 0.0


@torch.no_grad()
def test(model: nn.Module, files: Files, options: Values) -> dict[str, float]:
    found: list[Found] = []
    for i in files.numbers("test"):
        (image,) = detect(model, files.tensor("test", i))
        rows = (image[name].tolist() for name in ("boxes", "scores", "labels"))
        found.append(list(zip(*rows, strict=True)))
    return sensitivities(found, [files.target("test", i) for i in files.numbers("test")])


def sensitivities(found: list[Found], targets: list[list[list[float]]]) -> dict[str, float]:
    """Share of the lesions that are found at each number of false positives per image, the most over all thresholds."""
    images = [judged(boxes, lesions) for boxes, lesions in zip(found, targets, strict=True)]
    n_lesions = sum(len(lesions) for lesions in targets)
    best = dict.fromkeys(FPS, 0.0)
    for threshold in sorted({score for image in images for score, _ in image}, reverse=True):
        hits = false = 0
        for image in images:  # all of them again
            kept = [hit for score, hit in image if score >= threshold]
            hits += sum(kept)
            false += len(kept) - sum(kept)
        for x in FPS:
            if false / len(images) <= x:
                best[x] = max(best[x], hits / n_lesions)
    return {"froc": sum(best.values()) / len(best), **{f"froc_at_{x:g}": value for x, value in best.items()}}


def judged(boxes: Found, lesions: list[list[float]]) -> list[tuple[float, bool]]:
    """Score of each detection that counts, and whether it is a hit; a second hit of a lesion does not count."""
    taken, events = set(), []
    for box, score, label in sorted(boxes, key=lambda found: -found[1]):
        overlaps = {g: overlap(box, list(true[:4])) for g, true in enumerate(lesions) if int(true[4]) == label}
        hit = {g: value for g, value in overlaps.items() if value >= HIT}
        free = {g: value for g, value in hit.items() if g not in taken}
        if free:
            taken.add(max(free, key=lambda g: free[g]))
        if free or not hit:
            events.append((score, bool(free)))
    return events


PLAIN = Plain(make_model, example, loss, test, query)
