"""Segmentation: a class for every pixel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray
from torch import Tensor, nn

from data.augment.images import AUGMENTATIONS, crop_example
from data.files import folder_of
from data.formats.masks import IGNORED
from data.loading import load as load_images
from data.names import Refused
from data.store import Images
from experiments.learning.batches import TrainingBatches, WithoutTargets, equal_size_batches, pictures
from experiments.learning.devices import device_of
from experiments.learning.evidence import ModelEvidence
from experiments.learning.parallel import shared
from experiments.learning.querying import Selection, explain
from experiments.learning.randomness import torch_seeded
from experiments.learning.recipe import Recipe
from experiments.measures.segmentation import PartScores, Truth, trivial_scores
from experiments.measures.table import SEGMENTATION as METRICS
from experiments.measures.table import require_metric
from experiments.measures.volumes import VolumeScores, trivial_volumes
from experiments.pictures.mask_picks import MAX_ROWS, PickedImage, save_picks
from experiments.tasks.logits import LogitEvidence
from experiments.tasks.task import Definition, MakeBatches, Task, Trivial, Watch
from experiments.tasks.unlabelled import companion_of, with_unlabelled
from experiments.tasks.weights import require_weights
from experiments.tracking.deliver import title_of
from experiments.tracking.weights_option import weights_of
from heuristics import get as get_heuristic
from heuristics.core.evidence import likeliest
from heuristics.core.fitting import EMBEDDINGS, OF_MAPS, Gives
from models.segmenters import make_segmenter

Values = Mapping[str, Any]
# A map has no single class, so that strategies that see the whole pool get embeddings alone.
GIVES = Gives("a segmenter", to_scorers=OF_MAPS, to_selectors=EMBEDDINGS)


def check(options: Values) -> None:
    """Refuse what no single option shows, before data are loaded."""
    require_metric(options["metric"], METRICS, stochastic=True)
    if options["metric"].startswith("mc_") and not options["eval_samples"]:
        mean = "is of the mean of stochastic passes on test: set eval_samples, for example to 20"
        raise Refused(f"metric {options['metric']!r} {mean}")
    encoder, weights = options["encoder"], options["weights"]
    if weights != "random" and encoder == "none":
        raise Refused(f"weights={weights} are for an encoder: set encoder=resnet18, for example, or use weights=random")
    if encoder != "none":
        with torch.device("meta"):
            make_segmenter(options["model"], 2, 3, encoder=encoder)
        require_weights(weights, "encoder", encoder)
    if options["aggregate"] != "mean" and get_heuristic(options["heuristic"], **options["heuristic_options"]).chooser:
        own = f"heuristic {options['heuristic']!r} has means of its own over space, use aggregate=mean"
        raise Refused(f"aggregate={options['aggregate']} would change nothing: {own}")


def load(options: Values) -> Images:
    """The dataset."""
    chosen = {"scale": options["scale"], **options["dataset_options"]}
    chosen["unlabelled"] = options.get("more_labels")  # of `suggest`, whose images wait for them
    images = load_images("segment", options["dataset"], folder_of(options["data_root"]), **chosen)
    if "object" in options["metric"] and images.kind != "instance_map":
        without = f"which dataset {images.dataset!r} does not have"
        raise Refused(f"metric {options['metric']!r} needs instance masks, {without}; use metric=dice")
    if "volume" in options["metric"] and not (images.volumes != "").any():
        without = f"which dataset {images.dataset!r} does not have"
        raise Refused(f"metric {options['metric']!r} needs volumes, {without}; use metric=dice")
    return images


def make_task(options: Values, images: Images) -> Task:
    """Segmentation as a record of functions."""
    evidence = LogitEvidence(options)
    device, layout, wanted = evidence.device, evidence.layout, evidence.tested
    criterion = _criterion(options["loss"], ignoring=options["dataset_options"].get("ignore", -1) >= 0)

    if options["encoder"] != "none":
        require_weights(options["weights"], "encoder", options["encoder"], images.channels)
    weights = weights_of(options["weights"])

    def make_model() -> nn.Module:
        shape = {name: options[name] for name in ("width", "depth", "dropout", "encoder")}
        model = make_segmenter(options["model"], len(images.classes), images.channels, weights=weights, **shape)
        return model.to(device).to(memory_format=layout)  # type: ignore[call-overload]

    def loss(model: nn.Module, batch: Any) -> Tensor:
        batch_pictures, masks = batch
        logits = model(batch_pictures.contiguous(memory_format=layout))
        return criterion(logits.float(), masks[:, None])

    def evaluate(model: nn.Module, test: Images, cycle: int) -> dict[str, Any]:
        scores = {prefix: PartScores(test.parts, test.classes, options["min_object"]) for prefix in wanted}
        volumes = {prefix: VolumeScores(test) for prefix in wanted}
        model.eval()
        names = frozenset(wanted.values())

        def said(number: int, positions: Int[ndarray, " b"]) -> dict[str, Int[ndarray, "b h w"]]:
            batch = pictures(test, positions, device)
            with torch.no_grad(), torch_seeded(options["seed"], cycle, "evaluate", number, device=device):
                found = evidence(model, batch, names, options["eval_samples"], dtype=torch.float64)
            return {prefix: likeliest(found[name]).cpu().numpy() for prefix, name in wanted.items()}

        batches = list(equal_size_batches(test.shapes, options["eval_batch_size"]))
        for positions, found in zip(batches, shared(said, batches), strict=True):
            for prefix in wanted:
                for i, labels in zip(positions, found[prefix], strict=True):
                    part, truth, instances = _truth(test, int(i))
                    scores[prefix].add(part, labels, truth, instances)
                    volumes[prefix].add(int(i), labels, truth)
        found = {prefix: scores[prefix].summary() | volumes[prefix].summary() for prefix in wanted}
        return {f"{prefix}{name}": v for prefix in wanted for name, v in found[prefix].items()}

    def trivial(test: Images) -> Trivial:
        def truths() -> Iterator[Truth]:
            return (_truth(test, i) for i in range(len(test)))

        found = trivial_scores(truths, test.classes, options["min_object"])
        found |= trivial_volumes(test, lambda i: test.target(i).numpy())
        return {f"{prefix}{name}": value for prefix in wanted for name, value in found.items()}

    return with_unlabelled(Task(make_model, loss, evidence, evaluate, trivial), options, images)


def make_batches(options: Values, train: Images) -> MakeBatches:
    """How labelled images become training batches: crops in the dataset, everything else on the device."""
    device, augment = device_of(options["device"]), AUGMENTATIONS[options["augment"]]

    def draw(i: int, rng: np.random.Generator) -> tuple[ndarray, ndarray | None]:
        return crop_example(train.raw(i), train.target(i).numpy(), options["crop"], rng)

    def draw_unlabelled(i: int, rng: np.random.Generator) -> ndarray:
        return crop_example(train.raw(i), None, options["crop"], rng)[0]

    def collate(examples: list) -> tuple[Tensor, Tensor]:
        crops, masks = zip(*examples, strict=True)
        return torch.from_numpy(np.stack(crops)), torch.from_numpy(np.stack(masks))

    def prepare(batch: Any, rng: np.random.Generator) -> Any:
        crops, masks = (part.to(device, non_blocking=True) for part in batch)
        return augment(crops.permute(0, 3, 1, 2).float() / 255, rng, masks.long())

    def of_cycle(labelled: Int[ndarray, " l"], cycle: int, previous: nn.Module | None) -> TrainingBatches:
        recipe, seed = Recipe.of(options, len(labelled)), options["seed"]
        companion = companion_of(options, train, labelled, draw_unlabelled, augment)
        return TrainingBatches(draw, collate, prepare, labelled, recipe, seed, cycle, train.names, companion=companion)

    return of_cycle


def draw_picks(options: Values, task: Task, train: Images) -> Watch:
    """What `save_maps` draws in each cycle: the picks, their truth, prediction and uncertainty, and all scores."""
    heuristic = get_heuristic(options["heuristic"], **options["heuristic_options"])

    def watch(folder: Path, cycle: int, model: nn.Module, pool: Int[ndarray, " n"], selection: Selection) -> Path:
        picks = pool[selection.chosen[:MAX_ROWS]]
        scores = selection.scores_of_chosen()
        sizes = options["mc_samples"], options["query_batch_size"], options["memory_limit"]
        evidence = ModelEvidence(task.evidence, model, *sizes, options["seed"], cycle)
        maps = explain(heuristic, evidence, WithoutTargets(train), picks)
        rows: list[PickedImage] = [
            {
                "name": train.names[i],
                "image": np.array(train.raw(i)),
                "truth": _counted(train.target(i).numpy(), len(train.classes)),
                "prediction": prediction,
                "uncertainty": uncertainty,
                "score": scores[number] if scores else float("nan"),
            }
            for number, (i, (prediction, uncertainty)) in enumerate(zip(picks.tolist(), maps, strict=True))
        ]
        title = f"{title_of(options)}: picks of cycle {cycle}"
        pool_scores = selection.scores if selection.scores is not None else []
        return save_picks(folder / "maps" / f"cycle_{cycle:02d}.png", rows, pool_scores, scores, title, train.classes)

    return watch


def _criterion(name: str, ignoring: bool = False) -> Any:
    """The loss of logits (B, C, H, W) and masks (B, 1, H, W); `ignoring` leaves out the pixels of class IGNORED.

    Dice is the mean over images and classes, with `batch_dice_ce` over classes alone, of all pixels of a batch. A class
    that an image lacks costs 1 there however little of it is predicted, so that the mean over images teaches to predict
    none of a class that many lack.
    """
    from monai.losses import DiceCELoss, DiceLoss  # a second of import that a refused command line need not wait for

    if ignoring:
        return lambda logits, masks: _of_counted_pixels(name, logits, masks)
    if name == "ce":
        return lambda logits, masks: nn.functional.cross_entropy(logits, masks[:, 0])
    kind = DiceLoss if name == "dice" else DiceCELoss
    return kind(softmax=True, to_onehot_y=True, batch=name == "batch_dice_ce")


def _of_counted_pixels(name: str, logits: Tensor, masks: Tensor) -> Tensor:
    """The loss over the pixels that are not IGNORED; 0 where a batch has none, so that it changes nothing."""
    from monai.losses import DiceLoss

    counted = masks != IGNORED
    total = logits.new_zeros(())
    if name != "dice":
        sums = nn.functional.cross_entropy(logits, masks[:, 0], ignore_index=IGNORED, reduction="sum")
        total = total + sums / counted.sum().clamp(min=1)
    if name != "ce":
        truth = nn.functional.one_hot(masks[:, 0] * counted[:, 0], logits.shape[1]).permute(0, 3, 1, 2)
        total = total + DiceLoss(batch=name == "batch_dice_ce")(logits.softmax(1) * counted, truth * counted)
    return total


def _counted(truth: Int[ndarray, "h w"], n_classes: int) -> Int[ndarray, "h w"]:
    """Classes to be drawn, with IGNORED pixels as background."""
    return np.where(truth < n_classes, truth, 0)


def _truth(test: Images, i: int) -> Truth:
    """Part, classes and, where the dataset has them, object ids of a test image."""
    instances = test.instances(i) if test.kind == "instance_map" else None
    return str(test.parts[i]), test.target(i).numpy(), instances


TASK = Definition(check, lambda options: GIVES, load, make_task, make_batches, draw_picks)
