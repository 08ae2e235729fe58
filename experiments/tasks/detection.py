"""Detection: boxes with a class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray
from torch import Tensor, nn

from data.augment.boxes import AUGMENTATIONS, appearance
from data.files import folder_of
from data.loading import load as load_images
from data.names import Refused
from data.store import Images
from experiments.learning.batches import Companion, Mixed, TrainingBatches, WithoutTargets, equal_size_batches, pictures
from experiments.learning.devices import device_of, layout_of, precision_of
from experiments.learning.parallel import shared
from experiments.learning.querying import Selection
from experiments.learning.recipe import Recipe, autocast
from experiments.learning.teacher import MeanTeacher, network_of
from experiments.measures.detection import DetectionScores, trivial_detections
from experiments.measures.froc import check_conventions, sensitivity_at
from experiments.measures.pseudo import of_boxes
from experiments.measures.table import DETECTION, FPS, by_class, require_metric
from experiments.pictures.box_picks import MAX_PICTURES, PickedPicture, save_box_gallery
from experiments.pictures.froc import save_froc
from experiments.tasks.pseudo_labels import find, pseudo_labels, thresholds_of
from experiments.tasks.task import Definition, MakeBatches, Task, Trivial, Watch
from experiments.tasks.unlabelled import pool_of
from experiments.tasks.weights import require_encoder_of
from experiments.tracking.checkpoints import State
from experiments.tracking.deliver import save_array, title_of
from experiments.tracking.weights_option import require_there, weights_of
from heuristics.core.fitting import EMBEDDINGS, OF_BOXES, OF_PROPOSALS, Gives
from models.detecting import detect, from_detector
from models.detector_weights import WEIGHTS
from models.detectors import DETECTORS, losses, make_detector

Values = Mapping[str, Any]
METRICS = {name: measure for name, measure in DETECTION.items() if not name.startswith("sensitivity_")}
RULES = ("convention", "criterion", "iou", "second_hit", "by_class", "size_edges")
DRAWN = 2.0 ** np.arange(-3, 4.25, 0.25)  # false positives per image at which the drawn curve is kept


def gives(options: Values) -> Gives:
    """What a detector has for strategies; one in one stage has neither proposals nor a stochastic head."""
    model = options["model"]
    found = OF_BOXES if DETECTORS[model].two_stage else OF_BOXES - OF_PROPOSALS
    return Gives(model, to_scorers=found | EMBEDDINGS, to_selectors=EMBEDDINGS)


def check(options: Values) -> None:
    """Refuse what no single option shows, before data are loaded."""
    require_metric(options["metric"], METRICS, stochastic=False)
    check_conventions(*(options[name] for name in ("criterion", "iou", "second_hit", "convention")))
    if options["balance"] != "none":
        boxes = "needs one predicted class per image, and a detector finds many boxes; use balance=none"
        raise Refused(f"balance={options['balance']} {boxes}")
    if options["unlabelled"] == "mean_teacher" and options["pseudo_adaptive"]:
        once = "is for labels made once a cycle: use unlabelled=pseudo_labels, or pseudo_adaptive=False"
        raise Refused(f"pseudo_adaptive=True {once}")
    for name, value in options["pseudo_thresholds"].items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise Refused(f"pseudo_thresholds.{name}={value!r} must be a number from 0 to 1")
    with torch.device("meta"):  # anchors and names
        _network({**options, "weights": "random"}, 1, 3)
    require_there(options["weights"], WEIGHTS)
    trunk = DETECTORS[options["model"]].trunk
    require_encoder_of(options["weights"], trunk, _of_trunk)


def load(options: Values) -> Images:
    """The dataset."""
    chosen = {"scale": options["scale"], **options["dataset_options"]}
    chosen["unlabelled"] = options.get("more_labels")  # of `suggest`, whose images wait for them
    return load_images("detect", options["dataset"], folder_of(options["data_root"]), **chosen)


def make_task(options: Values, images: Images) -> Task:
    """Detection as a record of functions."""
    device, precision, layout = device_of(options["device"]), precision_of(options), layout_of(options)
    thresholds = thresholds_of(images.classes, options["pseudo_threshold"], options["pseudo_thresholds"])
    ema, rules = options["unlabelled"] == "mean_teacher", {name: options[name] for name in RULES}

    def make_model() -> nn.Module:
        network = _network(options, len(images.classes), images.channels)
        model = MeanTeacher(network) if ema else network
        return model.to(device).to(memory_format=layout)  # type: ignore[call-overload]

    def loss(model: nn.Module, batch: Any) -> Tensor:
        views, (targets, plain) = batch
        if not isinstance(model, MeanTeacher):
            shared = options["pseudo_weight"] / options["mu"]
            weights = torch.tensor([1.0 if picture is None else shared for picture in plain])
            return losses(model, views, targets, weights) * len(targets) / sum(picture is None for picture in plain)
        labelled = [i for i, picture in enumerate(plain) if picture is None]
        total = losses(model.student, [views[i] for i in labelled], [targets[i] for i in labelled])
        others = [i for i, picture in enumerate(plain) if picture is not None]
        if others and int(model.steps) > options["burn_in"]:
            with torch.no_grad():
                found = detect(model.teacher, [plain[i] for i in others])
            ours = [pseudo_labels(boxes, thresholds) for boxes in found]
            total = total + options["pseudo_weight"] * losses(model.student, [views[i] for i in others], ours)
        return total

    def evidence(
        model: nn.Module, batch: Tensor, wanted: frozenset[str], mc_samples: int, masks_seed: int = 0
    ) -> dict[str, Any]:
        with autocast(device, precision):
            return from_detector(network_of(model), batch, wanted, mc_samples, masks_seed)

    def evaluate(model: nn.Module, test: Images, cycle: int) -> dict[str, Any]:
        scores = DetectionScores(len(test.classes), **rules)
        network = network_of(model).eval()

        def said(number: int, positions: Int[ndarray, " b"]) -> list[dict[str, Tensor]]:
            batch = pictures(test, positions, device)
            with torch.no_grad(), autocast(device, precision):
                return detect(network, batch)

        batches = list(equal_size_batches(test.shapes, options["eval_batch_size"]))
        for positions, found in zip(batches, shared(said, batches, device), strict=True):
            scores.add(found, [test.target(int(i)) for i in positions])
        row: dict[str, Any] = scores.summary()
        row |= by_class("sensitivity", test.classes, row.pop("per_class_sensitivity"))
        drawn = sensitivity_at(scores.curve(), DRAWN.tolist()).tolist()
        return row | {"froc_curve": drawn, "convention": scores.convention}

    def trivial(test: Images) -> Trivial:
        targets = [test.target(i) for i in range(len(test))]
        found = trivial_detections(targets, test.shapes)
        scores = DetectionScores(len(test.classes), **rules)
        scores.add(found, targets)
        words = f"one {test.classes[int(found[0]['labels'])]} of mean place and size in every image"
        values = {name: value for name, value in scores.summary().items() if isinstance(value, float)}
        return {name: (value, words) for name, value in values.items() if not np.isnan(value)}

    before_step = (lambda model: model.follow(options["ema_decay"])) if ema else None
    return Task(make_model, loss, evidence, evaluate, trivial, before_step, predicts="detections")


def make_batches(options: Values, train: Images) -> MakeBatches:
    """How labelled images become training batches, and how unlabelled ones join them."""
    device, augment = device_of(options["device"]), AUGMENTATIONS[options["augment"]]
    arm, images = options["unlabelled"], WithoutTargets(train)
    ema = arm == "mean_teacher"
    for name in options["pseudo_thresholds"]:
        if name not in train.classes:
            known = f"{train.dataset!r} has no class {name!r}, but {', '.join(train.classes)}"
            raise Refused(f"pseudo_thresholds.{name}: {known}")

    def draw(i: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, bool]:
        return torch.from_numpy(np.array(train.raw(i))), train.target(i), False

    def collate(examples: list) -> tuple[list, None]:
        return examples, None

    def prepare(batch: Any, rng: np.random.Generator) -> Any:
        """Each labelled image is followed by what joins it: all of them draw from one generator in this order."""
        labelled, others = (batch.labelled[0], batch.unlabelled) if isinstance(batch, Mixed) else (batch[0], [])
        each = len(others) // len(labelled)
        views, targets, plain = [], [], []
        for place, first in enumerate(labelled):
            for raw, target, unlabelled in (first, *others[place * each : (place + 1) * each]):
                picture = raw.to(device).permute(2, 0, 1).float() / 255
                picture, target = augment(picture, target.to(device), rng)
                plain.append(picture if unlabelled else None)  # what a teacher labels
                views.append(appearance(picture, rng) if unlabelled and ema else picture)
                targets.append(target)
        return views, (targets, plain)

    def of_cycle(labelled: Int[ndarray, " l"], cycle: int, previous: nn.Module | None) -> TrainingBatches:
        pool = pool_of(options, train, labelled) if arm != "none" else labelled[:0]
        pseudo, report = {}, {}
        if len(pool) and previous is not None:
            pseudo = _labelled_by(previous, options, train, pool, labelled)
            report = of_boxes(pseudo, train)
        joining = pool if ema else np.array([i for i, boxes in pseudo.items() if len(boxes)], dtype=np.int64)

        def draw_unlabelled(i: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, bool]:
            boxes = torch.zeros(0, 5) if ema else pseudo[i]
            return torch.from_numpy(np.array(images.raw(i))), boxes, True

        companion = Companion(draw_unlabelled, None, joining, options["mu"]) if len(joining) else None
        recipe, names = Recipe.of(options, len(labelled)), train.names
        return TrainingBatches(
            draw, collate, prepare, labelled, recipe, options["seed"], cycle, names, report, companion
        )

    return of_cycle


def _labelled_by(
    model: nn.Module, options: Values, train: Images, pool: Int[ndarray, " n"], labelled: Int[ndarray, " l"]
) -> dict[int, Tensor]:
    """Pseudo-labels (M, 5) of every image of the pool, by the model of the cycle before."""
    found = find(network_of(model).eval(), WithoutTargets(train), pool, options["eval_batch_size"])
    given = (train.classes, options["pseudo_threshold"], options["pseudo_thresholds"])
    known = [train.target(int(i)) for i in labelled]
    limits = thresholds_of(*given, found.values(), known, options["pseudo_adaptive"])
    return {i: pseudo_labels(boxes, limits).cpu() for i, boxes in found.items()}


def draw_picks(options: Values, task: Task, train: Images) -> Watch:
    """What `save_maps` draws in each cycle: the picked images with truth, detections and proposals, and all scores."""

    def watch(folder: Path, cycle: int, model: nn.Module, pool: Int[ndarray, " n"], selection: Selection) -> Path:
        picks, scores = pool[selection.chosen], selection.scores_of_chosen()
        drawn = picks[:MAX_PICTURES]
        middle = [1] if options["dataset_options"].get("context") else slice(None)  # neighbouring slices are no colours
        found = find(network_of(model), WithoutTargets(train), drawn, options["eval_batch_size"])
        rows: list[PickedPicture] = [
            {
                "name": train.names[i],
                "image": np.array(train.raw(i))[:, :, middle],
                "truth": train.target(i).numpy(),
                "boxes": found[i]["boxes"].cpu().numpy(),
                "labels": found[i]["labels"].cpu().numpy(),
                "scores": found[i]["scores"].cpu().numpy(),
                "proposals": found[i]["proposals"].cpu().numpy(),
                "score": scores[number] if scores else float("nan"),
            }
            for number, i in enumerate(drawn.tolist())
        ]
        title = f"{title_of(options, oracle(options))}: picks of cycle {cycle}"
        pool_scores = selection.scores if selection.scores is not None else []
        file = folder / "maps" / f"cycle_{cycle:02d}.png"
        return save_box_gallery(file, rows, len(picks), pool_scores, scores, title, train.classes)

    return watch


def more_files(state: State, folder: Path, options: Values, test: Images) -> list[Path]:
    """Write froc.npy (cycle x operating point) and froc.png."""
    save_array(folder / "froc.npy", np.array([[row[f"froc_at_{x:g}"] for x in FPS] for row in state.curve]))
    curves = {f"{row['n_labelled']} labelled": np.stack([DRAWN, row["froc_curve"]], 1) for row in state.curve}
    title = title_of(options, oracle(options))
    return [folder / "froc.npy", save_froc(folder / "froc.png", curves, title, state.curve[0]["convention"])]


def oracle(options: Values) -> bool:
    """Whether the first labels know the classes: the strata are made of the boxes themselves."""
    return options["initial"] == "stratified"


def _network(options: Values, num_classes: int, channels: int) -> nn.Module:
    chosen = ("dropout", "anchor_sizes", "anchor_ratios", "score_threshold", "max_detections", "nms")
    weights = weights_of(options["weights"])
    shared = {name: options[name] for name in chosen}
    return make_detector(options["model"], num_classes, channels, weights=weights, **shared)


def _of_trunk(trained: str) -> str:
    fitting = [name for name, detector in DETECTORS.items() if detector.trunk == trained]
    return f"use model={' or '.join(fitting)}" if fitting else "no detector has that trunk, pre-train resnet18"


TASK = Definition(check, gives, load, make_task, make_batches, draw_picks, more_files, oracle)
