"""Classification: one class for every image."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn

from data.augment.images import AUGMENTATIONS
from data.files import atomic, folder_of
from data.loading import load as load_images
from data.names import Refused
from data.store import Images
from experiments.learning.batches import TrainingBatches, equal_size_batches, pictures
from experiments.learning.devices import device_of
from experiments.learning.features import feature_batch
from experiments.learning.parallel import shared
from experiments.learning.querying import Selection
from experiments.learning.randomness import MASKS, generator, torch_seeded
from experiments.learning.recipe import Recipe
from experiments.measures.classification import classification_metrics, trivial_metrics
from experiments.measures.table import CLASSIFICATION as METRICS
from experiments.measures.table import by_class, require_metric
from experiments.pictures.class_picks import MAX_THUMBNAILS, Thumbnail, save_gallery
from experiments.tasks.head import fit_of, make_head
from experiments.tasks.logits import LogitEvidence
from experiments.tasks.task import Definition, MakeBatches, Task, Trivial, Watch
from experiments.tasks.unlabelled import BY_STEPS, companion_of, with_unlabelled
from experiments.tasks.weights import require_weights
from experiments.tracking.checkpoints import State
from experiments.tracking.deliver import title_of
from experiments.tracking.head_options import by_head
from experiments.tracking.weights_option import weights_of
from heuristics.core.fitting import OF_IMAGES, Gives
from models.classifiers import make_classifier

Values = Mapping[str, Any]
GIVES = Gives("a classifier", to_scorers=OF_IMAGES, to_selectors=OF_IMAGES)
OF_HEAD = Gives("a head on frozen features", to_scorers=OF_IMAGES - {"images"}, to_selectors=OF_IMAGES - {"images"})


def check(options: Values) -> None:
    """Refuse what no single option shows, before data are loaded."""
    require_metric(options["metric"], METRICS, stochastic=True)
    if options["metric"].startswith("mc_") and not options["eval_samples"]:
        mean = "is of the mean of stochastic passes on test: set eval_samples, for example to 20"
        raise Refused(f"metric {options['metric']!r} {mean}")
    if options["aggregate"] != "mean":
        maps = "is for maps of scores, and a classifier gives none: use aggregate=mean"
        raise Refused(f"aggregate={options['aggregate']} {maps}")
    with torch.device("meta"):
        size = options["image_size"] or None
        make_classifier(options["model"], 2, 3, options["dropout"], image_size=size)
    require_weights(options["weights"], "model", options["model"])
    _check_unlabelled(options)


def load(options: Values) -> Images:
    """The dataset, whose images must have one size."""
    chosen = {"image_size": options["image_size"] or None, **options["dataset_options"]}
    chosen["unlabelled"] = options.get("more_labels")  # of `suggest`, whose images wait for them
    images = load_images("classify", options["dataset"], folder_of(options["data_root"]), **chosen)
    sizes = np.unique(images.shapes, axis=0)
    if len(sizes) > 1:
        (h, w), (tall, wide) = sizes[0], sizes[-1]
        raise Refused(
            f"the images of {options['dataset']!r} have {len(sizes)} sizes, from {h}x{w} to {tall}x{wide}: "
            "bring them to one, for example image_size=128"
        )
    return images


def make_task(options: Values, images: Images) -> Task:
    """Classification as a record of functions."""
    head = options["train"] == "head"
    evidence = LogitEvidence({**options, "precision": "float32"} if head else options)
    look = feature_batch if head else pictures
    device, layout, wanted = evidence.device, evidence.layout, evidence.tested
    require_weights(options["weights"], "model", options["model"], images.channels)
    weights = weights_of(options["weights"])

    def make_model() -> nn.Module:
        if head:
            return make_head(options, images)
        shape = {"num_classes": len(images.classes), "channels": images.channels}
        size = int(images.shapes.min())
        model = make_classifier(options["model"], dropout=options["dropout"], weights=weights, image_size=size, **shape)
        return model.to(device).to(memory_format=layout)  # type: ignore[call-overload]

    def loss(model: nn.Module, batch: Any) -> Tensor:
        batch_pictures, (classes, class_weights) = batch
        logits = model(batch_pictures.contiguous(memory_format=layout)).float()
        smoothing = options["label_smoothing"]
        return nn.functional.cross_entropy(logits, classes, class_weights, label_smoothing=smoothing)

    def evaluate(model: nn.Module, test: Images, cycle: int) -> dict[str, Any]:
        probs, targets = {prefix: [] for prefix in wanted}, []
        model.eval()
        names = frozenset(wanted.values())
        masks_seed = int(generator(options["seed"], cycle, "evaluate", *MASKS).integers(2**62))

        def said(number: int, positions: Int[ndarray, " b"]) -> dict[str, ndarray]:
            batch = look(test, positions, device)
            with torch.no_grad(), torch_seeded(options["seed"], cycle, "evaluate", number, device=device):
                found = evidence(model, batch, names, options["eval_samples"], masks_seed, torch.float64)
            return {prefix: found[name].cpu().numpy() for prefix, name in wanted.items()}

        batches = list(equal_size_batches(test.shapes, options["eval_batch_size"]))
        for positions, found in zip(batches, shared(said, batches), strict=True):
            for prefix in wanted:
                probs[prefix].append(found[prefix])
            targets += [int(test.target(int(i))) for i in positions]
        truth, measured = np.array(targets), {}
        for prefix, parts in probs.items():
            row = classification_metrics(np.concatenate(parts), truth)
            row |= by_class("accuracy", test.classes, row.pop("per_class_accuracy"))
            measured |= {f"{prefix}{name}": value for name, value in row.items()}
        return measured

    def trivial(test: Images) -> Trivial:
        targets = np.array([int(test.target(i)) for i in range(len(test))])
        words = f"always {test.classes[np.bincount(targets).argmax()]}"
        metrics = trivial_metrics(targets, len(test.classes))
        return {f"{prefix}{name}": (value, words) for prefix in wanted for name, value in metrics.items()}

    of_proxy = {**options, "train": "head", "proxy": "none", "unlabelled": "none"}
    proxy = make_task(of_proxy, images) if options["proxy"] == "head" else None
    fit = fit_of(options, images, partial(_weights_of, options, images)) if head else None
    task = Task(make_model, loss, evidence, evaluate, trivial, look=look, fit=fit, proxy=proxy)
    return with_unlabelled(task, options, images)


def make_batches(options: Values, train: Images) -> MakeBatches:
    """How labelled images become training batches: stacked as they are stored, everything else on the device."""
    device, augment = device_of(options["device"]), AUGMENTATIONS[options["augment"]]

    def draw(i: int, rng: np.random.Generator) -> tuple[ndarray, int]:
        return train.raw(i), int(train.target(i))

    def draw_unlabelled(i: int, rng: np.random.Generator) -> ndarray:
        return train.raw(i)

    def collate(examples: list) -> tuple[Tensor, Tensor]:
        raw, classes = zip(*examples, strict=True)
        return torch.from_numpy(np.stack(raw)), torch.tensor(classes)

    def of_cycle(labelled: Int[ndarray, " l"], cycle: int, previous: nn.Module | None) -> TrainingBatches:
        weights = _weights_of(options, train, labelled)
        weights = weights if weights is None else weights.to(device)

        def prepare(batch: Any, rng: np.random.Generator) -> Any:
            raw, classes = (part.to(device, non_blocking=True) for part in batch)
            return augment(raw.permute(0, 3, 1, 2).float() / 255, rng)[0], (classes, weights)

        recipe, seed = Recipe.of(options, len(labelled)), options["seed"]
        companion = companion_of(options, train, labelled, draw_unlabelled, augment)
        return TrainingBatches(draw, collate, prepare, labelled, recipe, seed, cycle, train.names, companion=companion)

    return of_cycle


def _weights_of(options: Values, train: Images, labelled: Int[ndarray, " l"]) -> Float[Tensor, " c"] | None:
    """Weight of each class in the loss, or None where all count the same."""
    return class_weights_of(train, labelled) if options["class_weighting"] == "balanced" else None


def class_weights_of(train: Images, labelled: Int[ndarray, " l"]) -> Float[Tensor, " c"]:
    """Weight of each class: L / (present classes x its images), which is 1 on average over the images; 0 if absent."""
    counts = np.bincount([int(train.target(int(i))) for i in labelled], minlength=len(train.classes))
    weights = np.where(counts, len(labelled) / (np.count_nonzero(counts) * np.maximum(counts, 1)), 0)
    return torch.from_numpy(weights).float()


def _check_unlabelled(options: Values) -> None:
    """Refuse a way of learning without labels that does not fit what learns."""
    way, head = options["unlabelled"], options["train"] == "head"
    if way == "label_spreading" and not head:
        raise Refused("unlabelled=label_spreading spreads labels over frozen features: set train=head, or use fixmatch")
    if way == "label_spreading" and options["head_hidden"]:
        raise Refused(f"unlabelled=label_spreading fits a linear head: head_hidden={options['head_hidden']} must be 0")
    if way in BY_STEPS and head:
        steps = "joins the steps of a network, and train=head has none: use unlabelled=label_spreading"
        raise Refused(f"unlabelled={way} {steps}")


def draw_picks(options: Values, task: Task, train: Images) -> Watch:
    """What `save_maps` draws in each cycle: the picked images with their prediction, and all scores."""

    def watch(folder: Path, cycle: int, model: nn.Module, pool: Int[ndarray, " n"], selection: Selection) -> Path:
        picks, names = pool[selection.chosen], train.names
        scores = selection.scores_of_chosen()
        drawn = picks[:MAX_THUMBNAILS]
        batch = task.look(train, drawn, next(model.parameters()).device)
        with torch.no_grad():
            found = task.evidence(model, batch, frozenset({"probs"}), 0, 0)["probs"]
            probabilities, predicted = found.cpu().max(1)
        thumbnails: list[Thumbnail] = [
            {
                "name": names[i],
                "image": np.array(train.raw(i)),
                "truth": train.classes[int(train.target(i))],
                "predicted": train.classes[likeliest],
                "probability": probability,
                "score": scores[number] if scores else float("nan"),
            }
            for number, (i, probability, likeliest) in enumerate(
                zip(drawn.tolist(), probabilities.tolist(), predicted.tolist(), strict=True)
            )
        ]
        title = f"{title_of(options, oracle(options))}: picks of cycle {cycle}"
        pool_scores = selection.scores if selection.scores is not None else []
        file = folder / "maps" / f"cycle_{cycle:02d}.png"
        return save_gallery(file, thumbnails, len(picks), pool_scores, scores, title)

    return watch


def more_files(state: State, folder: Path, options: Values, test: Images) -> list[Path]:
    """Write confusion.csv: how often the last model took test images of each class (rows) for each class (columns)."""
    name = "mc_confusion" if options["metric"].startswith("mc_") else "confusion"
    if name not in state.curve[-1]:  # a run that older code finished
        return []
    with atomic(folder / "confusion.csv") as temporary, open(temporary, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["truth", *test.classes])
        table.writerows([truth, *row] for truth, row in zip(test.classes, state.curve[-1][name], strict=True))
    return [folder / "confusion.csv"]


def gives(options: Values) -> Gives:
    """What strategies get: a head on frozen features sees no pixels."""
    return OF_HEAD if by_head(options) else GIVES


def oracle(options: Values) -> bool:
    """Whether the first labels know the classes: the strata are the classes themselves."""
    return options["initial"] == "stratified"


TASK = Definition(check, gives, load, make_task, make_batches, draw_picks, more_files, oracle)
