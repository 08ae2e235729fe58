"""A suggestion as a task of Label Studio."""

from __future__ import annotations

from math import isfinite
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from experiments.rounds.suggestion import Prediction, Seen


def labelling(task: str, classes: tuple[str, ...]) -> str:
    tag = {"classify": "Choices", "detect": "RectangleLabels", "segment": "BrushLabels"}[task]
    inner = "Choice" if task == "classify" else "Label"
    names = classes[1:] if task == "segment" else classes
    labels = "".join(f"<{inner} value={quoteattr(name)}/>" for name in names)
    return (
        '<View><Image name="image" value="$image" zoom="true" zoomControl="true"/>'
        f'<{tag} name="label" toName="image">{labels}</{tag}></View>'
    )


def results(task: str, classes: tuple[str, ...], prediction: Prediction | None, size: tuple[int, int]) -> list[dict]:
    height, width = size
    whole = {
        "from_name": "label",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
    }
    if prediction is None:
        return []
    if task == "classify":
        best = classes[int(prediction.probs.argmax())]
        return [{"id": "r1", "type": "choices", "from_name": "label", "to_name": "image", "value": {"choices": [best]}}]
    if task == "detect":
        return [
            {
                **whole,
                "id": f"r{i}",
                "type": "rectanglelabels",
                "score": float(box[5]),
                "value": {
                    "x": 100 * box[0] / width,
                    "y": 100 * box[1] / height,
                    "width": 100 * (box[2] - box[0]) / width,
                    "height": 100 * (box[3] - box[1]) / height,
                    "rotation": 0,
                    "rectanglelabels": [classes[int(box[4])]],
                },
            }
            for i, box in enumerate(prediction.boxes.tolist())
        ]
    from experiments.rounds.brushes import packed

    return [
        {
            **whole,
            "id": f"r{c}",
            "type": "brushlabels",
            "value": {"format": "rle", "rle": list(packed(prediction.class_map == c)), "brushlabels": [classes[c]]},
        }
        for c in range(1, len(classes))
        if (prediction.class_map == c).any()
    ]


def task_of(task: str, classes: tuple[str, ...], seen: Seen, name: str, before: str, version: str) -> dict[str, Any]:
    """The task of a suggestion; `name` is the path of the image below the folder that is served at `before`."""
    said = seen.suggestion
    height, width = said.size
    data = {
        "image": before + quote(name),
        "name": name,
        "height": height,
        "width": width,
        "part": said.part,
        "rank": said.rank,
        "score": said.score if isfinite(said.score) else None,
        "uncertainty": said.uncertainty if isfinite(said.uncertainty) else None,
        "nearest": said.nearest,
        "why": said.why,
    }
    hint = None if said.part == "test" else seen.prediction
    drawn = results(task, classes, hint, said.size)
    order = said.rank / (said.rank + 1)  # rises with the rank: the lowest score is handed out first
    return {"data": data, "predictions": [{"model_version": version, "score": order, "result": drawn}]}
