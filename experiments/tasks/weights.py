"""Whether the weights that a command line names are there, and of the network that it names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from data.names import Refused
from experiments.tracking.weights_option import SIMSIAM, require_there, weights_of
from models import pretrained
from models.classifier_weights import WORDS
from models.networks import NETWORKS, network_of
from models.weights import read_file


def require_weights(weights: str, option: str, network: str, channels: int = 0) -> None:
    """Refused where a classification network, the value of `option`, cannot have these weights.

    `channels` are those of the images, 0 where they are not known yet.
    """
    require_there(weights, WORDS)
    if weights == "imagenet" and not network_of(network).published:
        published = [name for name, known in NETWORKS.items() if known.published]
        way_out = f"use weights=random, or one of {', '.join(published)}"
        raise Refused(f"there are no ImageNet weights for {network!r}: {way_out}")
    if weights == "imagenet" and network == "efficientnet_lite0":
        pretrained.weights_file()  # where the others lie only a download tells
    require_encoder_of(weights, network, lambda trained: f"use {option}={trained}", channels)


def require_encoder_of(weights: str, network: str, way_out: Callable[[str], str], channels: int = 0) -> None:
    """Refused where `weights` names an encoder of another network, or one of grey images for `channels` of colour.

    `way_out` says what to do about an encoder of the network that it is given. A file that does not say what it is of
    fits or does not fit when the network is made.
    """
    file = weights_of(weights)
    try:
        saved = read_file(file) if isinstance(file, Path) else {}
    except Refused:
        return
    if not isinstance(saved, dict) or not isinstance(trained := saved.get("network"), str):
        return
    who = f"run {weights.removeprefix(SIMSIAM)}" if weights.startswith(SIMSIAM) else str(file)
    if trained != network:
        raise Refused(f"{who} trained {trained}, not {network}: {way_out(trained)}")
    if saved.get("channels") == 1 and channels == 3 and not network_of(network).repeats_grey:
        raise Refused(f"{who} trained {network} on grey images, and these are in colour: pre-train on colour ones")
