"""Every option of the three scripts: default, sentence, limit, and what it decides. The loop's own first, then each task's."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

from data.catalogue import NOT_HERE
from data.catalogue import names as datasets
from data.limits import Between, Numbers, OneOf
from experiments.tracking.declare import CHOICE, NOTHING, Option, names_that_decide, renamed, with_defaults

MOST = 10**9  # of anything that is counted


def _in(module: str, table: str) -> OneOf:
    """The names in a table of a module that is imported only when one of them is asked for."""
    return OneOf(lambda: getattr(import_module(module), table))


LOOP: dict[str, Option] = {
    "dataset": Option("phantom", "what to learn from, see `print_named_configs`; phantom is built in"),
    "dataset_options": Option(
        {}, "options of the dataset, e.g. dataset_options.n_pool=100 of phantom; {} clears a preset's"
    ),
    "dataset_title": Option(
        "", "what figures and reports call the dataset; empty for its name, or that of your folder", decides=NOTHING
    ),
    "data_root": Option("", "folder of the datasets; empty for $ALIQUOT_DATA, else data/raw", decides=NOTHING),
    "run": Option(
        0,
        "number of the repetition: same run, other heuristic: same splits, first labels and weights",
        Between(0, 2**31),
    ),
    "seed": Option(0, "of all randomness; follows run unless it is typed", Between(0, 2**31)),
    # what is labelled
    "heuristic": Option("random", "query strategy, see `python -m heuristics`", decides=CHOICE),
    "heuristic_options": Option({}, "options of the heuristic, e.g. heuristic_options.metric=cosine", decides=CHOICE),
    "n_initial": Option(4, "labelled images to start with", Between(1, MOST), CHOICE),
    "initial": Option(
        "random",
        "how they are drawn: random | kmeans, typiclust (on untrained features) | stratified (of each group equally many: where the group "
        "is the class itself, as in classify.py and detect.py, an oracle's start)",
        _in("heuristics.core.initial", "INITIAL"),
        CHOICE,
    ),
    "n_query": Option(6, "images labelled in each cycle", Between(1, MOST), CHOICE),
    "n_cycles": Option(6, "times that images are labelled; models trained: one more", Between(0, 10**6), CHOICE),
    "n_val": Option(
        0,
        "images held out of the pool for choosing the best weights; they are labels too. 0 trains to the last step",
        Between(0, MOST),
    ),
    "split_seed": Option(
        -1, "fixes the division into pool and validation for all runs; -1 divides anew for each run", Between(-1, 2**31)
    ),
    "splits_dir": Option("", "folder with train.csv, val.csv, test.csv (made by the command `splits`) to use instead"),
    "pool_subset": Option(
        0, "score a random subset of the pool of this size; 0 for all of it", Between(0, MOST), CHOICE
    ),
    "mc_samples": Option(20, "stochastic passes for scoring", Between(1, 10_000), CHOICE),
    "aggregate": Option(
        "mean",
        "of a map of scores: mean | sum | max | top_fraction | foreground | boundary | edt",
        _in("heuristics.core.aggregating", "AGGREGATIONS"),
        CHOICE,
    ),
    "empty_score": Option(
        0.0,
        "score of an image in which no box was found; 0 is the least that a box can have",
        Between(-MOST, MOST),
        CHOICE,
    ),
    "select": Option(
        "top",
        "top | power | softmax | softrank: the best, or a stochastic batch",
        _in("heuristics.core.selecting", "SELECTIONS"),
        CHOICE,
    ),
    "beta": Option(1.0, "sharpness of a stochastic batch", Between(0, 1e6), CHOICE),
    "balance": Option(
        "none",
        "none | predicted: deal the picks to the predicted classes in turn",
        OneOf(("none", "predicted")),
        CHOICE,
    ),
    "then": Option(
        "none",
        "second stage, on the embeddings of the highest scores: none | kmeans | coreset | representative",
        _in("heuristics.core.two_stage", "SECOND"),
        CHOICE,
    ),
    "candidates": Option(4, "how many times n_query the second stage chooses from", Between(1, 10**6), CHOICE),
    "query_batch_size": Option(16, "images scored at once", Between(1, 10**6), CHOICE),
    "memory_limit": Option(4.0, "GB that evidence over the whole pool may take", Between(0, 1e6), NOTHING),
    # how it is learnt
    "start": Option(
        "cold", "cold: new weights each cycle | warm: the weights of the cycle before", OneOf(("cold", "warm")), CHOICE
    ),
    "steps": Option(
        150, "optimiser steps of each training; 0 for epochs x repeats over the labelled set instead", Between(0, MOST)
    ),
    "epochs": Option(0, "epochs of each training, when steps=0", Between(0, 10**6)),
    "repeats": Option(1, "passes over the labelled set that make an epoch", Between(1, 10**6)),
    "batch_size": Option(8, "images in a training step", Between(1, 10**6)),
    "optimizer": Option("adamw", "sgd | adamw", _in("experiments.learning.recipe", "OPTIMIZERS")),
    "lr": Option(0.002, "learning rate", Between(0, 1e3)),
    "momentum": Option(0.9, "of sgd, nesterov", Between(0, 1)),
    "weight_decay": Option(0.0001, "of either optimiser", Between(0, 1e3)),
    "schedule": Option("cosine", "none | step | cosine", _in("experiments.learning.recipe", "SCHEDULES")),
    "lr_step_at": Option(
        0.667, "share of the training after which schedule=step drops the rate to a tenth", Between(0, 1)
    ),
    "warmup": Option(0, "steps of linear warm-up", Between(0, MOST)),
    "clip": Option(0.0, "largest norm of the gradient; 0 for none", Between(0, MOST)),
    "val_every": Option(20, "steps between validations, when n_val > 0", Between(1, MOST)),
    "patience": Option(0, "validations without a better value before training stops; 0 for never", Between(0, MOST)),
    # where and how it runs
    "device": Option("auto", "auto | cpu | cuda | cuda:1 | mps", decides=NOTHING),
    "precision": Option(
        "auto",
        "auto | float32 | bfloat16 | float16 (mixed); auto takes bfloat16 where the device computes it fast, and the run says which",
        OneOf(("auto", "float32", "bfloat16", "float16")),
    ),
    "channels_last": Option(True, "memory layout that convolutions prefer"),
    "workers": Option(
        0, "threads that prepare training batches; does not change the result", Between(0, 1024), NOTHING
    ),
    "resume": Option(
        "auto",
        "auto: continue where a killed run stopped | fresh: start anew | force: continue although the code changed",
        OneOf(("auto", "fresh", "force")),
        NOTHING,
    ),
    "save_every": Option(60.0, "seconds between saves of unfinished training", Between(0, MOST), NOTHING),
    "keep_models": Option(False, "keep the model of every cycle, not just the last", decides=NOTHING),
    "save_maps": Option(False, "a picture of what was picked, each cycle", decides=NOTHING),
    "results_dir": Option(
        "", "also write the main metric per cycle to <results_dir>/<heuristic>_<run>.npy", decides=NOTHING
    ),
    "checkpoint": Option(
        "", "model file for the command `evaluate`; empty for the last one of this run", decides=NOTHING
    ),
    "split": Option(
        "test",
        "part that the command `evaluate` measures: test | val | train",
        OneOf(("test", "val", "train")),
        NOTHING,
    ),
}

_OF_METRICS = "main metric: result, table, validation"
_EVAL = {
    "eval_samples": Option(
        0,
        "stochastic passes averaged for the mc_ metrics on test; 0 tests the deterministic pass only",
        Between(0, 10_000),
    ),
    "eval_batch_size": Option(16, "images tested at once", Between(1, 10**5)),
}

SEGMENT: dict[str, Option] = {
    **LOOP,
    **_EVAL,
    "dataset": Option(
        "phantom",
        "phantom (built in) | glas | dsb2018 | folder (your own: images/ and masks/ below data_root)",
        OneOf(lambda: datasets("segment")),
    ),
    "dataset_options": replace(
        LOOP["dataset_options"],
        formerly={
            "phantom_pool": ("phantom", "n_pool"),
            "phantom_test": ("phantom", "n_test"),
            "num_classes": ("folder", "num_classes"),
        },
    ),
    "scale": Option(1.0, "images are shrunk by this factor when they are decoded", Between(0.01, 1)),
    "metric": Option(
        "dice",
        f"{_OF_METRICS}. Over all test images; those of an official part (dice_testB) and of the MC mean (mc_) stand beside",
    ),
    "model": Option("unet", "network: unet", _in("models.segmenters", "SEGMENTERS")),
    "width": Option(8, "channels of the network at full resolution, doubled at each level", Between(1, 1024)),
    "depth": Option(5, "levels of the network", Between(1, 10)),
    "dropout": Option(0.1, "after each block", Between(0, 0.999)),
    "loss": Option("dice_ce", "dice | ce | dice_ce", OneOf(("dice", "ce", "dice_ce"))),
    "crop": Option(128, "side of the random crops that training sees", Between(8, 4096)),
    "augment": Option(
        "segmentation",
        "of training batches, by name: none | hflip | flips_rot90 | segmentation | ...",
        _in("data.augment.images", "AUGMENTATIONS"),
    ),
    "min_object": Option(
        0, "predicted components of fewer pixels are no objects for the object_ metrics", Between(0, MOST)
    ),
}

CLASSIFY: dict[str, Option] = {
    **with_defaults(LOOP, n_initial=50, n_query=100, steps=800, batch_size=32, lr=0.003, query_batch_size=256),
    **with_defaults(_EVAL, eval_batch_size=256),
    "dataset": Option(
        "phantom",
        "phantom, digits (built in) | nct | isic2020 | pathmnist | ... | folder (your own), see print_named_configs",
        OneOf(lambda: datasets("classify"), NOT_HERE),
    ),
    "image_size": Option(
        0,
        "images are brought to this many pixels a side when they are decoded; 0 leaves them as they are stored",
        Between(0, 4096),
    ),
    "metric": Option("accuracy", f"{_OF_METRICS}. Metrics of the MC mean start with mc_"),
    "model": Option(
        "small_cnn",
        "small_cnn | resnet18_cifar | resnet18 | resnet34 | resnet50 | densenet121 | efficientnet_b0 | vgg16_bn",
        _in("models.classifiers", "NETWORKS"),
    ),
    "weights": Option("random", "random | imagenet (torchvision's) | a file with a state dict"),
    "dropout": Option(0.1, "before the head; in small_cnn also between the convolutions", Between(0, 0.999)),
    "class_weighting": Option(
        "balanced",
        "none | balanced: in the loss, by the inverse frequency among the labelled images",
        OneOf(("none", "balanced")),
    ),
    "label_smoothing": Option(0.0, "share of each training label that is spread over all classes", Between(0, 1)),
    "augment": Option(
        "flips_rot90",
        "of training batches, by name: none | hflip | flips_rot90 | randaugment | dermoscopy | histology | ...",
        _in("data.augment.images", "AUGMENTATIONS"),
    ),
}

DETECT: dict[str, Option] = {
    **with_defaults(
        LOOP, n_initial=10, n_query=60, n_cycles=3, steps=250, lr=0.004, warmup=20, clip=5.0, mc_samples=10
    ),
    "dataset": Option(
        "phantom",
        "phantom (built in) | deeplesion | bccd | busi | coco | voc (your own, below data_root)",
        OneOf(lambda: datasets("detect")),
    ),
    "scale": Option(1.0, "images and boxes are shrunk by this factor when they are decoded", Between(0.01, 1)),
    "metric": Option("froc", f"{_OF_METRICS}. froc is the mean sensitivity at 0.5 to 16 false positives per image"),
    "model": Option(
        "fasterrcnn_small",
        "fasterrcnn_small | fasterrcnn_mobilenet | ..._resnet18 | ..._resnet50 | retinanet_resnet50 | fcos_resnet50",
        _in("models.detectors", "DETECTORS"),
    ),
    "weights": Option("random", "random | imagenet (the trunk) | coco (the whole detector) | a file with a state dict"),
    "anchor_sizes": Option(
        [],
        "sides of the anchors in pixels, one per level of the pyramid; [] for those of the model",
        Numbers(1, 10_000),
    ),
    "anchor_ratios": Option([0.5, 1.0, 2.0], "heights over widths of the anchors", Numbers(0.01, 100)),
    "dropout": Option(0.2, "in the box head, for stochastic passes", Between(0, 0.999)),
    "score_threshold": Option(0.02, "of detections that are kept", Between(0, 0.999)),
    "max_detections": Option(100, "of an image", Between(1, 10_000)),
    "nms": Option(0.5, "overlap above which the less confident of two boxes of a class is dropped", Between(0.01, 1)),
    "augment": Option(
        "flips_rot90",
        "of training images, by name: none | hflip | flips_rot90 | strong",
        _in("data.augment.boxes", "AUGMENTATIONS"),
    ),
    "eval_batch_size": Option(16, "images tested at once", Between(1, 10**5)),
    "aggregate": Option(
        "max",
        "of the scores of an image's boxes: max | mean | min | sum",
        _in("heuristics.core.aggregating", "BOX_AGGREGATIONS"),
        CHOICE,
    ),
    "convention": Option(
        "one_to_one",
        "one_to_one: a box finds one lesion at most | deeplesion: as its published evaluation counts",
        OneOf(("one_to_one", "deeplesion")),
    ),
    "criterion": Option(
        "iou", "what hits a lesion: iou | centre (of the detection within its box)", OneOf(("iou", "centre"))
    ),
    "iou": Option(0.5, "least overlap of a hit", Between(0.01, 1)),
    "second_hit": Option(
        "ignored",
        "a second detection of a lesion: ignored | false (counts as a false positive)",
        OneOf(("ignored", "false")),
    ),
    "by_class": Option(True, "a hit must have the right class"),
    "size_edges": Option(
        [32, 96],
        "sides in pixels at which small lesions end and large ones begin, for sensitivity by size",
        Numbers(0.001, 1e6, count=2, rising=True),
    ),
    "pseudo_labels": Option(False, "confident detections on the unlabelled pool join training"),
    "teacher": Option(
        "previous",
        "who labels: previous (the model of the cycle before, once a cycle) | ema (a mean teacher, at every step)",
        OneOf(("previous", "ema")),
    ),
    "pseudo_threshold": Option(0.8, "least score of a pseudo-label", Between(0, 1)),
    "pseudo_thresholds": Option({}, "the same for single classes, e.g. pseudo_thresholds.WBC=0.9"),
    "pseudo_adaptive": Option(
        False, "lower the threshold of a class until it is as frequent as among the labelled images"
    ),
    "pseudo_weight": Option(0.5, "of the loss on pseudo-labelled images", Between(0, 1e3)),
    "ema_decay": Option(0.99, "of the mean teacher", Between(0, 1)),
    "burn_in": Option(50, "steps before the mean teacher labels", Between(0, MOST)),
}

TABLES = {"segment": SEGMENT, "classify": CLASSIFY, "detect": DETECT}
WHERE = names_that_decide(LOOP, NOTHING)
CHOOSING = names_that_decide(LOOP, CHOICE)
RENAMED = {old: new for table in TABLES.values() for old, new in renamed(table).items()}
