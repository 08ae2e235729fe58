"""Random folders of own images with classes: trees in every layout, and tables in every dialect."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.store import Images
from tests.data.trials.damage import of_links
from tests.data.trials.drawing import (
    WORDS,
    Trial,
    Truth,
    chance,
    clutter,
    composed,
    draw_kinds,
    one_of,
    require_alike,
    scene,
    stems,
    write_picture,
)

CLASSES = [
    "benign",
    "Malignant",
    "grade 10",
    "grade 2",
    "0",
    "1",
    "Größe",
    "é",
    "图",
    "a,b",
    'say "x"',
    "none of them",
    "yes",
]
HEADERS = {
    "file": ["file", "File", "filename", "image_path", "Image Name", "path", "\u00a0file "],
    "label": ["label", "Label", "class", "Diagnosis", "CATEGORY", "target"],
    "patient": ["patient", "Patient-ID", "subject_id", "patientId", "MRN"],
    "part": ["part", "split", "Split", "partition", "set"],
}
OTHERS = {"age": "63", "comment": "well; so, so", "id": "7", "notes": 'said "no"', "x|y": "", "width": "1,5"}
ENCODINGS = ["utf-8"] * 4 + ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "latin-1"]


def _classes(rng: np.random.Generator) -> list[str]:
    return rng.permutation(CLASSES)[: rng.integers(2, 5)].tolist()


def draw_tree(root: Path, rng: np.random.Generator, damage: bool = False) -> Trial:
    """A folder per class, with parts above, below or without; pictures in folders below their class now and then."""
    classes, kinds = _classes(rng), draw_kinds(rng)
    layout = one_of(rng, ["flat", "flat", "above", "below"])
    parts = ["train", "test"] + ["val"] * chance(rng, 0.4) if layout != "flat" else [""]
    words = {part: one_of(rng, WORDS[part]) for part in parts if part}
    deeper = one_of(rng, ["", "", "", "P", "slide "])
    trial = Trial("classify", "folder", root, {}, {"image_size": None}, [layout, str(words), str(classes)])
    for label in classes:
        for part in parts:
            n = int(rng.integers(3, 6))
            for stem in stems(rng, n):
                levels = [label, words.get(part, "")]
                folder = root.joinpath(*(levels if layout == "below" else levels[::-1]))
                inner = f"{deeper}{rng.integers(3)}" if deeper else ""
                _write(rng, trial, folder / inner / stem, one_of(rng, kinds), label, part)
    trial.told += clutter(rng, root, [root, root / classes[0]])
    if not damage:
        _tree_faults(rng, trial, classes)
    _name(trial)
    return trial


def draw_table(root: Path, rng: np.random.Generator, damage: bool = False) -> Trial:
    """labels.csv in any dialect and encoding, with pictures where it says."""
    classes, kinds = _classes(rng), draw_kinds(rng)
    n = int(rng.integers(3, 6)) * len(classes)
    of = rng.permutation(np.resize(classes, n)).tolist()
    parts = rng.permutation(np.resize(["train", "train", "test", "val"][: rng.integers(3, 5)], n)).tolist()
    columns = ["file", "label"] + ["part"] * chance(rng, 0.5) + ["patient"] * chance(rng, 0.4)
    if "part" in columns:  # every class in train and in test
        for label in classes:
            places = [i for i in range(n) if of[i] == label]
            parts[places[0]], parts[places[1]] = "train", "test"
    folders = one_of(rng, [("",), ("pics",), ("a b/c",), ("x", "y")])
    trial = Trial("classify", "folder", root, {}, {"image_size": None})
    files, cells = [], []
    for i, stem in enumerate(stems(rng, n)):
        part = parts[i] if "part" in columns else ""
        patient = f"P{i // 2}" if "patient" in columns else ""
        file = _write(rng, trial, root / one_of(rng, folders) / stem, one_of(rng, kinds), of[i], part, patient)
        files.append(file)
        cells.append({"label": of[i], "part": one_of(rng, WORDS[parts[i]]), "patient": patient})
    how = one_of(rng, ["path"] * 5 + ["backslash", "absolute", "no ending", "name", "dot", "NFD"])
    for row, file in zip(cells, files, strict=True):
        row["file"] = _written(how, root, file)
    table, told = _table(rng, columns, cells, damage)
    (root / one_of(rng, ["labels.csv", "labels.csv", "Labels.CSV"])).write_bytes(table)
    trial.told += [how, told, str(classes), *clutter(rng, root, [root])]
    _name(trial)
    return trial


def check(trial: Trial, images: Images, said: list[str]) -> None:
    """Every image with its own class, part and patient; what is left out has been told."""
    names = [composed(name) for name in images.names]
    assert len(set(names)) == len(names) and set(names) <= trial.truth.keys()
    lost = trial.truth.keys() - set(names)
    known = {real for name in names for real in trial.files.get(name, ())}
    lost = {name for name in lost if not known & set(trial.files.get(name, ()))}
    assert lost <= trial.damaged and (not lost or any("not used" in sentence for sentence in said)), f"lost {lost}"
    parts = images.parts.tolist()
    drawn = {truth.part for truth in trial.truth.values()}
    for i, name in enumerate(names):
        truth = trial.truth[name]
        if name in trial.damaged:
            continue
        assert images.classes[int(images.target(i))] == truth.target, (name, images.classes[int(images.target(i))])
        assert drawn == {""} or parts[i] == truth.part, (name, parts[i])
        if truth.patient:
            assert images.patients[i] == truth.patient, (name, images.patients[i])
        require_alike(images.raw(i), truth, name, said)
    if drawn == {""}:
        assert set(parts) == {"train", "test"}
        sides = {(str(patient), part) for patient, part in zip(images.patients, parts, strict=True) if patient}
        assert len(sides) == len({patient for patient, _ in sides}), "a patient on both sides"


def _write(rng, trial: Trial, bare: Path, kind, label: str, part: str, patient: str = "") -> Path:
    file = bare.with_name(bare.name + kind.ending)
    seen: Truth = write_picture(rng, kind, file, scene(rng, *(int(side) for side in rng.integers(10, 24, 2))))
    path = file.relative_to(trial.root).as_posix()
    trial.truth[path] = seen._replace(target=label, part=part, patient=patient)
    trial.files[path] = [file]
    return file


def _name(trial: Trial) -> None:
    """Names are file names where these differ, else paths."""
    for field in (trial.truth, trial.files):
        short = [path.rpartition("/")[2] for path in field]
        chosen = short if len(set(map(composed, short))) == len(short) else list(field)
        renamed = dict(zip(map(composed, chosen), field.values(), strict=True))
        field.clear()
        field |= renamed  # type: ignore[arg-type]


def _written(how: str, root: Path, file: Path) -> str:
    """How a table names a file."""
    path = file.relative_to(root).as_posix()
    return {
        "path": path,
        "dot": f"./{path}",
        "backslash": path.replace("/", "\\"),
        "absolute": str(file.resolve()),
        "no ending": path[: -len(file.suffix)],
        "name": file.name,
        "NFD": unicodedata.normalize("NFD", path),
    }[how]


def _table(rng: np.random.Generator, columns: Sequence[str], rows: list[dict], damage: bool) -> tuple[bytes, str]:
    """The text of a table, and how it is written."""
    headers = {column: one_of(rng, HEADERS[column]) for column in columns}
    others = [] if chance(rng, 0.6) else rng.permutation(list(OTHERS))[:2].tolist()
    order = rng.permutation([*columns, *others]).tolist()
    separator = one_of(rng, [",", ",", ";", "\t", "|"])
    lines = one_of(rng, ["\n", "\r\n", "\r"])
    quoting = csv.QUOTE_ALL if chance(rng, 0.3) else csv.QUOTE_MINIMAL
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=lines)
    writer.writerow([headers.get(column, column) for column in order])
    for row in rows:
        writer.writerow([row.get(column, OTHERS.get(column, "")) for column in order])
    written = text.getvalue() + one_of(rng, ["", "", lines, separator * (len(order) - 1) + lines])
    if chance(rng, 0.05):
        written = f"sep={separator}\r\n{written}"
    encoding = one_of(rng, ENCODINGS if not damage else ["utf-8"])
    try:
        return written.encode(encoding), f"{order} {separator!r} {encoding} {lines!r} {quoting}"
    except UnicodeEncodeError:
        return written.encode(), f"{order} {separator!r} utf-8 {lines!r} {quoting}"


def _tree_faults(rng: np.random.Generator, trial: Trial, classes: list[str]) -> None:
    """A folder that stays empty, a link, a picture beside the classes, a loop of links."""
    how = one_of(rng, [""] * 6 + ["link", "loop", "broken", "empty folder", "empty", "beside"])
    trial.told.append(how)
    path = one_of(rng, list(trial.files))
    file = trial.files[path][0]
    if how in ("link", "broken", "empty"):
        of_links(trial, file, how)
    elif how == "loop":
        (file.parent / "loop").symlink_to(trial.root)
    elif how == "empty folder":
        (trial.root / "nothing").mkdir()
    elif how == "beside":
        (trial.root / f"beside{file.suffix}").write_bytes(file.read_bytes())
