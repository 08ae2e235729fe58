"""Finished annotations of Label Studio become labels in a folder of ours; pulling again changes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan, nan
from pathlib import Path
from typing import Any

from numpy import ndarray

from data.limits import OneOf
from data.names import Missing, Refused
from experiments.rounds.division import listed
from experiments.rounds.label_studio import labels
from experiments.rounds.label_studio.answers import (
    Annotation,
    agreement_of,
    annotations_of,
    chosen,
    label_of,
)
from experiments.rounds.label_studio.batches import batches
from experiments.rounds.label_studio.client import Server, connect
from experiments.rounds.label_studio.project import Study, project_of
from experiments.tracking.label_studio_options import RULES

AT_ONCE = 25  # tasks whose annotations are held in memory
MOST_PIXELS = 10**9  # of one image: what a server says is not believed without end


@dataclass
class Pulled:
    """What was found; names as the dataset has them."""

    new: list[str] = field(default_factory=list)  # labels written now, the first time or corrected
    labelled: list[str] = field(default_factory=list)  # labels that Label Studio has, `new` among them
    nothing_there: list[str] = field(default_factory=list)  # of `labelled`: submitted without a region
    waiting: list[str] = field(default_factory=list)  # tasks that nobody has touched
    drafts: list[str] = field(default_factory=list)  # begun and not submitted
    skipped: list[str] = field(default_factory=list)  # cancelled by the annotator
    without_class: list[str] = field(default_factory=list)  # submitted without a choice
    double: list[str] = field(default_factory=list)  # annotated more than once
    unread: list[str] = field(default_factory=list)  # sentences about annotations that cannot be used
    agreement: float = nan  # of the annotators of `double`, see `answers.agreement_of`
    rule: str = RULES[0]
    warnings: list[str] = field(default_factory=list)

    def sentences(self) -> list[str]:
        """What a person should know, one sentence each."""
        before = len(self.labelled) - len(self.new)
        said = [*self.warnings, f"Label Studio: labels that are new or corrected {len(self.new)}, as before {before}."]
        took = {"refuse": "none of their annotations is used, delete all but one"}
        took |= {"newest": "the newest is used", "first": "the first is used"}
        agree = "" if isnan(self.agreement) else f", which agree to {self.agreement:.2f}"
        for names, sentence in (
            (self.nothing_there, "Submitted without a region, so that nothing is there"),
            (self.double, f"With several annotations{agree}, {took[self.rule]}"),
            (self.skipped, "Skipped by the annotator, without a label"),
            (self.without_class, "Submitted without a class, without a label"),
            (self.drafts, "Begun, as a draft that was not submitted"),
            (self.waiting, "Waiting to be labelled"),
        ):
            if names:
                said.append(f"{sentence}: {len(names)} ({listed(names)}).")
        return [*said, *self.unread]


def pull(study: Study, url: str, folder: Path, two_annotators: str = "newest", deleted: str = "refuse") -> Pulled:
    """Write the labels of all finished annotations of a study's project below `folder`, see `labels`.

    `two_annotators`: which annotation counts where an image has several, one of RULES. Skipped tasks, drafts
    and annotations that cannot be read are named and change nothing; labels written before are kept. Refused or
    Unreachable in one sentence for what is wrong with the server, the token or the project; `deleted` 'anew' takes a
    project that is gone as one without tasks.
    """
    OneOf(RULES).check("two_annotators", two_annotators)
    server = connect(url)
    found = Pulled(rule=two_annotators, warnings=server.warnings)
    try:
        project = project_of(server, study)
    except Missing:
        if deleted != "anew":
            raise
        project = None
    if project is None:
        return found
    by_name = _tasks_by_name(server, project["id"], found)
    annotated = []
    for name, tasks in by_name.items():
        if any(task.get("total_annotations") for task in tasks):
            annotated.append(name)
        elif any(task.get("cancelled_annotations") for task in tasks):
            found.skipped.append(name)
        else:
            (found.drafts if any(task.get("drafts") for task in tasks) else found.waiting).append(name)
    classes: dict[str, str] = {}
    pairs: list[tuple[ndarray, ndarray]] = []
    for names in batches(annotated, AT_ONCE):
        numbers = [task["id"] for name in names for task in by_name[name]]
        exported = server.get(
            f"/api/projects/{project['id']}/export", exportType="JSON", download_all_tasks="true", **{"ids[]": numbers}
        )
        given = {task.get("id"): task for task in exported if isinstance(task, dict)}
        for name in names:
            tasks = [given[task["id"]] for task in by_name[name] if task["id"] in given]
            _take(study, folder, name, tasks, found, classes, pairs)
    if classes:
        news = labels.write_classes(folder, classes)
        found.new += [name for name in classes if name in news]
    found.agreement = agreement_of(study.task, pairs)
    return found


def _take(
    study: Study,
    folder: Path,
    name: str,
    tasks: Sequence[Mapping[str, Any]],
    found: Pulled,
    classes: dict[str, str],
    pairs: list[tuple[ndarray, ndarray]],
) -> None:
    """The label of one image: written, or for classes gathered, and counted."""
    annotations = [annotation for task in tasks for annotation in annotations_of(task)]
    annotations.sort(key=lambda annotation: (annotation.created, annotation.number))
    if not annotations:  # removed since the tasks were listed
        found.waiting.append(name)
        return
    try:
        size = _size(tasks[0], name)
        if len(annotations) > 1:
            found.double.append(name)
            _compare(study, annotations, size, name, pairs)
        annotation = chosen(annotations, found.rule)
        if annotation is None:
            return
        label = _label(study, annotation, size, name)
        if label is None:
            found.without_class.append(name)
            return
        if study.task == "classify":
            classes[name] = study.classes[int(label)]
        elif study.task == "segment":
            found.new += [name] if labels.write_mask(folder, name, label) else []
        else:
            found.new += [name] if labels.write_boxes(folder, name, label, study.classes, size) else []
    except Refused as error:
        found.unread.append(f"{error} (its label is not used)")
        return
    found.labelled.append(name)
    if study.task != "classify" and not label.any():
        found.nothing_there.append(name)


def _compare(
    study: Study,
    annotations: Sequence[Annotation],
    size: tuple[int, int],
    name: str,
    pairs: list[tuple[ndarray, ndarray]],
) -> None:
    """Add the first annotation and the first of another annotator, else the last one, to what is compared."""
    others = [a for a in annotations if a.annotator != annotations[0].annotator]
    first, second = (_label(study, a, size, name) for a in (annotations[0], (others or annotations)[-1]))
    if first is not None and second is not None:
        pairs.append((first, second))


def _label(study: Study, annotation: Annotation, size: tuple[int, int], name: str) -> ndarray | None:
    where = f"annotation {annotation.number} of {name}"
    return label_of(study.task, list(study.classes), annotation.results, size, where)


def _tasks_by_name(server: Server, project: int, found: Pulled) -> dict[str, list[dict]]:
    """The tasks of each image, without what was drawn; those that are not of the rounds are named."""
    wanted = "id,data,total_annotations,cancelled_annotations,drafts"
    by_name: dict[str, list[dict]] = defaultdict(list)
    others = 0
    for task in server.pages("/api/tasks", "tasks", project=project, fields="all", include=wanted):
        data = task.get("data")
        name = data.get("name") if isinstance(data, dict) else None
        if not isinstance(name, str):
            others += 1
            continue
        try:
            by_name[labels.inside(name)].append(task)
        except Refused as error:
            found.unread.append(f"task {task['id']}: {error}")
    if others:
        found.warnings.append(f"{others} tasks of the project are not from the rounds of this study and are not used")
    return by_name


def _size(task: Mapping[str, Any], name: str) -> tuple[int, int]:
    """Height and width of the image's file, as they were sent."""
    data = task.get("data") or {}
    height, width = data.get("height"), data.get("width")
    if type(height) is not int or type(width) is not int or min(height, width) < 1 or height * width > MOST_PIXELS:
        raise Refused(f"the task of {name} has no height and width, which were sent with it")
    return height, width
