"""Active learning for segmentation.

python experiments/segment.py                                      # histology phantom, random, a few minutes on two cores
python experiments/segment.py with glas_quick heuristic=bald run=3  # real glands, quick
python experiments/segment.py print_named_configs                   # what else there is
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the project, so that `data` is ours wherever this is started from

import numpy as np
import torch
from sacred import Experiment

from data import segmentation as datasets
from data.augment.images import AUGMENTATIONS, crop_example
from data.store import ROOT, Images
from experiments.commands import add_commands
from experiments.learning.querying import WithoutTargets, equal_size_batches, explain
from experiments.learning.randomness import torch_seeded
from experiments.learning.training import TrainingBatches, autocast
from experiments.loop import Task
from experiments.measures.segmentation import PartScores, trivial_scores
from experiments.pictures.plots import MAX_ROWS, PickedImage, save_picks
from experiments.simulation import asking_of, heuristic_of, recipe_of, splits_of
from experiments.tracking.checkpoints import folder_of
from experiments.tracking.common import device_of, launch, loop_options, preset, validate
from heuristics.core.evidence import from_logits
from models.segmenters import UNet

ex = Experiment("segment", base_dir=ROOT)
ex.config(loop_options)

LOSSES = ("dice", "ce", "dice_ce")
METRICS = ("dice", "dice_pooled", "iou", "object_f1", "object_dice")  # those of which more is better


@ex.config
def segmentation():
    dataset = "phantom"  # phantom (built in) | glas | dsb2018 | folder (your own: images/ and masks/ below data_root)
    phantom_pool = 200  # images of dataset=phantom to choose from
    phantom_test = 100  # images of dataset=phantom to test on
    scale = 1.0  # images are shrunk by this factor when they are decoded
    num_classes = 0  # classes of dataset=folder with the background; 0 finds out
    metric = "dice"  # main metric, over all test parts: result, table, validation. Those of the MC mean start with mc_

    width = 8  # channels of the U-Net at full resolution, doubled at each level
    depth = 5  # levels of the U-Net
    dropout = 0.1  # after each block
    loss = "dice_ce"  # dice | ce | dice_ce
    crop = 128  # side of the random crops that training sees
    augment = "segmentation"  # of training batches, by name: none | hflip | flips_rot90 | segmentation | ...
    eval_batch_size = 16  # images tested at once
    min_object = 0  # predicted components of fewer pixels are no objects for the object_ metrics
    eval_samples = 0  # stochastic passes averaged for the mc_ metrics on test; 0 tests the deterministic pass only


# The published GlaS protocol: 4 images, 2 of each grade, 2 more per cycle, 15 cycles; 60 epochs of 8 repeats, crops of 416,
# SGD 0.1 with a step at 40; tested by averaging 20 stochastic passes. For a GPU. Published reading of random labelling: Dice
# about 0.55 / 0.80 / 0.85 / 0.885 at 5 / 10 / 15 / 20 labels, about 0.91 with all 85. Not run in full here: needs a GPU.
# With test A and test B (80 images) dice is over both; dice_testA, dice_testB, mc_dice_testB stand beside it.
@preset(ex)
def glas():
    dataset = "glas"
    metric = "mc_dice"
    n_initial = 4
    n_query = 2
    n_cycles = 15
    width = 16
    depth = 6
    loss = "ce"
    crop = 416
    steps = 0
    epochs = 60
    repeats = 8
    batch_size = 16
    optimizer = "sgd"
    lr = 0.1
    momentum = 0.9
    weight_decay = 1e-4
    schedule = "step"
    lr_step_at = 2 / 3
    eval_samples = 20
    eval_batch_size = 4
    query_batch_size = 4


# GlaS at a fifth of its size: 4 images, then 5 x 8, 200 steps each. Three minutes on two CPU cores. Mean Dice on test B over runs 0, 1, 3:
# random 0.73 -> 0.78, entropy 0.73 -> 0.79, bald 0.73 -> 0.80 at 4 -> 44 labels; all 85 labels 0.79. That copy
# lacks test A: with test A and B dice is over both, and dice_testB compares with these figures. bfloat16 wants a
# processor that has it (else precision=float32).
@preset(ex)
def glas_quick():
    dataset = "glas"
    scale = 0.2
    crop = 96
    n_initial = 4
    n_query = 8
    n_cycles = 5
    mc_samples = 10
    width = 16
    depth = 5
    steps = 200
    batch_size = 8
    lr = 0.003
    precision = "bfloat16"
    min_object = 20


# Nuclei of very different sizes and stains, at half size.
@preset(ex)
def dsb2018():
    dataset = "dsb2018"
    scale = 0.5
    n_initial = 4
    n_query = 4
    n_cycles = 9
    crop = 128


# Your own images: with folder data_root=/path/to/folder, which holds images/ and masks/ with equal stems.
@preset(ex)
def folder():
    dataset = "folder"


# Seconds, for tests: a poor network on a few phantom images.
@preset(ex)
def tiny():
    n_initial = 4
    n_query = 3
    n_cycles = 2
    phantom_pool = 24
    phantom_test = 8
    steps = 12
    batch_size = 4
    lr = 0.01
    width = 4
    depth = 3
    crop = 64
    mc_samples = 3


def check(options):
    """Refuse what cannot work, before data are loaded."""
    defaults = {name: value for scope in ex.configurations for name, value in scope().items()}
    metrics = [*METRICS, *(f"mc_{m}" for m in METRICS)]
    choices = {"dataset": datasets.LOADERS, "loss": LOSSES, "augment": AUGMENTATIONS, "metric": metrics}
    ranges = {"scale": (0.01, 1), "num_classes": (0, 255), "phantom_pool": (1, 1e6), "phantom_test": (1, 1e6)}
    ranges |= {"width": (1, 1024), "depth": (1, 10), "crop": (8, 1e5)}
    ranges |= {"eval_samples": (0, 1e4), "eval_batch_size": (1, 1e5), "min_object": (0, 1e9)}
    heuristic = validate(options, defaults, choices, ranges)
    if options["metric"].startswith("mc_") and not options["eval_samples"]:
        raise ValueError(f"metric {options['metric']!r} is of the mean of stochastic passes on test: set eval_samples, for example to 20")
    if heuristic.of_boxes:
        raise ValueError(f"heuristic {heuristic.name!r} needs boxes, which a U-Net does not find; for segmentation use one like bald")
    per_image = heuristic.wants - {"embeddings", "labelled_embeddings", "validation_embeddings"}
    if (not heuristic.per_batch and per_image) or "model" in per_image:
        raise ValueError(
            f"heuristic {heuristic.name!r} needs one class per image ({', '.join(sorted(per_image))}) and so cannot take maps; "
            "for segmentation use a score like bald, or one of embeddings alone like coreset"
        )


def make_task(options, images: Images) -> Task:
    """Segmentation as a record of functions."""
    from monai.losses import DiceCELoss, DiceLoss  # a second of import that a refused command line need not wait for

    device, precision = device_of(options["device"]), options["precision"]
    layout = torch.channels_last if options["channels_last"] else torch.contiguous_format
    criterion = {
        "dice": DiceLoss(softmax=True, to_onehot_y=True),
        "ce": lambda logits, masks: torch.nn.functional.cross_entropy(logits, masks[:, 0]),
        "dice_ce": DiceCELoss(softmax=True, to_onehot_y=True),
    }[options["loss"]]

    def make_model():
        sizes = {name: options[name] for name in ("width", "depth", "dropout")}
        return UNet(len(images.classes), images.channels, **sizes).to(device).to(memory_format=layout)  # type: ignore[call-overload]

    def loss(model, batch):
        pictures, masks = batch
        logits = model(pictures.contiguous(memory_format=layout))
        return criterion(logits.float(), masks[:, None])

    def evidence(model, pictures, wanted, mc_samples, masks_seed=0, dtype=torch.float32):
        with autocast(device, precision):
            return from_logits(model, pictures.contiguous(memory_format=layout), wanted, mc_samples, masks_seed, dtype)

    def evaluate(model, test, cycle):
        wanted = {"": "probs"} | ({"mc_": "mc_mean"} if options["eval_samples"] else {})
        scores = {prefix: PartScores(test.parts, test.classes, options["min_object"]) for prefix in wanted}
        model.eval()
        for number, positions in enumerate(equal_size_batches(test.shapes, options["eval_batch_size"])):
            pictures = torch.stack([test.image(int(i)) for i in positions]).to(device)
            with torch.no_grad(), torch_seeded(options["seed"], cycle, "evaluate", number, device=device):
                names, n_passes = frozenset(wanted.values()), options["eval_samples"]
                found = evidence(model, pictures, names, n_passes, dtype=torch.float64)
            for prefix, name in wanted.items():
                for i, labels in zip(positions, found[name].argmax(1).cpu().numpy(), strict=True):
                    part, truth, instances = truth_of(test, int(i))
                    scores[prefix].add(part, labels, truth, instances)
        return {f"{prefix}{name}": value for prefix in wanted for name, value in scores[prefix].summary().items()}

    def trivial(test):
        def truths():
            return (truth_of(test, i) for i in range(len(test)))

        found = trivial_scores(truths, test.classes, options["min_object"])
        prefixes = ("", "mc_") if options["eval_samples"] else ("",)
        return {f"{prefix}{name}": value for prefix in prefixes for name, value in found.items()}

    return Task(make_model, loss, evidence, evaluate, trivial)


def truth_of(test: Images, i):
    """Part, classes and, where the dataset has them, object ids of a test image."""
    instances = test.instances(i) if test.kind == "instance_map" else None
    return str(test.parts[i]), test.target(i).numpy(), instances


def batches_of(options, train: Images):
    """How labelled images become training batches: crops in the dataset, everything else on the device."""
    device = device_of(options["device"])
    augment = AUGMENTATIONS[options["augment"]]

    def draw(i, rng):
        return crop_example(train.raw(i), train.target(i).numpy(), options["crop"], rng)

    def collate(examples):
        pictures, masks = zip(*examples, strict=True)
        return torch.from_numpy(np.stack(pictures)), torch.from_numpy(np.stack(masks))

    def prepared(batch, rng):
        pictures, masks = (part.to(device, non_blocking=True) for part in batch)
        return augment(pictures.permute(0, 3, 1, 2).float() / 255, rng, masks.long())

    def make_batches(labelled, cycle, previous):
        recipe = recipe_of(options, len(labelled))
        return TrainingBatches(draw, labelled, recipe, options["seed"], cycle, collate, prepared, train.names)

    return make_batches


def picture_of_picks(options, task, train: Images):
    """What `save_maps` draws in each cycle: the picked images, their truth, prediction and uncertainty, and all scores."""

    def watch(folder, cycle, model, pool, answer):
        heuristic, asking = heuristic_of(options), asking_of(options)
        picks = pool[answer.chosen[:MAX_ROWS]]
        scores = answer.scores_of_chosen()
        maps = explain(heuristic, task, model, WithoutTargets(train), picks, asking, options["seed"], cycle)
        rows: list[PickedImage] = [
            {
                "name": train.names[i],
                "image": np.array(train.raw(i)),
                "truth": train.target(i).numpy(),
                "prediction": prediction,
                "uncertainty": uncertainty,
                "score": scores[number] if scores else float("nan"),
            }
            for number, (i, (prediction, uncertainty)) in enumerate(zip(picks.tolist(), maps, strict=True))
        ]
        title = f"{options['dataset']}, {heuristic.name}, run {options['run']}: picks of cycle {cycle}"
        pool_scores = answer.scores if answer.scores is not None else []
        return save_picks(folder / "maps" / f"cycle_{cycle:02d}.png", rows, pool_scores, scores, title, train.classes)

    return watch


def load_splits(options):
    """The dataset, divided."""
    images = datasets.load(options["dataset"], folder_of(options["data_root"]), options)
    if "object" in options["metric"] and images.kind != "instance_map":
        without = f"which dataset {images.dataset!r} does not have"
        raise ValueError(f"metric {options['metric']!r} needs instance masks, {without}; use metric=dice")
    return splits_of(images, options)


add_commands(ex, check, load_splits, make_task, batches_of, picture_of_picks)

if __name__ == "__main__":
    launch(ex)
