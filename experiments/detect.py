"""Active learning for detection.

python experiments/detect.py                                           # CT phantom, random, a few minutes on two cores
python experiments/detect.py with bccd_quick heuristic=box_entropy run=3  # real blood cells, quick
python experiments/detect.py print_named_configs                        # what else there is
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the project, so that `data` is ours wherever this is started from

import numpy as np
import torch
from sacred import Experiment

from data import detection as datasets
from data.augment.boxes import AUGMENTATIONS, appearance
from data.catalogue import check_options
from data.store import ROOT, Images
from experiments.commands import add_commands, add_presets
from experiments.detection_presets import PRESETS
from experiments.learning.querying import WithoutTargets, equal_size_batches
from experiments.learning.training import TrainingBatches, autocast
from experiments.loop import Task
from experiments.measures.detection import DetectionScores, trivial_detections
from experiments.measures.froc import CONVENTIONS, CRITERIA, FPS, SECOND_HITS, check_conventions, sensitivity_at
from experiments.measures.table import by_class
from experiments.pictures.box_gallery import MAX_PICTURES, PickedPicture, save_box_gallery
from experiments.pictures.froc import save_froc
from experiments.simulation import recipe_of, splits_of
from experiments.tasks.pseudo_labels import MeanTeacher, find, network_of, pseudo_labels, quality, thresholds_of
from experiments.tracking.checkpoints import atomic, folder_of
from experiments.tracking.common import device_of, launch, loop_options, under_root, validate
from heuristics.core.aggregating import BOX_AGGREGATIONS
from models.detecting import detect, from_detector
from models.detectors import DETECTORS, losses, make_detector

ex = Experiment("detect", base_dir=ROOT)
ex.config(loop_options)

METRICS = ("froc", "ap50", "ap", "ar", *(f"froc_at_{x:g}" for x in FPS))
EVIDENCE = {"detections", "mc_detections", "noisy_detections", "augmented_detections", "embeddings", "labelled_embeddings"}
DRAWN = 2.0 ** np.arange(-3, 4.25, 0.25)  # false positives per image at which the drawn curve is kept


@ex.config
def detection():
    dataset = "phantom"  # phantom (built in) | deeplesion | bccd | busi | coco | voc (your own, below data_root)
    dataset_options = {}  # options of the dataset, e.g. dataset_options.lesion_type=lung of deeplesion
    scale = 1.0  # images and boxes are shrunk by this factor when they are decoded
    metric = "froc"  # main metric: result, table, validation. froc is the mean sensitivity at 0.5 to 16 false positives per image

    model = "fasterrcnn_small"  # fasterrcnn_small | fasterrcnn_mobilenet | ..._resnet18 | ..._resnet50 | retinanet_resnet50 | fcos_resnet50
    weights = "random"  # random | imagenet (the trunk) | coco (the whole detector) | a file with a state dict
    anchor_sizes = []  # sides of the anchors in pixels, one per level of the pyramid; [] for those of the model
    anchor_ratios = [0.5, 1.0, 2.0]  # heights over widths of the anchors
    dropout = 0.2  # in the box head, for stochastic passes
    score_threshold = 0.02  # of detections that are kept
    max_detections = 100  # of an image
    nms = 0.5  # overlap above which the less confident of two boxes of a class is dropped
    augment = "flips_rot90"  # of training images, by name: none | hflip | flips_rot90 | strong
    eval_batch_size = 16  # images tested at once

    convention = "one_to_one"  # a box finds one lesion at most | deeplesion: as its published evaluation counts
    criterion = "iou"  # what hits a lesion: iou | centre (of the detection within its box)
    iou = 0.5  # least overlap of a hit
    second_hit = "ignored"  # a second detection of a lesion: ignored | false (counts as a false positive)
    by_class = True  # a hit must have the right class
    size_edges = [32, 96]  # sides in pixels at which small lesions end and large ones begin, for sensitivity by size

    aggregate = "max"  # of the scores of an image's boxes: max | mean | min | sum
    empty_score = 0.0  # score of an image in which no box was found; 0 is the least that a box can have

    pseudo_labels = False  # confident detections on the unlabelled pool join training
    teacher = "previous"  # who labels: previous (the model of the cycle before, once a cycle) | ema (a mean teacher, at every step)
    pseudo_threshold = 0.8  # least score of a pseudo-label
    pseudo_thresholds = {}  # the same for single classes, e.g. pseudo_thresholds.WBC=0.9
    pseudo_adaptive = False  # lower the threshold of a class until it is as frequent as among the labelled images
    pseudo_weight = 0.5  # of the loss on pseudo-labelled images
    ema_decay = 0.99  # of the mean teacher
    burn_in = 50  # steps before the mean teacher labels

    n_initial = 10  # labelled images to start with
    n_query = 60  # images labelled in each cycle
    n_cycles = 3  # times that images are labelled; models trained: one more
    steps = 250  # optimiser steps of each training; 0 for epochs x repeats over the labelled set instead
    batch_size = 8  # images in a training step
    lr = 0.004  # learning rate
    warmup = 20  # steps of linear warm-up
    clip = 5.0  # largest norm of the gradient; 0 for none
    mc_samples = 10  # stochastic passes for scoring


add_presets(ex, PRESETS)


def check(options):
    """Refuse what cannot work, before data are loaded."""
    defaults = {name: value for scope in ex.configurations for name, value in scope().items()}
    choices = {"model": DETECTORS, "augment": AUGMENTATIONS, "metric": METRICS, "aggregate": BOX_AGGREGATIONS, "criterion": CRITERIA}
    choices |= {"second_hit": SECOND_HITS, "convention": CONVENTIONS, "teacher": ("previous", "ema")}
    ranges = {"scale": (0.01, 1), "score_threshold": (0, 0.999), "max_detections": (1, 1e4), "nms": (0.01, 1), "iou": (0.01, 1)}
    ranges |= {"eval_batch_size": (1, 1e5), "empty_score": (-1e9, 1e9), "pseudo_threshold": (0, 1), "pseudo_weight": (0, 1e3)}
    ranges |= {"ema_decay": (0, 1), "burn_in": (0, 1e9)}
    heuristic = validate(options, defaults, choices, ranges)
    check_conventions(*(options[name] for name in ("criterion", "iou", "second_hit", "convention")))
    check_options(datasets.LOADERS, options["dataset"], options["dataset_options"])
    if not heuristic.wants <= EVIDENCE:
        lacking = ", ".join(sorted(heuristic.wants - EVIDENCE))
        lacks = f"heuristic {heuristic.name!r} needs {lacking}, which a detector does not give"
        raise ValueError(f"{lacks}; use one like box_entropy or coreset")
    two_stage = {"mc_detections": "a box head with dropout", "detections": "region proposals"}
    needed = heuristic.wants & {"mc_detections"} or ({"detections"} if heuristic.name == "localization_tightness" else set())
    if needed and not DETECTORS[options["model"]].two_stage:
        lacks = f"heuristic {heuristic.name!r} needs {two_stage[min(needed)]}, which {options['model']} has not"
        raise ValueError(f"{lacks}; use a fasterrcnn_ model, or a heuristic like box_entropy")
    if options["balance"] != "none":
        raise ValueError("balance=predicted needs one predicted class per image, and a detector finds many boxes; use balance=none")
    if options["teacher"] == "ema" and not options["pseudo_labels"]:
        raise ValueError("teacher=ema labels the pool, but pseudo_labels=False: set pseudo_labels=True, or leave teacher=previous")
    if options["teacher"] == "ema" and options["pseudo_adaptive"]:
        raise ValueError("pseudo_adaptive=True is for labels made once a cycle: use teacher=previous, or pseudo_adaptive=False")
    for name, value in options["pseudo_thresholds"].items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ValueError(f"pseudo_thresholds.{name}={value!r} must be a number from 0 to 1")
    with torch.device("meta"):  # anchors and names, before data are loaded
        make_network({**options, "weights": "random"}, 1, 3)
    file = under_root(options["weights"])
    if options["weights"] not in ("random", "imagenet", "coco") and not file.is_file():
        raise FileNotFoundError(f"weights={options['weights']!r} is neither random, imagenet nor coco, and there is no file {file}")


def make_network(options, num_classes, channels):
    named = options["weights"] in ("random", "imagenet", "coco")
    chosen = ("dropout", "anchor_sizes", "anchor_ratios", "score_threshold", "max_detections", "nms")
    weights = options["weights"] if named else under_root(options["weights"])
    return make_detector(options["model"], num_classes, channels, weights=weights, **{name: options[name] for name in chosen})


def make_task(options, images: Images) -> Task:
    """Detection as a record of functions."""
    device, precision = device_of(options["device"]), options["precision"]
    layout = torch.channels_last if options["channels_last"] else torch.contiguous_format
    decay, burn_in = options["ema_decay"], options["burn_in"]
    thresholds = thresholds_of(images.classes, options["pseudo_threshold"], options["pseudo_thresholds"])

    def make_model():
        network = make_network(options, len(images.classes), images.channels)
        model = MeanTeacher(network) if options["teacher"] == "ema" else network
        return model.to(device).to(memory_format=layout)  # type: ignore[call-overload]

    def loss(model, batch):
        pictures, (targets, plain) = batch
        n = len(targets)
        if not isinstance(model, MeanTeacher):
            weights = torch.tensor([1.0 if views is None else options["pseudo_weight"] for views in plain])
            return losses(model, pictures, targets, weights) * n / sum(views is None for views in plain)
        model.follow(decay)
        supervised = [i for i, views in enumerate(plain) if views is None]
        total = losses(model.student, [pictures[i] for i in supervised], [targets[i] for i in supervised])
        others = [i for i in range(n) if plain[i] is not None]
        if others and int(model.steps) > burn_in:
            model.teacher.eval()
            with torch.no_grad():
                found = detect(model.teacher, [plain[i] for i in others])
            ours = [pseudo_labels(boxes, thresholds) for boxes in found]
            total = total + options["pseudo_weight"] * losses(model.student, [pictures[i] for i in others], ours)
        return total

    def evidence(model, pictures, wanted, mc_samples, masks_seed=0):
        with autocast(device, precision):
            return from_detector(network_of(model), pictures, wanted, mc_samples, masks_seed)

    rules = {name: options[name] for name in ("convention", "criterion", "iou", "second_hit", "by_class", "size_edges")}

    def evaluate(model, test, cycle):
        scores = DetectionScores(len(test.classes), **rules)
        network = network_of(model).eval()
        for positions in equal_size_batches(test.shapes, options["eval_batch_size"]):
            pictures = torch.stack([test.image(int(i)) for i in positions]).to(device)
            with torch.no_grad(), autocast(device, precision):
                found = detect(network, pictures)
            scores.add(found, [test.target(int(i)) for i in positions])
        row, curve = scores.summary(), scores.curve()
        row |= by_class("sensitivity", test.classes, row.pop("per_class_sensitivity"))
        return row | {"froc_curve": sensitivity_at(curve, DRAWN.tolist()).tolist(), "convention": scores.convention}

    def trivial(test):
        targets = [test.target(i) for i in range(len(test))]
        found = trivial_detections(targets, test.shapes)
        scores = DetectionScores(len(test.classes), **rules)
        scores.add(found, targets)
        words = f"one {test.classes[int(found[0]['labels'])]} of mean place and size in every image"
        values = {name: value for name, value in scores.summary().items() if isinstance(value, float)}
        return {name: (value, words) for name, value in values.items() if not np.isnan(value)}

    return Task(make_model, loss, evidence, evaluate, trivial)


def batches_of(options, train: Images):
    """How labelled images become training batches; with pseudo-labels each of them brings one image of the unlabelled pool along."""
    device = device_of(options["device"])
    augment = AUGMENTATIONS[options["augment"]]
    ema = options["teacher"] == "ema"
    for name in options["pseudo_thresholds"]:
        if name not in train.classes:
            raise ValueError(f"pseudo_thresholds.{name}: {train.dataset!r} has no class {name!r}, but {', '.join(train.classes)}")

    def collate(examples):
        return [part for example in examples for part in example], None

    def prepared(batch, rng):
        pictures, targets, plain = [], [], []
        for raw, target, unlabelled in batch[0]:
            picture = raw.to(device).permute(2, 0, 1).float() / 255
            picture, target = augment(picture, target.to(device), rng)
            plain.append(picture if unlabelled else None)  # what a teacher labels
            pictures.append(appearance(picture, rng) if unlabelled and ema else picture)
            targets.append(target)
        return pictures, (targets, plain)

    def make_batches(labelled, cycle, previous):
        pool = np.setdiff1d(np.arange(len(train)), labelled)
        pseudo, report = {}, {}
        if options["pseudo_labels"] and len(pool) and previous is not None:
            found = find(network_of(previous).eval(), WithoutTargets(train), pool, options["eval_batch_size"])
            given = (train.classes, options["pseudo_threshold"], options["pseudo_thresholds"])
            known = [train.target(int(i)) for i in labelled]
            limits = thresholds_of(*given, found.values(), known, options["pseudo_adaptive"])
            pseudo = {i: pseudo_labels(boxes, limits).cpu() for i, boxes in found.items()}
            report = quality(pseudo, train)
        joining = np.array([i for i, boxes in pseudo.items() if len(boxes)], dtype=np.int64)
        joining = pool if ema and options["pseudo_labels"] else joining

        def draw(i, rng):
            example = (torch.from_numpy(np.array(train.raw(i))), train.target(i), False)
            if not len(joining):
                return [example]
            other = int(rng.choice(joining))
            boxes = torch.zeros(0, 5) if ema else pseudo[other]
            return [example, (torch.from_numpy(np.array(train.raw(other))), boxes, True)]

        recipe = recipe_of(options, len(labelled))
        return TrainingBatches(draw, labelled, recipe, options["seed"], cycle, collate, prepared, train.names, report)

    return make_batches


def picture_of_picks(options, task, train: Images):
    """What `save_maps` draws in each cycle: the picked images with truth, detections and proposals, and all scores."""

    def watch(folder, cycle, model, pool, answer):
        picks, scores = pool[answer.chosen], answer.scores_of_chosen()
        drawn = picks[:MAX_PICTURES]
        middle = [1] if options["dataset_options"].get("context") else slice(None)  # neighbouring slices are no colours
        found = find(network_of(model), WithoutTargets(train), drawn, options["eval_batch_size"])
        pictures: list[PickedPicture] = [
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
        title = f"{options['dataset']}, {options['heuristic']}, run {options['run']}: picks of cycle {cycle}"
        pool_scores = answer.scores if answer.scores is not None else []
        return save_box_gallery(folder / "maps" / f"cycle_{cycle:02d}.png", pictures, len(picks), pool_scores, scores, title, train.classes)

    return watch


def froc_files(state, folder, options, test: Images):
    """Write froc.npy (cycle x operating point) and froc.png."""
    table = np.array([[row[f"froc_at_{x:g}"] for x in FPS] for row in state.curve])
    with atomic(folder / "froc.npy") as temporary, open(temporary, "wb") as file:
        np.save(file, table)
    curves = {f"{row['n_labelled']} labelled": np.stack([DRAWN, row["froc_curve"]], 1) for row in state.curve}
    title = f"{options['dataset']}, {options['heuristic']}, run {options['run']}"
    return [folder / "froc.npy", save_froc(folder / "froc.png", curves, title, state.curve[0]["convention"])]


def load_splits(options):
    """The dataset, divided."""
    images = datasets.load(options["dataset"], folder_of(options["data_root"]), options["scale"], **options["dataset_options"])
    return splits_of(images, options)


add_commands(ex, check, load_splits, make_task, batches_of, picture_of_picks, froc_files)

if __name__ == "__main__":
    launch(ex)
