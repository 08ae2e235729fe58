"""The command `predict`: what the model of the last round makes of all images, or of another folder."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from data import catalogue
from data.files import folder_of, room_for, under_root
from data.names import Missing, Refused
from data.store import Images
from data.unlabelled import Unlabelled
from experiments.learning.querying import QueryOptions
from experiments.learning.weights import load_weights
from experiments.loop import evidence_of
from experiments.rounds.division import require_classes
from experiments.rounds.made_with import as_made
from experiments.rounds.place import kinds_of, read
from experiments.rounds.seeing import images_folder, predictions, seen, suggestion_of, wanted_of
from experiments.rounds.state import load
from experiments.rounds.writing import writing
from experiments.tasks.representation import with_features
from experiments.tasks.task import Definition
from experiments.tracking.checkpoints import Checkpoint
from experiments.tracking.round_options import ROUND

Values = dict[str, Any]
KINDS = {"segment": "csv,masks", "classify": "csv", "detect": "csv,voc"}  # where `export` says nothing else


def predict(task: str, definition: Definition, options: Values, checkpoint: Checkpoint) -> tuple[Path, int]:
    """Write the predictions of the last model; the folder, and of how many images.

    Images are held one batch at a time. Refused without a model, and for images that it cannot read.
    """
    state = load(checkpoint.folder)
    if state is None or not state.round:
        raise Missing(f"{checkpoint.folder} has no model yet: `suggest` makes one when the first images are labelled")
    options, taken = as_made(task, options, state.options)
    print(taken, end="\n" if taken else "", flush=True)
    found, images = read(task, definition, options, state, checkpoint.folder)
    require_classes(state, images)
    root = own_root = folder_of(options["data_root"])
    trained_on = images
    if options["images"]:
        root = under_root(options["images"])
        images = _others(task, definition, found, root, state.classes)
        if images.channels != trained_on.channels:
            here, there = ({1: "grey", 3: "coloured"}[each.channels] for each in (images, trained_on))
            raise Refused(
                f"the images in {root} are {here}, but the model learnt from {there} ones: save copies that are {there}"
            )
    network = definition.make_task(found, images)
    model = load_weights(network.make_model(), checkpoint.model_file(state.round - 1)).eval()
    evidence = evidence_of(network, model, QueryOptions.of(found), found["seed"], state.round - 1)
    folder = checkpoint.folder / ("predictions" if root == own_root else f"predictions_{_called(root)}")
    building = folder.with_name(f".{folder.name}")
    shutil.rmtree(building, ignore_errors=True)
    with room_for(folder):
        building.mkdir(parents=True)
    given = found if found["export"] != ROUND["export"].default else {**found, "export": KINDS[task]}
    title = f"{options['dataset_title']}: predictions of round {state.round}"
    told = title, task, images_folder(images, root)
    with room_for(folder), writing(kinds_of(given), building, state.classes, *told) as write:
        stream = predictions(evidence, images, np.arange(len(images)), wanted_of(images), options["least_score"])
        for rank, (i, prediction, doubt) in enumerate(stream, start=1):
            told_of = {"rank": rank, "part": "query", "score": float("nan"), "uncertainty": doubt, "why": ""}
            write(seen(images, suggestion_of(images, i, root, **told_of), i, prediction))
    if (table := building / "suggestions.csv").is_file():
        os.replace(table, building / "predictions.csv")
    shutil.rmtree(folder, ignore_errors=True)  # ours, of an earlier model
    os.replace(building, folder)
    return folder, len(images)


def _called(root: Path) -> str:
    """The name of another folder, and a digest of where it lies: others have the same name."""
    return f"{root.resolve().name}-{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]}"


def _others(task: str, definition: Definition, options: Values, root: Path, classes: list[str]) -> Images:
    """The images of another folder, whose labels, if there are any, do not matter."""
    if not root.is_dir():
        raise Missing(f"images={str(root)!r} is no folder")
    dataset = "voc" if options["dataset"] == "coco" else options["dataset"]  # which needs no file that lists the images
    known = catalogue.options(task, dataset)
    name = next((name for name in ("class_names", "classes") if name in known), None)
    own = {option: value for option, value in options["dataset_options"].items() if option in known}
    own |= {name: classes} if name else {}
    chosen = {**options, "dataset": dataset, "data_root": str(root), "dataset_options": own}
    return with_features(definition.load({**chosen, "more_labels": Unlabelled()}), chosen, definition)
