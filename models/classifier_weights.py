"""Weights of classification networks: random, published, or from a file, and how they get into a network."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor, nn

from data.names import Refused, suggestion
from models.networks import NETWORKS, network_of
from models.weights import read_state

WORDS = ("random", "imagenet")  # what may stand in place of a file


def weights_for(name: str, weights: str | Path) -> dict[str, Tensor] | None:
    """The state dict that `weights` names for a network, None for "random"."""
    if weights == "random":
        return None
    if weights != "imagenet":
        return read_state(weights, WORDS)
    if (published := network_of(name).published) is None:
        known = [other for other, network in NETWORKS.items() if network.published]
        near = suggestion(name, known)
        raise Refused(f"there are no ImageNet weights for {name!r}.{near} They exist for {', '.join(known)}")
    return published()


def put(trunk: nn.Module, classifier: nn.Linear, state: Mapping[str, Tensor], heads: tuple[str, ...]) -> str:
    """Copy a state dict into a trunk and its head; the reason why it does not fit, or '' where it does.

    It is one of a network made here, or of its trunk with other `heads`. Weights of colour are summed for a trunk that
    was made for grey images.
    """
    ours = any(key.startswith("trunk.") for key in state)
    # The published densenet has names such as `denselayer1.norm.1.weight`, from before dots were forbidden in names.
    given = {re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key): value for key, value in state.items()}
    if ours:
        given = {key.removeprefix("trunk."): value for key, value in given.items() if key.startswith("trunk.")}
    wanted = trunk.state_dict()
    first = next(key for key, value in wanted.items() if value.ndim == 4)
    if first in given and wanted[first].shape[1] == 1 and given[first].ndim == 4 and given[first].shape[1] == 3:
        given[first] = given[first].sum(1, keepdim=True)
    for key, value in wanted.items():
        if key not in given:
            if key.endswith("num_batches_tracked"):  # absent from old files, and unused at a fixed momentum
                given[key] = value
                continue
            return f"it lacks {key!r}"
        if given[key].shape != value.shape:
            return f"{key!r} is {tuple(given[key].shape)}, expected {tuple(value.shape)}"
    extra = [key for key in given if key not in wanted and not key.startswith(tuple(f"{head}." for head in heads))]
    if extra:
        return f"it holds {extra[0]!r}, which this network lacks"
    trunk.load_state_dict({key: given[key] for key in wanted})
    head = {"weight": state.get("classifier.weight"), "bias": state.get("classifier.bias")}
    if ours and head["weight"] is not None and head["weight"].shape == classifier.weight.shape:
        classifier.load_state_dict(head)
    return ""


def fitting_name(state: Mapping[str, Tensor], build: Callable[[str], tuple[nn.Module, nn.Linear]]) -> str:
    """The name of a network that these weights fit, or ''; `build` makes trunk and head of a name without numbers."""
    without = {key: value.to("meta") for key, value in state.items()}
    return next((name for name, net in NETWORKS.items() if not put(*build(name), without, net.heads)), "")
