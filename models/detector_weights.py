"""Weights of detectors: published ones, files, and how they get into a network with other classes or channels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torchvision
from torch import Tensor, nn

from data.names import Refused, suggestion
from models.weights import read_state

WEIGHTS = ("random", "imagenet", "coco")  # what may stand in place of a file
BODY = "backbone.body."  # begins the names of a detector's trunk


def read_weights(
    weights: str | Path, name: str, published: Mapping[str, str], trunks: Mapping[str, str]
) -> dict[str, Tensor] | None:
    """The state dict that `weights` names for a detector, None for "random"; tables say '' where none is published.

    A file may also be of a classification network made here, or of its trunk: that is all which is taken then.
    """
    if weights == "random":
        return None
    if weights in ("imagenet", "coco"):
        return _download(name, str(weights), published if weights == "coco" else trunks)
    state = read_state(weights, WEIGHTS)
    trunk = {key.removeprefix("trunk."): value for key, value in state.items() if key.startswith("trunk.")}
    if trunk and not trunks[name]:
        known = [other for other, needed in trunks.items() if needed]
        raise Refused(f"{str(weights)!r} holds a trunk, and {name!r} has one of its own: use {' or '.join(known)}")
    return {BODY + key: value for key, value in trunk.items()} if trunk else state


def _download(name: str, weights: str, source: Mapping[str, str]) -> dict[str, Tensor]:
    """The published weights, with the names that a detector has for them."""
    if not source[name]:
        known = [other for other, published in source.items() if published]
        raise Refused(
            f"there are no {weights} weights for {name!r}.{suggestion(name, known)} They exist for {', '.join(known)}"
        )
    published = torchvision.models.get_model_weights(source[name])["COCO_V1" if weights == "coco" else "IMAGENET1K_V1"]
    try:
        state = published.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise Refused(
            f"the {weights} weights of {name!r} could not be downloaded from {published.url} ({error})"
        ) from error
    if weights == "coco":
        return state
    trunk = {
        key.removeprefix("features."): value
        for key, value in state.items()
        if not key.startswith(("fc.", "classifier."))
    }
    return {BODY + key: value for key, value in trunk.items() if not key.endswith("num_batches_tracked")}


def load_weights(model: nn.Module, state: dict[str, Tensor], name: str, weights: str | Path) -> None:
    """Copy a state dict into the model: the trunk alone, or all but last layers that are for other classes."""
    wanted, whole = model.state_dict(), not all(key.startswith(BODY) for key in state)
    first = next(key for key, value in wanted.items() if value.ndim == 4)
    if first in state and state[first].shape[1] == 3 != wanted[first].shape[1]:
        channels = wanted[first].shape[1]  # grey, repeated over the channels, is seen as it would be in colour
        state[first] = state[first].sum(1, keepdim=True).expand(-1, channels, -1, -1) / channels
    last = [key for key in wanted if ".box_predictor." in key or ".classification_head.cls_logits." in key]
    new = last if any(key in state and state[key].shape != wanted[key].shape for key in last) else []
    for key in new:
        state.pop(key, None)
    try:
        lacking, extra = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise Refused(
            f"the weights in {str(weights)!r} do not fit {name!r}: {str(error).splitlines()[-1].strip()}"
        ) from error
    lacking = [key for key in lacking if key not in new and (whole or key.startswith(BODY))]
    if lacking or extra:
        problem = f"they lack {lacking[0]!r}" if lacking else f"they hold {extra[0]!r}, which it has not"
        raise Refused(f"the weights in {str(weights)!r} do not fit {name!r}: {problem}; give the file of a {name}")


def freeze_start(model: Any) -> None:
    """Keep the stem and the first stage of a published trunk as they are."""
    for key, parameter in model.backbone.body.named_parameters():
        if key.startswith(("conv1.", "layer1.", "0.", "1.", "2.", "3.")):
            parameter.requires_grad_(False)
