"""What a person is shown: the images of a list with what the model makes of them, in the pixels of their own files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from experiments.rounds.suggestion import Prediction, Seen, Suggestion
from heuristics.core.evidence import entropy_of
from heuristics.core.registry import Heuristic

FAR = (
    "coreset",
)  # strategies on embeddings alone that go for what is unlike anything labelled; others for the typical


def why(heuristic: Heuristic, then: str = "none") -> str:
    """What a strategy looks for, in one word: uncertain, different, typical or random."""
    wants = heuristic.wants
    if not wants:
        return "random"
    if then != "none" or heuristic.name in FAR:
        return "different"
    return "typical" if wants <= {"embeddings", "labelled_embeddings"} else "uncertain"


def suggestion_of(images: Images, i: int, data_root: Path, **more: Any) -> Suggestion:
    """One image as it is asked for."""
    row = images.rows[i]
    height, width = images.of_files["size"][row].tolist()
    file, patient = data_root / str(images.of_files["file"][row]), str(images.patients[i])
    return Suggestion(file=file, name=images.names[i], size=(height, width), patient=patient, **more)


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
    return [images.names[labelled[k]] for k in (ours @ others.T).argmax(1).tolist()]


def in_words(prediction: Prediction | None, classes: Sequence[str]) -> str:
    """'malignant 0.93', 'gland 0.21' (shares of the area) or '3 cell, 1 debris'."""
    if prediction is None:
        return ""
    if prediction.probs is not None:
        likeliest = int(prediction.probs.argmax())
        return f"{classes[likeliest]} {prediction.probs[likeliest]:.2f}"
    if prediction.class_map is not None:
        shares = np.bincount(prediction.class_map.reshape(-1), minlength=len(classes)) / prediction.class_map.size
        return ", ".join(
            f"{name} {share:.2f}" for name, share in zip(classes[1:], shares[1:], strict=True) if share > 0
        )
    counts = (
        np.bincount(prediction.boxes[:, 4].astype(int), minlength=len(classes)) if prediction.boxes is not None else []
    )
    return ", ".join(f"{count} {name}" for name, count in zip(classes, counts, strict=True) if count)


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
