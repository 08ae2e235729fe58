"""What a person is shown: the images of a list with what the model makes of them, in the pixels of their own files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import interpolate

from data.names import Refused
from data.store import Images
from experiments.learning.batches import WithoutTargets
from experiments.learning.evidence import ModelEvidence
from experiments.learning.stop_set import doubt_of_boxes, most_doubt
from experiments.rounds.exports.target import Chart
from experiments.rounds.suggestion import Prediction, Seen, Suggestion
from heuristics.core.evidence import entropy_of
from heuristics.core.registry import Heuristic

FAR = (
    "coreset",
)  # strategies on embeddings alone that go for what is unlike anything labelled; others for the typical
CHARTED = 1000  # images of the pool in a map


def why(heuristic: Heuristic, then: str = "none") -> str:
    """What a strategy looks for, in one word: uncertain, different, typical or random."""
    wants = heuristic.wants
    if not wants:
        return "random"
    if then != "none" or heuristic.name in FAR:
        return "different"
    return "typical" if wants <= {"embeddings", "labelled_embeddings"} else "uncertain"


def wanted_of(images: Images) -> str:
    """The evidence that is a prediction."""
    return "detections" if images.kind == "boxes" else "probs"


def suggestion_of(images: Images, i: int, data_root: Path, **more: Any) -> Suggestion:
    """One image as it is asked for."""
    row, alone = images.rows[i], images.subset([i])  # names of all images would be made for each
    height, width = images.of_files["size"][row].tolist()
    file, patient = data_root / str(images.of_files["file"][row]), str(alone.patients[0])
    return Suggestion(file=file, name=alone.names[0], size=(height, width), patient=patient, **more)


def predictions(
    evidence: ModelEvidence, images: Images, indices: Int[ndarray, " n"], wanted: str, least_score: float
) -> Iterator[tuple[int, Prediction, float]]:
    """Index, prediction and uncertainty (0..1) of each of these images, one after another; of a batch at a time."""
    unseen = WithoutTargets(images)
    for positions, found in evidence.stream(unseen, indices, frozenset({wanted}), "predict"):
        for position, made in zip(positions, found[wanted], strict=True):
            i = int(indices[position])
            size = tuple(images.of_files["size"][images.rows[i]].tolist())
            yield i, *(_of_boxes if wanted == "detections" else _of_probs)(made, size, images.shapes[i], least_score)


def images_folder(images: Images, data_root: Path) -> Path:
    """The folder below which all images lie under their names, or else `data_root`."""
    files = images.of_files["file"][images.rows].tolist()
    before = {file.removesuffix(name) for file, name in zip(files, images.names, strict=True)}
    return data_root / before.pop() if len(before) == 1 else data_root


def chart_of(
    evidence: ModelEvidence,
    images: Images,
    picks: Int[ndarray, " q"],
    labelled: Int[ndarray, " l"],
    pool: Int[ndarray, " n"],
) -> Chart | None:
    """Where picks lie among the other images: the first two principal components of the embeddings.

    At most CHARTED others are looked at, spread over the pool. None where embeddings take too much room, or there are
    too few.
    """
    others = pool[np.unique(np.linspace(0, len(pool) - 1, min(CHARTED, len(pool))).astype(int))] if len(pool) else pool
    shown = [picks, labelled[:CHARTED], others]
    if not len(picks) or sum(map(len, shown)) < 4:
        return None
    try:
        found = evidence.embed(WithoutTargets(images), np.concatenate(shown)).double().cpu().numpy()
    except Refused:
        return None
    found -= found.mean(0)
    places = found @ np.linalg.svd(found, full_matrices=False)[2][:2].T
    ends = np.cumsum([len(each) for each in shown])
    of_picks = {n: (float(x), float(y)) for n, (x, y) in zip(images.subset(picks).names, places, strict=False)}
    how = "the two main directions of what the model sees in them"
    return Chart(places[ends[1] :], places[ends[0] : ends[1]], of_picks, how) if places.shape[1] == 2 else None


def nearest(
    evidence: ModelEvidence, images: Images, picks: Int[ndarray, " q"], labelled: Int[ndarray, " l"]
) -> list[str]:
    """Of each pick, the labelled image whose embedding has the largest cosine with its own; '' where none can tell."""
    if not len(labelled) or not len(picks):
        return [""] * len(picks)
    unseen = WithoutTargets(images)
    try:
        ours, others = (torch.nn.functional.normalize(evidence.embed(unseen, i).float()) for i in (picks, labelled))
    except Refused:  # they take too much room, or images differ in size
        return [""] * len(picks)
    return images.subset(labelled[(ours @ others.T).argmax(1).cpu().numpy()]).names


def seen(images: Images, suggestion: Suggestion, i: int, prediction: Prediction | None) -> Seen:
    """A suggestion with its picture."""
    return Seen(suggestion, np.array(images.raw(i)), prediction)


def _of_probs(
    probs: Float[Tensor, "c *s"], size: tuple[int, int], shape: Int[ndarray, " 2"], least_score: float
) -> tuple[Prediction, float]:
    doubt = float(entropy_of(probs[None]).mean()) / most_doubt(probs[None])
    if probs.ndim == 1:
        return Prediction(probs=probs.cpu().double().numpy()), doubt
    if tuple(probs.shape[1:]) != size:
        probs = interpolate(probs[None].float(), size=size, mode="bilinear", align_corners=False)[0]
    return Prediction(class_map=probs.argmax(0).cpu().numpy()), doubt


def _of_boxes(
    found: dict[str, Tensor], size: tuple[int, int], shape: Int[ndarray, " 2"], least_score: float
) -> tuple[Prediction, float]:
    certain = found["scores"] >= least_score
    boxes, labels, scores = (found[name][certain].cpu().double().numpy() for name in ("boxes", "labels", "scores"))
    ratio = np.array([size[1] / shape[1], size[0] / shape[0]] * 2)
    rows = np.concatenate([boxes * ratio, labels[:, None], scores[:, None]], axis=1)
    return Prediction(boxes=rows), doubt_of_boxes(found["probs"])
