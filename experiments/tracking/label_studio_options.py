"""The options of rounds whose labels are drawn in Label Studio."""

from __future__ import annotations

from data.limits import OneOf
from experiments.tracking.declare import NOTHING, Option

CHANGES_NO_RESULT = True  # none of them decides one

RULES = ("newest", "first", "refuse")  # which of several annotations of one image is its label
SHAPES = ("polygon", "brush")
DELETED = ("refuse", "anew")

LABEL_STUDIO: dict[str, Option] = {
    "label_studio": Option(
        "",
        "address of a Label Studio in which `suggest` asks for labels and from which it takes them, such as "
        "http://127.0.0.1:8080, with the token in the environment as LABEL_STUDIO_API_KEY; empty for none",
        decides=NOTHING,
    ),
    "label_studio_masks": Option(
        "polygon",
        "masks in Label Studio are polygon (small, edited corner by corner) | brush (every pixel)",
        OneOf(SHAPES),
        NOTHING,
    ),
    "label_studio_deleted": Option(
        "refuse",
        "where the project of a study was deleted in Label Studio: refuse | anew (make another)",
        OneOf(DELETED),
        NOTHING,
    ),
    "two_annotators": Option(
        "newest",
        "of several annotations of one image in Label Studio, the label is the newest | first | refuse (none, and the "
        "image is named)",
        OneOf(RULES),
        NOTHING,
    ),
}
