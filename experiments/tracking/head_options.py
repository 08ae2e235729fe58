"""The options of frozen features and of heads on them, and which options change nothing because of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data.limits import Between, OneOf
from experiments.tracking.declare import CHOICE, Option
from experiments.tracking.unlabelled_options import unused

FROZEN: dict[str, Option] = {  # of all scripts
    "features": Option(
        "auto",
        "frozen network for train=head, proxy=head, embeddings=features and initial=kmeans, typiclust, ...: auto | "
        "efficientnet_lite0 | timm:<name> | simsiam:<run> | a file | pixels | untrained",
    ),
    # Content, not path, as for weights.
    "features_digest": Option("", "of the content of the file that `features` names; filled in"),
    "features_size": Option(
        0, "pixels a side that pictures are brought to for it; 0: their own, but at least 112, at most 224",
        Between(0, 4096),
    ),
    "embeddings": Option(
        "model",
        "what strategies see that look at embeddings: model (of this cycle) | features (frozen)",
        OneOf(("model", "features")),
        CHOICE,
    ),
}  # fmt: skip
HEAD: dict[str, Option] = {  # of classification
    "train": Option(
        "network",
        "what learns: network | head (on frozen features, fitted to convergence)",
        OneOf(("network", "head")),
    ),
    "proxy": Option(
        "none", "who chooses: none (what learns) | head (on frozen features)", OneOf(("none", "head")), CHOICE
    ),
    "head_hidden": Option(0, "units of the head's hidden layer; 0 for a linear head", Between(0, 10**5)),
    "head_l2": Option(
        0.0,
        "precision of the prior on the head's weights, 1/C of scikit-learn; 0: cross-validated on the labelled images",
        Between(0, 1e9),
    ),
    "feature_views": Option(
        0, "augmented copies (see augment) of each labelled image that a head learns from", Between(0, 100)
    ),
}
NEUTRAL = {  # as if there were no such option
    **{"train": "network", "proxy": "none", "embeddings": "model", "n_stop": 0, "features_digest": ""},
    **{"unlabelled": "none", "sync_batchnorm": True},
}
OF_TRAINING = frozenset(
    {"steps", "epochs", "repeats", "batch_size", "optimizer", "lr", "momentum", "weight_decay", "schedule"}
    | {"lr_step_at", "warmup", "clip", "val_every", "patience", "weights", "weights_digest", "channels_last"}
    | {"sync_batchnorm"}
)


def by_head(options: Mapping[str, Any]) -> bool:
    """Whether a head on frozen features learns or chooses."""
    return options.get("train") == "head" or options.get("proxy") == "head"


def shown_features(options: Mapping[str, Any]) -> bool:
    """Whether results depend on frozen features, the first labels aside."""
    return by_head(options) or options.get("embeddings") == "features"


def by_shares(command: str, options: Mapping[str, Any]) -> bool:
    """Whether the number of devices decides: batch norm, or a detector's loss, takes means over their shares."""
    several = options.get("devices", 1) > 1 and options.get("train") != "head"
    return several and (command.startswith("detect-") or not options.get("sync_batchnorm", True))


def idle(options: Mapping[str, Any]) -> frozenset[str]:
    """The options that change nothing beside the others: they do not name a run. Older runs may lack some."""
    found = {name for name, neutral in NEUTRAL.items() if options.get(name) == neutral} | unused(options)
    if not shown_features(options) and options.get("initial", "random") in ("random", "stratified"):
        found |= {"features", "features_digest", "features_size"}
    if not by_head(options):
        found |= {"head_hidden", "head_l2", "feature_views"}
    if options.get("devices", 1) == 1:
        found |= {"sync_batchnorm"}
    if options.get("train") == "head":
        found |= OF_TRAINING
        found |= set() if options["features"] in ("auto", "untrained") else {"model"}
        found |= set() if options["feature_views"] else {"augment"}
        found |= set() if options["head_hidden"] else {"start"}  # a linear head has one solution
    return frozenset(found & options.keys())
