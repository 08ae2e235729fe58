"""What the preview says of one image, as HTML in which every name is escaped."""

from __future__ import annotations

import json
import math
import re
from html import escape

import numpy as np

from experiments.rounds.contours import present
from experiments.rounds.exports.table import described, percent
from experiments.rounds.exports.thumbnails import overlay, small
from experiments.rounds.suggestion import Prediction, Seen

MOST_BARS = 4  # classes, the likeliest first
UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ufff9-\ufffb]"
)


def visible(text: str) -> str:
    """Text in which what nobody sees, or what turns the order of letters around, is shown by its number."""
    return UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def plain(text: str) -> str:
    """Text for a page."""
    return escape(visible(text))


def named(text: str) -> str:
    """A name whose direction of writing ends with it."""
    return f"<bdi>{plain(text)}</bdi>"


def classes_in(prediction: Prediction | None, classes: tuple[str, ...]) -> list[str]:
    """The classes that are predicted for an image, by which it can be filtered."""
    if prediction is None:
        return []
    if prediction.probs is not None:
        return [classes[int(prediction.probs.argmax())]]
    if prediction.class_map is not None:
        return [classes[c] for c in present(prediction.class_map)]
    boxes = np.zeros((0, 6)) if prediction.boxes is None else prediction.boxes
    return [classes[int(c)] for c in np.unique(boxes[:, 4]).tolist()]


def card(seen: Seen, classes: tuple[str, ...], title: str, found: list[str]) -> str:
    """One image: its picture with the prediction, and what is known of it. `title` is its name from the folder, `found`
    are the classes of `classes_in`.
    """
    said = seen.suggestion
    picture, (width, height) = small(seen.picture)
    drawn = "" if seen.prediction is None else overlay(seen.prediction, classes, said.size, width, height)
    data = {
        "rank": str(said.rank),
        "name": title,
        "patient": said.patient,
        "nearest": said.nearest,
        "score": _sortable(said.score),
        "uncertainty": _sortable(said.uncertainty),
        "part": json.dumps([said.part]),
        "why": json.dumps([visible(said.why)]),
        "class": json.dumps([visible(name) for name in found]),
    }
    attributes = " ".join(f'data-{key}="{plain(value)}"' for key, value in data.items())
    chips = [chip for chip in dict.fromkeys([*({said.part} & {"start", "test"}), said.why]) if chip]
    rows = [("Uncertainty", _doubt(said.uncertainty)), ("Score", _number(said.score))]
    rows += [("Patient", named(said.patient) if said.patient else ""), ("Most like", named(said.nearest))]
    known = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows if value and value != "<bdi></bdi>")
    return (
        f'<article class="pick" id="pick-{said.rank}" tabindex="-1" {attributes}>'
        f'<figure class="frame" style="--shape:{_shape(width, height)}">'
        f'<img alt="{plain(title)}" width="{width}" height="{height}" src="{picture}">{drawn}'
        f'<span class="rank">{said.rank}</span></figure><div class="told"><h2>{named(title)}</h2>'
        f'<div class="chips">{"".join(_chip(text) for text in chips)}</div>'
        f"{_predicted(seen, classes)}<dl>{known}</dl></div></article>\n"
    )


def _predicted(seen: Seen, classes: tuple[str, ...]) -> str:
    prediction = seen.prediction
    if prediction is None:
        return '<p class="note">no prediction</p>'
    if prediction.probs is None:
        return f"<p>{named(described(prediction, classes, seen.suggestion.size))}</p>"
    order = np.argsort(-prediction.probs, kind="stable")[:MOST_BARS].tolist()
    rows = ""
    for c in order:
        share = float(prediction.probs[c])
        rows += f'{named(classes[c])}{_bar(share)}<span class="value">{percent(share)}</span>'
    return f'<div class="bars">{rows}</div>'


def _shape(width: int, height: int) -> str:
    """Width over height of the frame around a picture: that of the picture, but no strip."""
    return f"{min(max(width / height, 0.75), 1.8):.4g}"


def _chip(text: str) -> str:
    return f'<span class="chip {text if text in ("test", "start") else ""}">{plain(text)}</span>'


def _bar(share: float, kind: str = "") -> str:
    return f'<span class="bar{kind}"><i style="width:{100 * min(max(share, 0.0), 1.0):.1f}%"></i></span>'


def _doubt(value: float) -> str:
    if not math.isfinite(value):
        return ""
    return f'<span class="bars" style="grid-template-columns:1fr auto">{_bar(value, " doubt")}{value:.2f}</span>'


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else ""


def _sortable(value: float) -> str:
    return f"{value:.9g}" if math.isfinite(value) else ""
