"""Options of earlier versions that became another one: what to write today, and how older records are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CHANGES_NO_RESULT = True  # what it decides stands in the options

INSTEAD = {  # option -> what to use
    "pseudo_labels": "unlabelled=pseudo_labels, or unlabelled=none",
    "teacher": "unlabelled=pseudo_labels for labels of the cycle before, unlabelled=mean_teacher for a mean teacher",
}


def by_todays_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a run or a file, with `pseudo_labels` and `teacher` as the `unlabelled` that they were."""
    found = {name: value for name, value in values.items() if name not in INSTEAD}
    if "pseudo_labels" in values and "unlabelled" not in values:
        labelling = "mean_teacher" if values.get("teacher") == "ema" else "pseudo_labels"
        found["unlabelled"] = labelling if values["pseudo_labels"] else "none"
    return found
