"""Which pictures and annotations of a VOC folder belong together, and what its lists say of their parts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from data.formats import folders
from data.formats.endings import READ, ending_of, natural
from data.formats.folders import Unused, composed, part_of
from data.formats.tables import read_text
from data.names import Missing, Refused, suggestion
from data.notes import GUESSED, WARNING, note

FLAG = re.compile(r"(.*\S)\s+(?:-1|0|1)")  # a line of a class's own list: whether the image has one of it

TOLD = ("imagesets", "patients.csv", "classes.txt")  # what lies beside and is read elsewhere


def pictures_by_stem(folder: Path, unused: Unused, tree: str) -> dict[str, Path]:
    """Path below the folder, without ending and in composed letters -> picture."""
    found = _by_stem(folder, folders.pictures_below(folder, unused))
    if not found:
        raise Missing(f"{folder} holds no picture that can be read; expected this tree:\n{tree.strip()}")
    return found


def annotations_by_stem(folder: Path, unused: Unused) -> dict[str, Path]:
    """As `pictures_by_stem`, for .xml and .XML."""
    texts = []
    for file in folders.walk(folder):
        if folders.is_junk(file.name):
            unused.add("hidden or left by an operating system", file)
        elif file.suffix.casefold() == ".xml":
            texts.append(file)
        else:
            unused.add("no annotations", file)
    return _by_stem(folder, texts)


def official_parts(root: Path, pictures: Mapping[str, Path]) -> tuple[Path, dict[str, str] | None]:
    """The folder of the lists and what they say: stem -> part, in their order; None where there is none.

    They lie in ImageSets/Main as in VOC; lists in ImageSets or in the root, as other tools have them, are noted.
    """
    sets = _inner(root, "imagesets")
    for folder in dict.fromkeys([_inner(sets, "main"), sets, root]):
        if (parts := _parts_of_lists(folder, pictures)) is not None:
            if folder.name.casefold() != "main":
                note(GUESSED, f"the lists in {folder} are read as the parts.")
            return folder, parts
    return sets, None


def tell_others(root: Path, read: Sequence[Path], unused: Unused) -> None:
    """What lies beside the folders that are `read` is not used. Refused for pictures in a folder called like a part."""
    for file in folders.walk(root):
        inside = file.relative_to(root).parts
        if any(file.is_relative_to(folder) for folder in read) or file.is_dir() or inside[0].casefold() in TOLD:
            continue
        if folders.is_junk(file.name):
            unused.add("hidden or left by an operating system", file)
            continue
        if (part := part_of(inside[0])) and len(inside) > 1 and ending_of(file) in READ:
            raise Refused(
                f"{file} lies in a folder that is called like the part {part}, beside {read[0].name}, and would not be "
                f"read; move it into {read[0].name} and name it in ImageSets/Main/{part}.txt"
            )
        if not (file.parent == root and file.suffix.casefold() == ".txt"):
            unused.add("beside the pictures and annotations", file)


def _inner(folder: Path, name: str) -> Path:
    """The folder of a name in any case, or where it would be."""
    inner = folders.subfolders(folder) if folder.is_dir() else []
    return next((each for each in inner if each.name.casefold() == name), folder / name)


def _parts_of_lists(folder: Path, pictures: Mapping[str, Path]) -> dict[str, str] | None:
    """Stem -> part, in the order of the lists; None where there is none. Refused for an image in two of them."""
    present = sorted(folder.glob("*.[tT][xX][tT]")) if folder.is_dir() else []
    present = [file for file in present if not folders.is_junk(file.name)]
    lists: dict[str, Path] = {}
    for file in present:
        part = part_of(file.stem)
        if part is not None and part in lists:
            raise Refused(f"{lists[part]} and {file.name} could both be the list of part {part}; remove one")
        if part is not None:
            lists[part] = file
    both = next((file for file in present if file.stem.casefold() == "trainval"), None)
    if "train" not in lists and both is not None:
        lists["train"] = both
    if not lists:
        return None
    if "train" not in lists:
        there = ", ".join(file.name for file in lists.values())
        raise Missing(f"{folder} has {there} but neither train.txt nor trainval.txt")
    lists = {part: lists[part] for part in folders.PARTS if part in lists}
    stems = {part: _stems(file, pictures) for part, file in lists.items()}
    if lists["train"] == both:
        stems["train"] = [stem for stem in stems["train"] if stem not in set(stems.get("val", []))]
    parts: dict[str, str] = {}
    for part, named in stems.items():
        for stem in named:
            if stem in parts:
                raise Refused(
                    f"{lists[part]} names {stem!r}, which {lists[parts[stem]].name} names already; "
                    "expected every image once"
                )
            parts[stem] = part
    return parts


def parts_of_folders(pictures: Mapping[str, Path]) -> dict[str, str]:
    """Stem -> part without lists: the folder that a picture lies in where all lie in folders of parts, else train."""
    said = {stem: part_of(PurePosixPath(stem).parts[0]) if "/" in stem else None for stem in pictures}
    if None in said.values() or "train" not in said.values():
        return dict.fromkeys(pictures, "train")
    return {stem: part for part in folders.PARTS for stem, of in said.items() if of == part}


def _stems(file: Path, pictures: Mapping[str, Path]) -> list[str]:
    """The pictures that a list names: a stem a line, with blanks in it, or with the flag of a class behind it."""
    lines = [composed(line.strip()) for line in read_text(file).splitlines() if line.strip()]
    if not lines:
        note(WARNING, f"{file} names no picture.")
        return []
    whole = [_known(line, pictures) for line in lines]
    flags = [FLAG.fullmatch(line) for line in lines]
    bare = [_known(flag[1], pictures) if flag else None for flag in flags]
    if all(whole) and all(bare):
        raise Refused(f"{file}: {lines[0]!r} could be a picture, or the picture {bare[0]} with a flag; rename pictures")
    found = []
    for line, full, short in zip(lines, whole, bare, strict=True):
        stem = full or short
        if stem is None:
            raise Missing(
                f"{file} names {line!r}, but there is no picture {line}.{suggestion(line, pictures)} "
                "Expected one stem per line, in ImageSets/Main"
            )
        found.append(stem)
    return found


def _known(written: str, pictures: Mapping[str, Path]) -> str | None:
    """The stem that a line means: as written, without ending, or without the folders before it."""
    path = PurePosixPath(written.replace("\\", "/"))
    ending = ending_of(Path(path.name))
    for text in (str(path), path.name):
        for stem in (text, text[: len(text) - len(ending)] if ending else text):
            if stem in pictures:
                return stem
    return None


def _by_stem(folder: Path, files: Iterable[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in sorted(files, key=lambda file: natural(file.relative_to(folder).as_posix())):
        path = composed(file.relative_to(folder).as_posix())
        stem = path[: len(path) - len(ending_of(Path(path)))]
        if stem in found:
            raise Refused(f"{found[stem]} and {file.name} have the same stem, expected one picture for each annotation")
        found[stem] = file
    return found
