"""What a round suggests goes to Label Studio: tasks in the order of rank, with what the model makes of each image."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from data.limits import OneOf
from experiments.rounds.exports.labelstudio import SHAPES, labelling, task_of
from experiments.rounds.label_studio.batches import batches
from experiments.rounds.label_studio.client import Server, connect
from experiments.rounds.label_studio.images import relative, serve
from experiments.rounds.label_studio.project import Study, require_project
from experiments.rounds.suggestion import Seen

AT_ONCE = 10  # tasks of one request


@dataclass
class Sent:
    """What was sent; names as the dataset has them."""

    url: str = ""  # where to label
    new: list[str] = field(default_factory=list)  # tasks that were not there
    renewed: list[str] = field(default_factory=list)  # tasks of earlier rounds, with a prediction of this one now
    present: list[str] = field(default_factory=list)  # tasks that needed nothing
    labelled: list[str] = field(default_factory=list)  # tasks that are annotated already, which is not pulled yet
    warnings: list[str] = field(default_factory=list)

    def sentences(self) -> list[str]:
        """What a person should know, one sentence each."""
        before = len(self.renewed) + len(self.present) + len(self.labelled)
        said = [*self.warnings, f"Label Studio: tasks sent {len(self.new)}, there before {before}. Label at {self.url}"]
        if self.labelled:
            said.append(f"Annotated and to be pulled by the next call: {len(self.labelled)}.")
        return said


def send(
    study: Study,
    url: str,
    seen: Iterable[Seen],
    version: str,
    shape: str = SHAPES[0],
    deleted: str = "refuse",
    names: Collection[str] = (),
) -> Sent:
    """Make sure that a study's project has a task for each image, with what a model makes of it, in order of rank.

    Whatever was sent before, by this call or by one that was killed, is looked up in the project and not sent again.
    `seen` is taken one by one. Images of the test part, and all while there is no model, have a prediction without
    regions, which only carries their place in the order. `version` names the list and its model. `shape`: whether masks
    are 'polygon' or 'brush'. `names`: of all that is `seen`, where they are known before; if the project has them all,
    `seen` is not begun, and nothing computed. See `pull` for the errors and for `deleted`.
    """
    OneOf(SHAPES).check("label_studio_masks", shape)
    server = connect(url)
    project = require_project(server, study, labelling(study.task, study.classes, shape), deleted)
    number = project["id"]
    sent = Sent(f"{server.url}/projects/{number}", warnings=server.warnings)
    before, known = "", _known(server, number)
    if names and all(_needs_nothing(known.get(name), version) for name in names):
        sent.labelled = [name for name in names if known[name].get("total_annotations")]
        sent.present = [name for name in names if not known[name].get("total_annotations")]
        seen = ()
    for batch in batches(seen, AT_ONCE):
        before = before or serve(server, number, study.images, [batch[0].suggestion.file])
        tasks = []
        for each in batch:
            task = _task(study, each, before, version, shape)
            name = task["data"]["name"]
            there = known.get(name)
            if there is None:
                tasks.append(task)
                known[name] = {"id": None}
            elif there.get("total_annotations"):
                sent.labelled.append(name)
            elif _needs_nothing(there, version):
                sent.present.append(name)
            else:
                server.patch(f"/api/tasks/{there['id']}/", {"data": task["data"]})  # its rank is another
                server.post("/api/predictions/", {"task": there["id"], **task["predictions"][0]})
                sent.renewed.append(name)
        if tasks:
            server.post(f"/api/projects/{number}/import", tasks, return_task_ids="true")
            sent.new += [task["data"]["name"] for task in tasks]
    if project.get("model_version") != version:  # tasks are handed out by the predictions of this version
        server.patch(f"/api/projects/{number}/", {"model_version": version})
    return sent


def _task(study: Study, seen: Seen, before: str, version: str, shape: str) -> dict[str, Any]:
    """The task of a suggestion, under the name by which its label will be found again."""
    path = relative(seen.suggestion.file, study.images)
    task = task_of(study.task, study.classes, seen, path, before, version, shape)
    task["data"]["name"] = seen.suggestion.name
    return task


def _needs_nothing(task: Mapping[str, Any] | None, version: str) -> bool:
    """Whether a project has a task that is annotated, or has a prediction of this version."""
    if task is None:
        return False
    return bool(task.get("total_annotations")) or version in str(task.get("predictions_model_versions")).split(",")


def _known(server: Server, project: int) -> dict[str, Mapping[str, Any]]:
    """The tasks that a project has, by the name of the image."""
    wanted = "id,data,total_annotations,predictions_model_versions"
    found = server.pages("/api/tasks", "tasks", project=project, fields="all", include=wanted)
    return {str(task["data"].get("name")): task for task in found if isinstance(task.get("data"), dict)}
