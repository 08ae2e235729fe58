"""What a call of `suggest` does with Label Studio: takes finished labels before it reads, asks after it has chosen."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.files import folder_of, under_root
from experiments.rounds.label_studio.client import require_url
from experiments.rounds.label_studio.project import STATE, Study
from experiments.rounds.label_studio.pulling import pull
from experiments.rounds.label_studio.sending import send
from experiments.rounds.suggestion import Seen

CHANGES_NO_RESULT = True  # labels that it takes are data, which a round looks at

Values = Mapping[str, Any]


def study_of(task: str, options: Values, classes: Sequence[str], folder: Path) -> Study:
    """The study of a script (segment, classify or detect) with its options, whose own files lie in `folder`."""
    return Study(task, options["dataset_title"], tuple(classes), folder_of(options["data_root"]), folder)


def take(task: str, options: Values, classes: Sequence[str], folder: Path) -> list[str]:
    """Pull finished annotations into the labels folder of a study; what to tell of it, in sentences.

    Nothing where `label_studio` is empty, or nothing was ever sent. Errors as in `pulling.pull`.
    """
    if not options["label_studio"]:
        return []
    require_url(options["label_studio"])
    if not (folder / STATE).exists():
        return []
    labels = under_root(options["labels"]) if options["labels"] else folder / "labels"
    study = study_of(task, options, classes, folder)
    rules = options["two_annotators"], options["label_studio_deleted"]
    return pull(study, options["label_studio"], labels, *rules).sentences()


def ask(
    task: str,
    options: Values,
    classes: Sequence[str],
    folder: Path,
    seen: Iterable[Seen],
    version: str,
    names: Collection[str] = (),
) -> list[str]:
    """Send a list to Label Studio; what to tell of it, in sentences. Nothing where `label_studio` is empty.

    `version` names the model that made the predictions, `names` are those of the list. Errors as in `sending.send`.
    """
    if not options["label_studio"]:
        return []
    study = study_of(task, options, classes, folder)
    shape, deleted = options["label_studio_masks"], options["label_studio_deleted"]
    return send(study, options["label_studio"], seen, version, shape, deleted, names).sentences()
