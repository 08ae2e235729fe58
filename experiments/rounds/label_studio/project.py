"""The project of a study in Label Studio: made once, found again, and told from one that was deleted."""

from __future__ import annotations

import uuid
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.files import read_sealed, write_sealed
from data.names import Missing, Refused
from experiments.rounds.label_studio.client import Gone, Invalid, Server

STATE = "label_studio.json"
TITLE = 50  # characters that a title can have; 3 at least
SAMPLING = "Uncertainty sampling"  # the order of tasks: lowest score first, of predictions of the project's version


@dataclass(frozen=True)
class Study:
    """What a project in Label Studio is for."""

    task: str  # segment | classify | detect
    title: str
    classes: tuple[str, ...]  # of masks the first is the background, which nobody draws
    images: Path  # the folder below which all images lie; nothing of ours ever writes to it
    folder: Path  # of ours: which project it is stands there, and nowhere else


def project_of(server: Server, study: Study) -> dict[str, Any] | None:
    """The project of a study as the server describes it; None where none was made yet.

    Missing where there was one that is gone. Found by its number, or, where a process was killed before it could write
    that down, by a key in its description.
    """
    state = _state(study)
    number = state["projects"].get(server.url)
    if number is not None:
        try:
            return server.get(f"/api/projects/{number}/")
        except Gone:
            raise Missing(
                f"project {number} of this study is no longer in Label Studio at {server.url} (deleted, or hidden from "
                "the user of the token): restore it, or make a new one with label_studio_deleted=anew. Labels that "
                "were pulled are kept"
            ) from None
    for project in server.pages("/api/projects/", "results", include="id,title,description"):
        if state["key"] and state["key"] in str(project.get("description")):
            _keep(study, state, server.url, project["id"])
            return server.get(f"/api/projects/{project['id']}/")
    return None


def require_project(server: Server, study: Study, config: str, deleted: str = "refuse") -> dict[str, Any]:
    """The project of a study, made where there is none, with a labelling configuration that has all of its classes.

    A project that was deleted is made anew with `deleted` 'anew', else see `project_of`.
    """
    try:
        project = project_of(server, study)
    except Missing:
        if deleted != "anew":
            raise
        _forget(study, server.url)
        project = None
    if project is None:
        return _made(server, study, config)
    if not _has_all(project, config):
        try:
            project = server.patch(f"/api/projects/{project['id']}/", {"label_config": config})
        except Invalid as error:
            raise Refused(
                f"project {project['id']} of {server.url} does not take this labelling configuration: {error}"
            ) from None
    return project


def _made(server: Server, study: Study, config: str) -> dict[str, Any]:
    state = _state(study)
    if not state["key"]:  # written before the project is made, so that a kill in between leaves no second one
        state["key"] = uuid.uuid4().hex
        write_sealed(study.folder / STATE, state)
    title = f"{study.title} ({study.task})"[:TITLE]
    body = {
        "title": title,
        "description": f"Aliquot, active learning. Found again by this key, please leave it here: {state['key']}",
        "label_config": config,
        "sampling": SAMPLING,
    }
    project = server.post("/api/projects/", body)
    _keep(study, state, server.url, project["id"])
    return project


def _has_all(project: dict[str, Any], config: str) -> bool:
    """Whether a project's configuration, which its owner may have changed, has the controls and labels of ours."""
    if project.get("label_config") == config:
        return True
    parsed = project.get("parsed_label_config")
    return isinstance(parsed, dict) and all(
        name in parsed and parsed[name].get("type") == tag and labels <= set(parsed[name].get("labels") or ())
        for name, (tag, labels) in controls(config).items()
    )


def controls(config: str) -> dict[str, tuple[str, set[str]]]:
    """Name of each control of a labelling configuration -> its kind and its labels."""
    found = {}
    for element in ElementTree.fromstring(config).iter():
        if element.get("toName"):
            labels = {str(inner.get("value")) for inner in element}
            found[str(element.get("name"))] = (element.tag, labels)
    return found


def _state(study: Study) -> dict[str, Any]:
    """What is kept of a study: its key, and the number of its project at each address."""
    file = study.folder / STATE
    if not file.exists():
        return {"key": "", "projects": {}}
    try:
        return read_sealed(file)
    except ValueError as error:
        raise Refused(f"{error}: remove it, and the project is found or made again") from None


def _keep(study: Study, state: dict[str, Any], url: str, number: int) -> None:
    write_sealed(study.folder / STATE, {**state, "projects": {**state["projects"], url: number}})


def _forget(study: Study, url: str) -> None:
    state = _state(study)
    others = {address: number for address, number in state["projects"].items() if address != url}
    write_sealed(study.folder / STATE, {**state, "projects": others})
