"""Images with classes of which some are not told yet, see `data.unlabelled`.

A row without a label, a picture in no row, a picture in a folder unlabelled/ or in no folder of a class wait for one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from filecmp import cmp
from pathlib import Path
from typing import NamedTuple

from data.formats import class_table, classes
from data.formats.class_table import Entry
from data.formats.endings import natural
from data.formats.folders import Unused, is_junk, part_folders, pictures_below, subfolders
from data.formats.tables import Row, read_table
from data.formats.unlabelled import note_both, note_lost
from data.formats.words import alike, is_missing
from data.names import Missing, Refused, suggestion
from data.notes import LEFT_OUT, note
from data.unlabelled import TABLE, Unlabelled

WAITING = ("unlabelled", "unlabeled")  # folders of images without a label


class Open(NamedTuple):
    """What was found; a label of '' is none."""

    entries: list[Entry]
    names: list[str]  # of the images: those of files that are moved into the folder of their class stay as they are


def read(root: Path, table: Path | None, given: Unlabelled, class_names: Sequence[str], test_fold: int) -> Open:
    """All pictures below `root` with their labels, of the user's own and of ours."""
    if table:
        entries = class_table.read(root, table, class_table.OPEN, test_fold)
        names = [entry.file.relative_to(root).as_posix() for entry in entries]
    else:
        entries, names = _in_folders(root, class_names)
    if not entries:
        raise Missing(f"{root} holds no picture that can be read")
    order = sorted(range(len(names)), key=lambda i: natural(names[i]))  # whatever rows come in later
    entries, names = [entries[i] for i in order], [names[i] for i in order]
    return Open(_with_ours(entries, names, given, classes.lines_of(class_names, root)), names)


def _in_folders(root: Path, class_names: Sequence[str]) -> tuple[list[Entry], list[str]]:
    """Entries and names, in natural order within the folders of classes and then within all others."""
    known, unused = {alike(str(name)) for name in class_names}, Unused(root)
    parts = part_folders(root)
    parts = parts if "train" in parts and not known & {alike(folder.name) for folder in parts.values()} else {}
    found: list[tuple[Entry, str]] = []
    for part, folder in (parts or {"train": root}).items():
        inner = [each for each in subfolders(folder) if each not in parts.values()]
        waiting = [each for each in inner if each.name.casefold() in WAITING]
        loose = any(not file.is_dir() and not is_junk(file.name) for file in folder.iterdir())
        of_classes = [each for each in inner if each not in waiting and (not known or alike(each.name) in known)]
        if not known and len(of_classes) < 2:
            of_classes = []  # folders of something else: patients, slides
        for each in of_classes:
            found += [(Entry(file, each.name, part), _below(file, each)) for file in pictures_below(each, unused)]
        taken, taken_as = {entry.file for entry, _ in found}, {name: entry.file for entry, name in found}
        if loose or len(of_classes) < len(inner):
            rest = [file for file in pictures_below(folder, unused) if file not in taken]
            rest = [file for file in rest if not any(file.is_relative_to(other) for other in _others(folder, parts))]
            named = [(file, _below(file, _own_folder(file, folder, waiting))) for file in rest]
            copied = {file for file, name in named if name in taken_as and cmp(file, taken_as[name], shallow=False)}
            if copied:
                first = _below(min(copied), root)
                note(LEFT_OUT, f"{len(copied)} copies of images that lie in the folder of a class, the first {first}.")
            found += [(Entry(file, "", part), name) for file, name in named if file not in copied]
    counts = Counter(name for _, name in found)
    names = [name if counts[name] == 1 else _below(entry.file, root) for entry, name in found]
    return [entry for entry, _ in found], names


def _others(folder: Path, parts: Mapping[str, Path]) -> list[Path]:
    return [other for other in parts.values() if other != folder]


def _own_folder(file: Path, folder: Path, waiting: Sequence[Path]) -> Path:
    return next((each for each in waiting if file.is_relative_to(each)), folder)


def _below(file: Path, folder: Path) -> str:
    return file.relative_to(folder).as_posix()


def _with_ours(entries: Sequence[Entry], names: Sequence[str], given: Unlabelled, lines: Sequence[str]) -> list[Entry]:
    """The entries with our labels where the user gave none."""
    file = given.inner(TABLE)
    ours = _ours(file, lines) if file else {}
    note_lost(ours.keys() - set(names))
    pairs = list(zip(entries, names, strict=True))
    both = {
        n: f"{e.label!r} and {ours[n]!r}"
        for e, n in pairs
        if e.label and n in ours and alike(e.label) != alike(ours[n])
    }
    note_both(both)
    return [entry if entry.label else entry._replace(label=ours.get(name, "")) for entry, name in pairs]


def _ours(file: Path, told: Sequence[str]) -> dict[str, str]:
    """Image -> label of a table of ours. Refused names the line of an image with two labels, or of no known class."""
    found: dict[str, Row] = {}
    for row in read_table(file, ["file", "label"]).rows:
        name, label = row.cells["file"], row.cells["label"]
        if is_missing(label):
            continue
        before = found.setdefault(name, row)
        if alike(before.cells["label"]) != alike(label):
            one = f"{before.cells['label']!r} in line {before.line}"
            raise Refused(f"{file} says {one} of {name!r} and {label!r} in line {row.line}: remove one of the two rows")
        if told and not classes.is_named(label, told):
            near, listed = suggestion(label, told), ", ".join(told)
            raise Refused(f"{file}, line {row.line}: {name!r} is of class {label!r}, which is none of {listed}.{near}")
    return {name: row.cells["label"] for name, row in found.items()}


def classes_told(class_names: Sequence[str], root: Path, labels: Sequence[str], listed: str) -> None:
    """Refused where nothing tells which classes there are."""
    if not class_names and not (root / listed).is_file() and len(labels) < 2:
        raise Refused(
            f"{root} does not tell the classes yet: say classes=benign,malignant, say, or write a class a line in "
            f"{listed}"
        )
