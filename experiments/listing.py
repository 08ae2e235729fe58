"""What a round leaves for a person: the list with what the model makes of each image, the advice, and the words."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from math import nan
from pathlib import Path

import numpy as np
from torch import nn

from data.files import room_for
from data.names import Missing, Refused
from experiments.learning.evidence import ModelEvidence
from experiments.learning.querying import QueryOptions
from experiments.learning.randomness import generator
from experiments.loop import evidence_of
from experiments.pictures.advice import save_advice
from experiments.rounds.division import listed, waiting
from experiments.rounds.exports.target import Chart
from experiments.rounds.made_with import in_words, unlike
from experiments.rounds.place import kinds_of
from experiments.rounds.seeing import chart_of, images_folder, nearest, predictions, seen, suggestion_of, wanted_of, why
from experiments.rounds.suggestion import Seen
from experiments.rounds.writing import writing
from experiments.stopping.advice import Advice, advise, record, sentence
from experiments.stopping.rules import rounds_of
from experiments.stopping.sample import Interval
from experiments.suggesting import Turn, last_model

SHOWN = 10  # images of a list that are printed
HOW = {  # labels are given: task, or dataset where that is of another format -> what to do
    "segment": "Draw a mask for each, a PNG as large as the image with class numbers ({numbers}), named like it, in "
    "{root}/masks/",
    "classify": "Write a row for each into {root}/labels.csv (columns file and label; {classes}), or move it into the "
    "folder of its class",
    "detect": "Write an annotation for each in VOC's XML ({classes}), named like it, into {root}/Annotations/; one "
    "without objects says that nothing is there",
    "yolo": "Write a text for each with a line for each object ({numbers}), named like it, where {root} has them; an "
    "empty one says that nothing is there",
    "coco": "Add each to the images of a json in {root}, with the boxes of its objects ({classes}), or without any",
}


def folder_of_list(turn: Turn) -> Path:
    """Where the last list lies."""
    return turn.folder / f"round_{turn.state.round:03d}"


def write_list(turn: Turn, model: nn.Module | None = None) -> Path:
    """Write the last list from the state, in a folder that is whole or absent; as it is where it is there.

    `model` is that of the round where it is at hand.
    """
    folder = folder_of_list(turn)
    if folder.is_dir():
        return folder
    with room_for(folder):
        building = folder.with_name(f".{folder.name}")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        title = f"{turn.options['dataset_title']}: round {turn.state.round}"
        evidence = evidence_in(turn, model)
        told = title, turn.task, images_folder(turn.images, turn.data_root), chart_in(turn, evidence)
        with writing(kinds_of(turn.options), building, turn.state.classes, *told) as write:
            for each in seen_of(turn, evidence):
                write(each)
        if (advice := advice_of(turn)) is not None:
            (building / "advice.json").write_text(json.dumps(record(advice), indent=1))
            save_advice(building / "advice.png", advice, title)
        (building / "state.json").write_text(json.dumps(asdict(turn.state), indent=1))
        os.replace(building, folder)
    return folder


def advice_of(turn: Turn) -> Advice | None:
    """What the rounds so far advise; None before the first model, and where no test image measures it."""
    state, options = turn.state, turn.options
    if not state.curve or not state.sample or not np.isfinite(state.sample[0]):
        return None
    n_test = len(turn.test)
    rounds = rounds_of(state.curve, options["metric"], options["n_query"], n_test)
    rng, target = generator(options["seed"], len(state.curve), "stop"), options["target"] or None
    return advise(rounds, options["metric"], rng, Interval(*state.sample), target, options["heuristic"])


def told(turn: Turn) -> list[str]:
    """The list and what to do with it, in lines."""
    state, advice = turn.state, advice_of(turn)
    lines = [sentence(advice), *([state.trivial] if state.trivial else [])] if advice else []
    if state.curve and not advice:
        empty = bool(turn.of(state.test).labelled.any())
        missing = "No labelled test image has an object" if empty else "No test image is labelled"
        lines.append(
            f"Round {state.round}, {state.curve[-1]['n_labelled']} labelled. {missing}: nothing "
            "says how good the model is or whether more labels pay."
        )
    if not state.asked:
        return [*lines, "All images are labelled: there is nothing to ask for."]
    counts = {part: sum(each.part == part for each in state.asked) for part in ("start", "query", "test")}
    words = {"start": "to start with", "query": "chosen by the model", "test": "at random, to measure with"}
    many = ", ".join(f"{n} {words[part]}" for part, n in counts.items() if n)
    lines.append(f"To label now, {len(state.asked)} images ({many}), the first first:")
    lines += [f"  {rank:>3}  {each.name}" for rank, each in enumerate(state.asked[:SHOWN], start=1)]
    table = os.path.relpath(folder_of_list(turn) / "suggestions.csv")
    lines.append(f"  {'...' if len(state.asked) > SHOWN else '   '}  all in {table}")
    numbers = ", ".join(f"{i} {name}" for i, name in enumerate(state.classes))
    classes = f"classes {', '.join(state.classes)}"
    how = HOW.get(turn.options["dataset"], HOW[turn.task])
    how = how.format(root=turn.data_root, numbers=numbers, classes=classes)
    return [*lines, f"{how}. Then the same command."]


def waited_for(turn: Turn) -> list[str]:
    """What a call says that finds labels missing."""
    pending = waiting(turn.state, turn.images)
    names, total = [each.name for each in pending], len(turn.state.asked)
    some = "; accept=some goes on with what there is" if len(pending) < total else ""
    return [f"Nothing is trained: {len(pending)} of {total} images are not labelled yet: {listed(names)}{some}."]


def evidence_in(turn: Turn, model: nn.Module | None) -> ModelEvidence | None:
    """What the model of the last round says; None before the first. Refused where its file is lost."""
    state, options = turn.state, turn.options
    if not state.round:
        return None
    task = turn.definition.make_task(options, turn.train)
    model = model or last_model(turn, task)
    if model is None:
        if others := in_words(unlike(options, state.options)):
            raise Refused(
                f"the list of round {state.round} is not whole yet, and its model was made with {others}: type the "
                "command with that once more"
            )
        file = turn.checkpoint.model_file(state.round - 1)
        raise Missing(f"{file}, the model of round {state.round}, is lost: resume=fresh begins this study again")
    return evidence_of(task, model, QueryOptions.of(options), options["seed"], state.round - 1)


def chart_in(turn: Turn, evidence: ModelEvidence | None) -> Chart | None:
    """Where the list lies among all images; None without a preview, and before the first model."""
    if evidence is None or "preview" not in kinds_of(turn.options):
        return None
    index = {name: i for i, name in enumerate(turn.images.names)}
    asked = [each.name for each in turn.state.asked if each.part != "test"]
    learnt = [name for name in turn.state.labels if name in index]
    rest = [name for name in turn.state.order if name not in {*asked, *learnt}]
    return chart_of(
        evidence, turn.images, *(np.array([index[n] for n in each], np.int64) for each in (asked, learnt, rest))
    )


def seen_of(turn: Turn, evidence: ModelEvidence | None) -> Iterator[Seen]:
    """Each image of the list, one after another; of test images no prediction, which could lead the person."""
    options, state, images = turn.options, turn.state, turn.images
    index = {name: i for i, name in enumerate(images.names)}
    positions = [index[each.name] for each in state.asked]
    asked = np.array([i for each, i in zip(state.asked, positions, strict=True) if each.part != "test"], np.int64)
    alike: dict[int, str] = {}
    word = "random" if options["initial"] == "random" else "typical"
    if evidence is not None:
        learnt = np.array([index[name] for name in state.labels if name in index], np.int64)
        alike = dict(zip(asked.tolist(), nearest(evidence, images, asked, learnt), strict=True))
        word = why(turn.heuristic, options["then"])
    for rank, (each, i) in enumerate(zip(state.asked, positions, strict=True), start=1):
        prediction, doubt = None, nan
        if evidence is not None and each.part != "test":
            found = predictions(evidence, images, np.array([i]), wanted_of(images), options["least_score"])
            _, prediction, doubt = next(iter(found))
        score = nan if each.score is None else each.score
        reason = "test" if each.part == "test" else word
        told = {"rank": rank, "part": each.part, "score": score, "uncertainty": doubt}
        suggestion = suggestion_of(images, i, turn.data_root, nearest=alike.get(i, ""), why=reason, **told)
        yield seen(images, suggestion, i, prediction)
