"""Active learning for classification.

python experiments/classify.py                                          # tissue phantom, random, about a minute on two cores
python experiments/classify.py with pneumonia_quick heuristic=badge run=3  # real radiographs, quick
python experiments/classify.py print_named_configs                       # what else there is
"""

import csv
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the project, so that `data` is ours wherever this is started from

import numpy as np
import torch
from sacred import Experiment

from data import classification as datasets
from data.augment.images import AUGMENTATIONS
from data.store import ROOT, Images
from experiments.classification_presets import PRESETS
from experiments.commands import add_commands, add_presets
from experiments.learning.querying import equal_size_batches
from experiments.learning.randomness import torch_seeded
from experiments.learning.training import TrainingBatches, autocast
from experiments.loop import Task
from experiments.measures.classification import classification_metrics, trivial_metrics
from experiments.measures.table import by_class
from experiments.pictures.gallery import MAX_THUMBNAILS, Thumbnail, save_gallery
from experiments.simulation import recipe_of, splits_of
from experiments.tracking.checkpoints import atomic, folder_of
from experiments.tracking.common import device_of, launch, loop_options, under_root, validate
from heuristics.core.evidence import from_logits
from models.classifiers import NETWORKS, make_classifier

ex = Experiment("classify", base_dir=ROOT)
ex.config(loop_options)

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auroc", "worst_class_accuracy")  # those of which more is better
WEIGHTS = ("random", "imagenet")


@ex.config
def classification():
    dataset = "phantom"  # phantom, digits (built in) | nct | isic2020 | pathmnist | ... | folder (your own), see print_named_configs
    dataset_options = {}  # options of the dataset, e.g. dataset_options.repeat=4 of digits
    image_size = 0  # images are brought to this many pixels a side when they are decoded; 0 leaves them as they are stored
    metric = "accuracy"  # main metric: result, table, validation. Metrics of the MC mean start with mc_

    model = "small_cnn"  # small_cnn | resnet18_cifar | resnet18 | resnet34 | resnet50 | densenet121 | efficientnet_b0 | vgg16_bn
    weights = "random"  # random | imagenet (torchvision's) | a file with a state dict
    dropout = 0.1  # before the head; in small_cnn also between the convolutions
    class_weighting = "balanced"  # none | balanced: in the loss, by the inverse frequency among the labelled images
    label_smoothing = 0.0  # share of each training label that is spread over all classes
    augment = "flips_rot90"  # of training batches, by name: none | hflip | flips_rot90 | randaugment | dermoscopy | histology | ...
    eval_batch_size = 256  # images tested at once
    eval_samples = 0  # stochastic passes averaged for the mc_ metrics on test; 0 tests the deterministic pass only

    n_initial = 50  # labelled images to start with
    n_query = 100  # images labelled in each cycle
    n_cycles = 6  # times that images are labelled; models trained: one more
    steps = 800  # optimiser steps of each training; 0 for epochs x repeats over the labelled set instead
    batch_size = 32  # images in a training step
    lr = 0.003  # learning rate
    query_batch_size = 256  # images scored at once


add_presets(ex, PRESETS)


def check(options):
    """Refuse what cannot work, before data are loaded."""
    defaults = {name: value for scope in ex.configurations for name, value in scope().items()}
    metrics = [*METRICS, *(f"mc_{m}" for m in METRICS)]
    choices = {"model": NETWORKS, "augment": AUGMENTATIONS, "metric": metrics, "class_weighting": ("none", "balanced")}
    ranges = {"image_size": (0, 4096), "label_smoothing": (0, 1), "eval_samples": (0, 1e4), "eval_batch_size": (1, 1e5)}
    heuristic = validate(options, defaults, choices, ranges)
    if options["metric"].startswith("mc_") and not options["eval_samples"]:
        raise ValueError(f"metric {options['metric']!r} is of the mean of stochastic passes on test: set eval_samples, for example to 20")
    if options["aggregate"] != "mean":
        raise ValueError(f"aggregate={options['aggregate']} is for maps of scores, and a classifier gives none: use aggregate=mean")
    if heuristic.of_boxes:
        raise ValueError(f"heuristic {heuristic.name!r} needs boxes, which a classifier does not find; use one like margin or badge")
    datasets.check(options["dataset"], options["image_size"] or None, **options["dataset_options"])
    _check_network(options)


def _check_network(options):
    """Whether the network exists for images of this size and its weights can be had."""
    with torch.device("meta"):
        make_classifier(options["model"], 2, 3, options["dropout"], image_size=options["image_size"] or None)
    published = [name for name, network in NETWORKS.items() if network.published]
    if options["weights"] == "imagenet" and options["model"] not in published:
        raise ValueError(f"there are no ImageNet weights for {options['model']!r}: use weights=random, or one of {', '.join(published)}")
    file = under_root(options["weights"])
    if options["weights"] not in WEIGHTS and not file.is_file():
        raise FileNotFoundError(f"weights={options['weights']!r} is neither random nor imagenet, and there is no file {file}")


def make_task(options, images: Images) -> Task:
    """Classification as a record of functions."""
    device, precision = device_of(options["device"]), options["precision"]
    layout = torch.channels_last if options["channels_last"] else torch.contiguous_format
    weights = options["weights"] if options["weights"] in WEIGHTS else under_root(options["weights"])

    def make_model():
        shape = {"num_classes": len(images.classes), "channels": images.channels, "image_size": int(images.shapes.min())}
        model = make_classifier(options["model"], dropout=options["dropout"], weights=weights, **shape)
        return model.to(device).to(memory_format=layout)  # type: ignore[call-overload]

    def loss(model, batch):
        pictures, (classes, class_weights) = batch
        logits = model(pictures.contiguous(memory_format=layout))
        smoothing = options["label_smoothing"]
        return torch.nn.functional.cross_entropy(logits.float(), classes, class_weights, label_smoothing=smoothing)

    def evidence(model, pictures, wanted, mc_samples, masks_seed=0, dtype=torch.float32):
        with autocast(device, precision):
            return from_logits(model, pictures.contiguous(memory_format=layout), wanted, mc_samples, masks_seed, dtype)

    def evaluate(model, test, cycle):
        wanted = {"": "probs"} | ({"mc_": "mc_mean"} if options["eval_samples"] else {})
        probs, targets = {prefix: [] for prefix in wanted}, []
        model.eval()
        for number, positions in enumerate(equal_size_batches(test.shapes, options["eval_batch_size"])):
            pictures = torch.stack([test.image(int(i)) for i in positions]).to(device)
            with torch.no_grad(), torch_seeded(options["seed"], cycle, "evaluate", number, device=device):
                names, n_passes = frozenset(wanted.values()), options["eval_samples"]
                found = evidence(model, pictures, names, n_passes, dtype=torch.float64)
            for prefix, name in wanted.items():
                probs[prefix].append(found[name].cpu().numpy())
            targets += [int(test.target(int(i))) for i in positions]
        rows = {prefix: classification_metrics(np.concatenate(parts), np.array(targets)) for prefix, parts in probs.items()}
        for row in rows.values():
            row |= by_class("accuracy", test.classes, row.pop("per_class_accuracy"))
        return {f"{prefix}{name}": value for prefix, row in rows.items() for name, value in row.items()}

    def trivial(test):
        targets = np.array([int(test.target(i)) for i in range(len(test))])
        words = f"always {test.classes[np.bincount(targets).argmax()]}"
        prefixes = ("", "mc_") if options["eval_samples"] else ("",)
        metrics = trivial_metrics(targets, len(test.classes))
        return {f"{prefix}{name}": (value, words) for prefix in prefixes for name, value in metrics.items()}

    return Task(make_model, loss, evidence, evaluate, trivial)


def batches_of(options, train: Images):
    """How labelled images become training batches: stacked as they are stored, everything else on the device."""
    device = device_of(options["device"])
    augment = AUGMENTATIONS[options["augment"]]

    def draw(i, rng):
        return train.raw(i), int(train.target(i))

    def collate(examples):
        pictures, classes = zip(*examples, strict=True)
        return torch.from_numpy(np.stack(pictures)), torch.tensor(classes)

    def make_batches(labelled, cycle, previous):
        weights = class_weights_of(train, labelled).to(device) if options["class_weighting"] == "balanced" else None

        def prepared(batch, rng):
            pictures, classes = (part.to(device, non_blocking=True) for part in batch)
            return augment(pictures.permute(0, 3, 1, 2).float() / 255, rng)[0], (classes, weights)

        return TrainingBatches(draw, labelled, recipe_of(options, len(labelled)), options["seed"], cycle, collate, prepared, train.names)

    return make_batches


def class_weights_of(train: Images, labelled):
    """Weight of each class (C,): L / (present classes x its images), so that the mean over the images is 1; 0 for an absent one."""
    counts = np.bincount([int(train.target(int(i))) for i in labelled], minlength=len(train.classes))
    weights = np.where(counts, len(labelled) / (np.count_nonzero(counts) * np.maximum(counts, 1)), 0)
    return torch.from_numpy(weights).float()


def picture_of_picks(options, task, train: Images):
    """What `save_maps` draws in each cycle: the picked images with their prediction, and all scores."""

    def watch(folder, cycle, model, pool, answer):
        picks = pool[answer.chosen]
        scores = answer.scores_of_chosen()
        pictures = torch.stack([train.image(i) for i in picks[:MAX_THUMBNAILS]]).to(next(model.parameters()).device)
        with torch.no_grad():
            probabilities, predicted = task.evidence(model, pictures, frozenset({"probs"}), 0, 0)["probs"].cpu().max(1)
        drawn = zip(picks[:MAX_THUMBNAILS].tolist(), probabilities.tolist(), predicted.tolist(), strict=True)
        names = train.names
        thumbnails: list[Thumbnail] = [
            {
                "name": names[i],
                "image": np.array(train.raw(i)),
                "truth": train.classes[int(train.target(i))],
                "predicted": train.classes[likeliest],
                "probability": probability,
                "score": scores[number] if scores else float("nan"),
            }
            for number, (i, probability, likeliest) in enumerate(drawn)
        ]
        title = f"{options['dataset']}, {options['heuristic']}, run {options['run']}: picks of cycle {cycle}"
        pool_scores = answer.scores if answer.scores is not None else []
        return save_gallery(folder / "maps" / f"cycle_{cycle:02d}.png", thumbnails, len(picks), pool_scores, scores, title)

    return watch


def confusion_file(state, folder, options, test: Images):
    """Write confusion.csv: how often the last model took test images of each class (rows) for each class (columns)."""
    name = "mc_confusion" if options["metric"].startswith("mc_") else "confusion"
    if name not in state.curve[-1]:  # a run that older code finished
        return []
    with atomic(folder / "confusion.csv") as temporary, open(temporary, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["truth", *test.classes])
        table.writerows([truth, *row] for truth, row in zip(test.classes, state.curve[-1][name], strict=True))
    return [folder / "confusion.csv"]


def load_splits(options):
    """The dataset, divided."""
    images = datasets.load(options["dataset"], folder_of(options["data_root"]), options["image_size"] or None, **options["dataset_options"])
    sizes = np.unique(images.shapes, axis=0)
    if len(sizes) > 1:
        (h, w), (tall, wide) = sizes[0], sizes[-1]
        raise ValueError(
            f"the images of {options['dataset']!r} have {len(sizes)} sizes, from {h}x{w} to {tall}x{wide}: "
            "bring them to one, for example image_size=128"
        )
    return splits_of(images, options)


add_commands(ex, check, load_splits, make_task, batches_of, picture_of_picks, confusion_file)

if __name__ == "__main__":
    launch(ex)
