"""Which strategy fits which task: what a task gives against what a strategy wants."""

from __future__ import annotations

from dataclasses import dataclass

from data.names import Refused, suggestion
from heuristics.core.registry import EVIDENCE, Heuristic, get, names

OF_PROPOSALS = frozenset({"proposals", "mc_detections"})  # of detectors in two stages alone
OF_BOXES = OF_PROPOSALS | {name for name in EVIDENCE if name.endswith("detections")}
OF_IMAGES = frozenset(EVIDENCE) - OF_BOXES  # of networks that give classes, to an image or to its pixels
OF_MAPS = OF_IMAGES - {"images", "model", "head"}  # of networks that give a class to every pixel
EMBEDDINGS = frozenset({"embeddings", "labelled_embeddings", "validation_embeddings"})
IN_WORDS = {  # what messages call it
    "detections": "boxes",
    "noisy_detections": "boxes found under noise",
    "augmented_detections": "boxes found in changed copies",
    "mc_detections": "a box head with dropout",
    "proposals": "region proposals",
    "head": "a head that makes logits of embeddings",
}


@dataclass(frozen=True)
class Gives:
    """The evidence that a task has for strategies: for those that score images one by one, and for those that see the
    whole pool.
    """

    what: str  # who gives it, for messages: "a classifier"
    to_scorers: frozenset[str]
    to_selectors: frozenset[str]

    def lacks(self, heuristic: Heuristic) -> frozenset[str]:
        """What the strategy wants and the task does not give."""
        return heuristic.wants - (self.to_scorers if heuristic.per_batch else self.to_selectors)


def fitting(gives: Gives) -> list[str]:
    """The strategies that a task can serve, in alphabetical order."""
    return [name for name in names() if not gives.lacks(get(name))]


def of_what(heuristic: Heuristic) -> str:
    """What a network must predict for this strategy: "boxes", "classes" of images, of "pixels" too, or "anything"."""
    if heuristic.wants & OF_BOXES:
        return "boxes"
    if heuristic.wants <= EMBEDDINGS:
        return "anything"
    return "classes, pixels" if heuristic.per_batch and heuristic.wants <= OF_MAPS else "classes"


def require_given(heuristic: Heuristic, gives: Gives) -> None:
    """Refused, with the strategies that fit, where the heuristic wants what the task does not give."""
    if lacking := gives.lacks(heuristic):
        fit = fitting(gives)
        needs = ", ".join(IN_WORDS.get(name, name) for name in sorted(lacking))
        wants = f"heuristic {heuristic.name!r} needs {needs}, which {gives.what} does not give"
        whole = "" if heuristic.per_batch else " to strategies that see the whole pool"
        raise Refused(f"{wants}{whole}.{suggestion(heuristic.name, fit)} Those that fit: {', '.join(fit)}")
