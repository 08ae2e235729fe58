"""Labels from folders: one folder per class, with parts above the classes, below them, or none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data.formats import endings
from data.formats.class_table import Entry
from data.formats.folders import Unused, is_junk, part_folders, part_of, pictures_below, subfolders, walk
from data.formats.words import alike
from data.names import Missing, Refused, suggestion
from data.notes import CHANGED, GUESSED, WARNING, note

NO_CLASS = frozenset("images image imgs img pictures masks mask annotations labels unlabeled unlabelled".split())


def read(root: Path, tree: str, class_names: Sequence[str] = ()) -> list[Entry]:
    """The pictures of a folder with their classes, class by class and part by part, in natural order.

    Refused where folders could be read in several ways: a folder beside parts that is none, parts without train, the
    same subfolders in every class (unless `class_names` say which are the classes), classes without pictures. What is
    not used is noted.
    """
    unused, known = Unused(root), {alike(str(name)) for name in class_names}
    parts = part_folders(root)
    divided = {part: folder for part, folder in parts.items() if any(map(_has_pictures, subfolders(folder)))}
    if "train" in parts:
        found = _below_parts(root, parts, unused, tree, known)
    elif divided:
        first = next(iter(divided.values()))
        raise Refused(f"{root} holds {first.name}/ with folders of classes but no train/; expected:\n{tree.strip()}")
    else:
        if parts:
            listed = ", ".join(repr(folder.name) for folder in parts.values())
            note(WARNING, f"{listed} in {root.name} is read as a class: it holds pictures, no folders of classes.")
        found = _classes(root, unused, tree, known)
    for file in sorted(root.iterdir()):
        if not file.is_dir() or is_junk(file.name):
            _put_aside(file, unused)
    unused.tell()
    _require_once(found)
    return found


def _require_once(found: Sequence[Entry]) -> None:
    """Refused where links make one file a picture of two classes or parts, or the same picture twice."""
    first: dict[tuple[int, int], Path] = {}
    for entry in found:
        stat = entry.file.stat()
        if (before := first.setdefault((stat.st_dev, stat.st_ino), entry.file)) is not entry.file:
            raise Refused(f"{entry.file} and {before} are one file by a link; keep one of them")


def _below_parts(root: Path, parts: dict[str, Path], unused: Unused, tree: str, named: set[str]) -> list[Entry]:
    """train/<class>/ and, where they are, val/<class>/ and test/<class>/."""
    for folder in subfolders(root):
        if folder not in parts.values() and _has_pictures(folder):
            known = ", ".join(f"{part} ({given.name}/)" for part, given in parts.items())
            raise Refused(
                f"{folder} holds pictures and lies beside {known}, but is no part itself; call it train, val or test, "
                "or move it elsewhere"
            )
        if folder not in parts.values():
            unused.add("in a folder that is no part", folder)
    for part, folder in parts.items():
        if folder.name != part:
            note(GUESSED, f"{folder.name}/ is read as the part {part}.")
    training = _of_classes(parts["train"], subfolders(parts["train"]), unused, tree, named)
    known = {alike(entry.label): entry.label for entry in training}
    same = len(known) == len({entry.label for entry in training})
    found = [entry._replace(part="train") for entry in training]
    for part in [part for part in parts if part != "train"]:
        for entry in _of_classes(parts[part], subfolders(parts[part]), unused, tree, named, part):
            label = known.get(alike(entry.label), entry.label) if same else entry.label
            if label not in known.values():
                listed = ", ".join(known.values())
                raise Refused(
                    f"{parts[part] / entry.label} is none of the classes {listed} of {parts['train'].name}/."
                    f"{suggestion(entry.label, known.values())}"
                )
            if label != entry.label:
                note(CHANGED, f"{parts[part].name}/{entry.label} is read as the class {label!r}.")
            found.append(entry._replace(label=label, part=part))
    for folder in parts.values():
        for file in sorted(folder.iterdir()):
            if not file.is_dir() or is_junk(file.name):
                _put_aside(file, unused)
    return found


def _classes(root: Path, unused: Unused, tree: str, named: set[str]) -> list[Entry]:
    """<class>/ with pictures somewhere below, or <class>/<part>/ for every class."""
    inner = {folder: [part_of(below.name) for below in subfolders(folder)] for folder in subfolders(root)}
    parted = {folder for folder, parts in inner.items() if any(parts)}
    if not parted:
        return _of_classes(root, list(inner), unused, tree, named)
    _require_several(root, list(inner), tree)
    found = []
    for folder, words in inner.items():
        parts = part_folders(folder)
        loose = [file for file in folder.iterdir() if not file.is_dir() and _is_seen(file)]
        if not all(words) or loose or "train" not in parts:
            raise Refused(
                f"{folder} is not divided like {min(parted)}, whose folders are parts: "
                "expected train and test (or val) in every class, and all its pictures in them"
            )
        for part, below in parts.items():
            found += [Entry(file, folder.name, part) for file in _pictures(below, unused, folder, list(inner))]
    return found


def _of_classes(
    folder: Path, classes: Sequence[Path], unused: Unused, tree: str, named: set[str], part: str = "train"
) -> list[Entry]:
    """The pictures below each of the class folders."""
    if part == "train":
        _require_several(folder, classes, tree)
    if not named or any(alike(inner.name) not in named for inner in classes):
        _require_clear(folder, classes)
    for name in classes:
        if name.name.casefold() in NO_CLASS and alike(name.name) not in named:
            raise Refused(
                f"{name} lies where folders of classes are expected, but is hardly a class; "
                "move it elsewhere, or name it in dataset_options.class_names"
            )
    return [Entry(file, name.name, part) for name in classes for file in _pictures(name, unused, name, classes)]


def _pictures(folder: Path, unused: Unused, named: Path, classes: Sequence[Path]) -> list[Path]:
    """The pictures below a folder, of the class that the folder `named` stands for.

    Refused where a folder below is called like another class or a part.
    """
    label = named.name
    pictures = pictures_below(folder, unused)
    if not pictures:
        raise Refused(f"{folder} holds no picture that can be read, expected the images of class {label!r}")
    others = {alike(other.name) for other in classes} - {alike(label)}
    for inner in dict.fromkeys(above for file in pictures for above in file.relative_to(folder).parents):
        if inner.name and (part_of(inner.name) or alike(inner.name) in others):
            like = "a part" if part_of(inner.name) else "another class"
            raise Refused(f"{folder / inner} is called like {like} but lies in the class {label!r}; move or rename it")
    deeper = sum(file.parent != folder for file in pictures)
    if deeper:
        patients = "say dataset_options.patient_pattern='([^/]+)/[^/]+$' if those are patients"
        counts = f"{deeper} of {len(pictures)} images of class {label!r}"
        note(GUESSED, f"{counts} lie in folders below {folder.name}/; {patients}.")
    return pictures


def _require_several(folder: Path, classes: Sequence[Path], tree: str) -> None:
    if len(classes) >= 2:
        return
    hint = ""
    if classes and len(subfolders(classes[0])) > 1:
        hint = f" (or is {classes[0]} the folder to read? Then say data_root={classes[0]})"
    names = sorted(file.name for file in folder.iterdir())
    if tables := [name for name in names if name.casefold().startswith("labels.") or name.endswith((".csv", ".tsv"))]:
        hint += f" (a table of labels must be called labels.csv, not {tables[0]})"
    raise Refused(
        f"{folder} holds {len(classes)} class folders{hint}, expected at least two in this tree:\n{tree.strip()}"
    )


def _require_clear(folder: Path, classes: Sequence[Path]) -> None:
    """Refused where every folder holds the same folders and no picture itself: either level could be the classes."""
    inner = [{alike(below.name) for below in subfolders(name)} for name in classes]
    if len(inner) < 2 or any(_is_seen(file) for name in classes for file in name.iterdir() if not file.is_dir()):
        return
    common = sorted(set.intersection(*inner))
    if len(common) > 1:
        raise Refused(
            f"each of {', '.join(name.name for name in classes[:4])} in {folder} holds folders "
            f"{', '.join(common[:4])}: either could be the classes; "
            "say dataset_options.class_names=[...] if the outer ones are, or make it one level"
        )


def _has_pictures(folder: Path) -> bool:
    return any(_is_seen(file) for file in walk(folder))


def _is_seen(file: Path) -> bool:
    return not is_junk(file.name) and (not file.exists() or endings.is_picture(file))


def _put_aside(file: Path, unused: Unused) -> None:
    """Count a file that lies in no class folder; a table that is read elsewhere does not count."""
    if file.name.casefold() in ("patients.csv", "classes.txt"):
        return
    if is_junk(file.name):
        unused.add("hidden or left by an operating system", file)
    elif not file.exists():
        raise Missing(f"{file} is a link to {file.readlink()}, which is not there; remove it or get its content")
    else:
        unused.add("in no class folder", file)
