"""Options that are each valid and do not go together, as experiments/tracking/combinations.py and its neighbours say."""

from __future__ import annotations

from collections.abc import Iterator

from tests.trials.bad_values import REFUSED, Input

ALL = {  # of the three scripts
    "no length of a training": "steps=0 epochs=0",
    "fewer scored than picked": "pool_subset=2 n_query=3",
    "one stochastic pass": "mc_samples=1 heuristic=MC",
    "no dropout": "dropout=0.0 heuristic=MC",
    "balance of a whole batch": "balance=predicted heuristic=coreset",
    "draw from a whole batch": "select=power heuristic=coreset",
    "second stage of a whole batch": "then=kmeans heuristic=coreset",
    "draw and second stage": "select=power then=kmeans heuristic=SCORE",
    "volume_score of slices": "volume_score=max",
    "volumes and a whole batch": "unit=volume heuristic=coreset",
    "volumes and apart": "unit=volume heuristic=SCORE apart=2",
    "volumes and balance": "unit=volume heuristic=SCORE balance=predicted",
    "volumes and second stage": "unit=volume heuristic=SCORE then=kmeans",
    "volumes and a subset": "unit=volume heuristic=SCORE pool_subset=10",
    "volumes and a start": "unit=volume heuristic=SCORE initial=kmeans",
    "volumes that are not there": "unit=volume heuristic=SCORE",
    "slices that are not there": "apart=2",
    "more first labels than images": "n_initial=99999",
    "more labels than images": "n_cycles=99999",
    "more validation than images": "n_val=99999",
    "strategy without its option": "heuristic=random heuristic_options.metric=l2",
    "option of another dataset": "dataset_options.no_such_option=1",
    "value of a dataset's option": "dataset_options.n_pool=-1",
    "size of images as a dataset's option": "dataset_options.data_root=/tmp",
    "diverging": "lr=1000.0 optimizer=sgd weight_decay=1000.0 steps=40 precision=float32 train_network",
}
OWN = {
    "segment": {
        "mc metric without passes": "metric=mc_dice",
        "strategy of boxes": "heuristic=box_entropy",
        "another way of learning": "unlabelled=fixmatch",
        "mean of volumes on slices": "metric=dice_volume",
        "encoder's weights without one": "weights=imagenet",
        "another script's option": "max_detections=10",
    },
    "classify": {
        "mc metric without passes": "metric=mc_accuracy",
        "strategy of boxes": "heuristic=box_entropy",
        "another way of learning": "unlabelled=cps",
        "map's aggregate": "aggregate=max",
        "two heads": "train=head proxy=head features=pixels",
        "validation of a head": "train=head features=pixels n_val=4",
        "views without augmentation": "train=head features=pixels feature_views=2 augment=none",
        "arm of a network with a head": "train=head features=pixels unlabelled=fixmatch",
        "arm of a head with a network": "unlabelled=label_spreading",
        "another script's option": "crop=10",
    },
    "detect": {
        "strategy of classes": "heuristic=badge",
        "another way of learning": "unlabelled=cps",
        "metric of another script": "metric=dice",
        "too few anchors": "anchor_sizes=[16]",
        "another script's option": "head_l2=1.0",
    },
    "pretrain": {
        "size of another task": "task=segment image_size=16",
        "scale of another task": "scale=0.5",
        "dataset of another task": "task=detect dataset=glas",
        "another script's option": "heuristic=random",
        "one image left": "batch_size=9999",
    },
}
STOCHASTIC = {"segment": "bald", "classify": "bald", "detect": "box_bald"}
SCORE = {"segment": "entropy", "classify": "entropy", "detect": "box_entropy"}


def of_pairs(script: str) -> Iterator[Input]:
    """The combinations of a script."""
    shared = ALL if script != "pretrain" else {}
    for kind, text in {**shared, **OWN[script]}.items():
        text = text.replace("MC", STOCHASTIC.get(script, "")).replace("SCORE", SCORE.get(script, ""))
        words = [word for word in text.split() if word != "train_network"]
        yield Input(words[0].partition("=")[0], f"together: {kind}", tuple(words), REFUSED)
