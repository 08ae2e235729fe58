"""Every option of the three scripts: those of the loop, and beside them those of each task."""

from __future__ import annotations

from dataclasses import replace

from data.catalogue import NOT_HERE
from data.catalogue import names as datasets
from data.limits import Between, Numbers, OneOf
from experiments.tracking.declare import CHOICE, NOTHING, Option, names_that_decide, renamed, suitable, with_defaults
from experiments.tracking.head_options import FROZEN, HEAD
from experiments.tracking.loop_options import LOOP, MOST, in_table
from experiments.tracking.unlabelled_options import unlabelled

_OF_METRICS = "main metric: result, table, validation"
_EVAL = {
    "eval_samples": Option(
        0,
        "stochastic passes averaged for the mc_ metrics on test; 0 tests the deterministic pass only",
        Between(0, 10_000),
    ),
    "eval_batch_size": Option(16, "images tested at once", Between(1, 10**5)),
}

# Content, not path: what is in the file of weights decides the result.
_DIGEST = Option("", "of the content of the file that `weights` names; filled in")

SEGMENT: dict[str, Option] = {
    **LOOP,
    **_EVAL,
    **FROZEN,
    **unlabelled("segment", "ramp_up"),
    "dataset": Option(
        "phantom",
        "phantom, heart_phantom (built in) | glas | dsb2018 | acdc | folder (your own: images/ and masks/)",
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
        f"{_OF_METRICS}. Over all test images; those of an official part (dice_testB) and of the MC mean (mc_) stand "
        "beside",
    ),
    "model": Option("unet", "network: unet", in_table("models.segmenters", "SEGMENTERS")),
    "encoder": Option(
        "none",
        "of unet: none (plain) | resnet18 | resnet34 | resnet50 | resnet18_cifar | efficientnet_lite0 | timm:<name>",
        in_table("models.encoders", "ENCODERS", "timm:"),
    ),
    "weights": Option("random", "of the encoder: random | imagenet | a file with a state dict | simsiam:<run>"),
    "weights_digest": _DIGEST,
    "width": Option(8, "channels of the network at full resolution, doubled at each level", Between(1, 1024)),
    "depth": Option(5, "levels of the plain network; an encoder has its own", Between(1, 10)),
    "dropout": Option(0.1, "after each block", Between(0, 0.999)),
    "loss": Option(
        "dice_ce",
        "dice | ce | dice_ce | batch_dice_ce (Dice of a whole batch: where images lack classes)",
        OneOf(("dice", "ce", "dice_ce", "batch_dice_ce")),
    ),
    "crop": Option(128, "side of the random crops that training sees", Between(8, 4096)),
    "augment": Option(
        "segmentation",
        "of training batches, by name: none | hflip | flips_rot90 | segmentation | ...",
        in_table("data.augment.images", "AUGMENTATIONS"),
    ),
    "min_object": Option(
        0, "predicted components of fewer pixels are no objects for the object_ metrics", Between(0, MOST)
    ),
}

CLASSIFY: dict[str, Option] = {
    **with_defaults(LOOP, n_initial=50, n_query=100, steps=800, batch_size=32, lr=0.003, query_batch_size=256),
    **with_defaults(_EVAL, eval_batch_size=256),
    **FROZEN,
    **HEAD,
    **with_defaults(unlabelled("classify", "pseudo_threshold", "ramp_up"), mu=7, ramp_up=200),
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
        "small_cnn | resnet10_narrow | resnet18_cifar | resnet18 | resnet34 | resnet50 | densenet121 | "
        "efficientnet_b0 | efficientnet_lite0 | vgg16_bn | timm:<name>",
        in_table("models.networks", "NETWORKS", "timm:"),
    ),
    "weights": Option(
        "random", "random | imagenet (those published for the model) | a file with a state dict | simsiam:<run>"
    ),
    "weights_digest": _DIGEST,
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
        in_table("data.augment.images", "AUGMENTATIONS"),
    ),
}

DETECT: dict[str, Option] = {
    **with_defaults(
        LOOP, n_initial=10, n_query=60, n_cycles=3, steps=250, lr=0.004, warmup=20, clip=5.0, mc_samples=10
    ),
    **FROZEN,
    **with_defaults(unlabelled("detect"), pseudo_weight=0.5),
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
        in_table("models.detectors", "DETECTORS"),
    ),
    "weights": Option(
        "random",
        "random | imagenet (the trunk) | coco (the whole detector) | a file with a state dict | simsiam:<run>",
    ),
    "weights_digest": _DIGEST,
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
        in_table("data.augment.boxes", "AUGMENTATIONS"),
    ),
    "eval_batch_size": Option(16, "images tested at once", Between(1, 10**5)),
    "aggregate": Option(
        "max",
        "of the scores of an image's boxes: max | mean | min | sum",
        in_table("heuristics.core.aggregating", "BOX_AGGREGATIONS"),
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
    "pseudo_threshold": Option(0.8, "least score of a pseudo-label", Between(0, 1)),
    "pseudo_thresholds": Option({}, "the same for single classes, e.g. pseudo_thresholds.WBC=0.9"),
    "pseudo_adaptive": Option(
        False, "lower the threshold of a class until it is as frequent as among the labelled images"
    ),
    "burn_in": Option(50, "steps before the mean teacher labels", Between(0, MOST)),
}

# What may be taken from the user's own data, see `suited`.
_EACH = ("steps", "batch_size", "lr", "n_initial", "n_query", "n_cycles", "pool_subset")
SUITABLE = {
    "segment": ("scale", "crop", "width", *_EACH),
    "classify": ("image_size", "model", "metric", *_EACH),
    "detect": ("scale", "model", *_EACH),
}
TABLES = {
    task: suitable(table, *SUITABLE[task])
    for task, table in {"segment": SEGMENT, "classify": CLASSIFY, "detect": DETECT}.items()
}
WHERE = names_that_decide(LOOP, NOTHING)
CHOOSING = names_that_decide(LOOP, CHOICE)
RENAMED = {old: new for table in TABLES.values() for old, new in renamed(table).items()}
