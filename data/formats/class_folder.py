"""Your own images with one class each: a folder per class, or a table of file, label, patient and part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from data import files
from data.formats import (
    class_table,
    class_tree,
    classes,
    columns,
    endings,
    folders,
    open_classes,
    patients,
    tables,
    words,
)
from data.formats.labelled import TEST_FRACTION, Labelled, images_of
from data.formats.pictures import Bands, Exif, Frames, Levels, Options, Scaling
from data.formats.unlabelled import NO_LABEL
from data.limits import Between, OneOf
from data.names import Refused
from data.notes import GUESSED, WARNING, note
from data.store import Images
from data.unlabelled import Unlabelled

OWN_TREE = """
benign/a.png ...   malignant/b.jpg ...   (one folder per class; pictures may lie in folders below it)
or train/benign/a.png ...   test/benign/c.png ...   (val/ is optional; Training/, valid/, testing/ ... are understood)
or benign/train/a.png ...   benign/test/c.png ...
or labels.csv with columns file, label and, where known, patient and part; files are relative to the csv
beside them, where useful: patients.csv (columns file, patient), classes.txt (a class per line, or '0: benign')
"""
MODULES = (class_table, class_tree, classes, columns, endings, folders, patients, tables, words)
CODE = [__file__, *(str(module.__file__) for module in MODULES)]


def own(
    data_root: Path,
    image_size: int | None,
    cache_root: Path | None = None,
    test_fraction: Annotated[float, Between(0, 0.9)] = TEST_FRACTION,
    patient_pattern: str = "",
    missing: Annotated[str, OneOf(class_table.MISSING)] = "refuse",
    spellings: Annotated[str, OneOf(classes.SPELLINGS)] = "refuse",
    class_names: Sequence[str] = (),
    test_fold: Annotated[int, Between(-1, 10_000)] = -1,
    exif: Exif = "apply",
    frames: Frames = "one",
    window: Levels = None,
    scaling: Scaling = "set",
    bands: Bands = None,
    unlabelled: Unlabelled | None = None,
) -> Images:
    """Your own images under `data_root`: labels.csv if there is one, else one folder per class, with or without parts.

    Images become grey or, if any is coloured, all RGB. Without an official test part, a fixed share `test_fraction` of
    every class is 'test', and all images of a patient go to the same side. Names are paths relative to `data_root`
    where file names repeat.

    `patient_pattern` finds the patient in a name, see data.formats.patients. `missing` says what becomes of a row whose
    label is empty or a word such as nan or NA: 'refuse', 'leave_out', or 'keep' such a word as a class. `spellings`
    says what becomes of labels such as 'Benign' beside 'benign' or '1' beside '1.0': 'refuse', 'merge' or 'keep'.
    `class_names` are the classes in order, or as in data.formats.classes.named. `test_fold` is the number in a column
    of folds that is the test part. What `exif`, `frames`, `window`, `scaling` and `bands` do is said in
    data.formats.pictures.Options. With `unlabelled` pictures without a label are kept, see data.formats.open_classes.
    """
    options = Options(exif, frames, window, scaling, bands).checked()
    root = files.require_folder(Path(data_root), OWN_TREE)
    table = class_table.find(root)
    if unlabelled is not None:
        opened = open_classes.read(root, table, unlabelled, class_names, test_fold)
        return _opened(root, opened, spellings, class_names, patient_pattern, image_size, options, cache_root)
    found = class_table.read(root, table, missing, test_fold) if table else class_tree.read(root, OWN_TREE, class_names)
    source = table.name if table else f"folder {root.name}"
    counts = Counter(entry.label for entry in found)
    spelt = classes.one_spelling(counts, source, spellings)
    merged = Counter({label: 0 for label in spelt.values()})
    for label, count in counts.items():
        merged[spelt[label]] += count
    classes.require_classes(merged, source)
    class_of, names = classes.named(list(merged), class_names, root, source)
    parts = _parts(found, float(test_fraction), root)
    whose = _patients(found, root, patient_pattern)
    listed = [
        Labelled(entry.file, names.index(class_of[spelt[entry.label]]), part, patient)
        for entry, part, patient in zip(found, parts, whose, strict=True)
    ]
    fraction = 0.0 if "test" in parts else float(test_fraction)
    images = images_of("folder", root, listed, names, image_size, None, CODE, cache_root, False, fraction, options)
    patients.note_shared(images.patients.tolist(), images.parts.tolist())
    return images


def _opened(
    root: Path,
    opened: open_classes.Open,
    spellings: str,
    class_names: Sequence[str],
    patient_pattern: str,
    image_size: int | None,
    options: Options,
    cache_root: Path | None,
) -> Images:
    """Images of which some have no label; the parts are those that the user gives, else all are to learn from."""
    found, source = opened.entries, f"folder {root.name}"
    counts = Counter(entry.label for entry in found if entry.label)
    spelt = classes.one_spelling(counts, source, spellings)
    labels = list(dict.fromkeys(spelt.values()))
    open_classes.classes_told(class_names, root, labels, classes.LIST)
    class_of, names = classes.named(labels, class_names, root, source)
    number = {"": NO_LABEL} | {label: names.index(class_of[spelt[label]]) for label in counts}
    whose = _patients(found, root, patient_pattern)
    listed = [Labelled(e.file, number[e.label], e.part, who) for e, who in zip(found, whose, strict=True)]
    return images_of(
        "folder", root, listed, names, image_size, None, CODE, cache_root, options=options, opened=opened.names
    )


def _parts(found: Sequence[class_table.Entry], test_fraction: float, root: Path) -> list[str]:
    """The part of every image; a note tells where the test part is drawn, and where an option has no effect."""
    parts = [entry.part for entry in found]
    if "test" in parts and test_fraction != TEST_FRACTION:
        note(WARNING, f"test_fraction={test_fraction:g} is not used: the test part is given.")
    if "test" not in parts and test_fraction:
        note(GUESSED, f"{root.name} has no test part: a fixed {test_fraction:.0%} of the images of train becomes it.")
    if "train" not in parts:
        raise Refused(f"no image in {root} is of the part train, only of {', '.join(sorted(set(parts)))}")
    absent = {entry.label for entry in found} - {entry.label for entry in found if entry.part == "test"}
    if "test" in parts and absent:
        note(WARNING, f"class {', '.join(map(repr, sorted(absent)))} has no image in the test part.")
    untaught = {entry.label for entry in found} - {entry.label for entry in found if entry.part == "train"}
    if untaught:
        raise Refused(f"class {', '.join(map(repr, sorted(untaught)))} has no image in the part train of {root}")
    return parts


def _patients(found: Sequence[class_table.Entry], root: Path, pattern: str) -> list[str]:
    """The patient of every image, from the table, patients.csv or the pattern."""
    told = any(entry.patient for entry in found)
    names = [entry.file.relative_to(root).as_posix() for entry in found]
    others = patients.patients_of(names, root, pattern)
    if told and any(others):
        by = f"patient_pattern={pattern!r}" if pattern else patients.TABLE
        raise Refused(f"the labels in {root} have a column of patients, and {by} tells them too; use one of them")
    return [entry.patient for entry in found] if told else others
