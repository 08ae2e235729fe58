"""Where a study with a person lies, and what is read for it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.catalogue import OWN
from data.files import folder_of, require_writable, under_root
from data.names import Refused
from data.store import Images
from data.unlabelled import Unlabelled
from experiments.rounds.state import Rounds
from experiments.rounds.suiting import suited_options
from experiments.tasks.representation import with_features
from experiments.tasks.task import Definition
from experiments.tracking.checkpoints import Checkpoint
from experiments.tracking.weights_option import runs_folder

N_STOP = 100  # images on which models are compared where no option says how many

Values = Mapping[str, Any]


def checkpoint_of(task: str, options: Values) -> Checkpoint:
    """Where a study lies: in `out`, else below runs/rounds in a folder that its images and `run` name.

    Refused for a folder among the user's own images, for one that holds other things than a study, and for one that
    cannot be written.
    """
    root = folder_of(options["data_root"]).resolve()
    said = hashlib.sha256(f"{task} {options['dataset']} {root} {options['run']}".encode()).hexdigest()[:8]
    key = f"{task}-{options['dataset_title'] or root.name}-{options['run']}-{said}"
    folder = under_root(options["out"]) if options["out"] else runs_folder() / "rounds" / key
    if folder.resolve().is_relative_to(root):
        raise Refused(
            f"out={str(folder)!r} lies in data_root={str(root)!r}, where nothing is ever written: name another"
        )
    require_writable("out", folder)
    if folder.is_dir() and not (folder / "holder").exists():
        others = sorted(file.name for file in folder.iterdir() if file.name not in ("labels", "lock"))
        if others:
            raise Refused(f"out={str(folder)!r} holds {others[0]!r} and no study: name a new folder, or an empty one")
    return Checkpoint(runs_folder(), key, folder)


def require_own(options: Values) -> None:
    """Refused for what has no meaning in rounds with a person."""
    if options["dataset"] not in OWN:
        named = f"dataset={options['dataset']} has all its labels"
        raise Refused(f"suggest is for images of your own, {named}: say `suggest with folder data_root=DIR`")
    if options["splits_dir"]:
        raise Refused("splits_dir is for simulations: suggest sets a test part aside by itself (n_test)")
    if options["initial"] == "stratified":
        raise Refused("initial=stratified wants to know the classes before they are labelled; use random or typiclust")
    if options["label_studio"] and options["labels"]:
        raise Refused(
            f"labels={options['labels']!r} may hold labels of yours, and those of label_studio would be written there: "
            "leave one of the two out"
        )


def read(
    task: str, definition: Definition, options: Values, state: Rounds | None, folder: Path
) -> tuple[dict[str, Any], Images]:
    """The options with those that are taken from the data, and all images of the folder with what labels there are."""
    labels = Unlabelled(under_root(options["labels"]) if options["labels"] else folder / "labels")
    load_images = lambda chosen: definition.load({**chosen, "more_labels": labels})  # noqa: E731
    found = suited_options(task, options, state, load_images)
    found["n_stop"] = found["n_stop"] or N_STOP
    images = load_images(found)
    images = replace(images, fingerprint=of_pixels(images, folder_of(options["data_root"])))
    return found, with_features(images, found, definition)


def of_pixels(images: Images, root: Path) -> str:
    """Digest of the images without their labels: what is computed of the pixels alone stays when labels come in."""
    digest = hashlib.sha256(repr(images.pixels.shapes.tolist()).encode())
    for name, file in zip(images.names, images.of_files["file"].tolist(), strict=True):
        state = (root / file).stat()
        digest.update(f"{name} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def forget(folder: Path) -> None:
    """Begin again (resume=fresh): lists, models and state are removed, labels that were pulled stay."""
    for each in (*folder.glob("round_*"), *folder.glob(".round_*")):
        shutil.rmtree(each, ignore_errors=True)
    for file in (folder / "training.pt", *folder.glob("model-*.pt"), folder / "state.json"):
        file.unlink(missing_ok=True)


def kinds_of(options: Values) -> list[str]:
    """What `export` asks for."""
    return [kind.strip() for kind in options["export"].split(",") if kind.strip()]
