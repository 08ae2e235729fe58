"""data.yaml beside YOLO boxes: names of classes and the folders of the parts. Only what these hold is understood."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data.formats.folders import PARTS, composed, part_of
from data.formats.tables import read_text
from data.names import Refused
from data.notes import GUESSED, note

KEY = re.compile(r"""^(\s*)(?:- )?["']?([\w.-]+)["']?\s*:(?:\s+(.*))?$""")
SAID = re.compile(r"""(?:'[^']*'|"[^"]*"|(?<=\S)#|[^#])*""")  # a line before its comment


class Config(NamedTuple):
    """What a data.yaml says."""

    file: Path | None = None
    names: list[str] = []
    parts: dict[str, list[str]] = {}  # part -> folders or lists, as written
    path: str = ""
    keypoints: bool = False


def find(root: Path) -> Config:
    """The data.yaml of a folder, or any single .yaml with names or parts; empty where there is none."""
    present = sorted(file for file in root.iterdir() if file.suffix.casefold() in (".yaml", ".yml") and file.is_file())
    read = [_read(file) for file in present]
    read = [config for config in read if config.names or config.parts]
    preferred = [config for config in read if config.file is not None and config.file.stem.casefold() == "data"]
    if len(preferred or read) > 1:
        raise Refused(f"{' and '.join(str(config.file) for config in read)} all describe the set; keep one")
    return (preferred or read or [Config()])[0]


def parts_of(root: Path, config: Config, pictures: Sequence[Path]) -> dict[Path, str]:
    """The part of the pictures that lie in a folder, or stand in a list, that data.yaml names and that is there.

    Roboflow writes ../train/images for train/images; other paths outside are of another computer and told.
    """
    found: dict[Path, str] = {}
    for part, written in (config.parts or _lists(root, pictures)).items():
        for path in written:
            place = _below(root, config.path, path)
            if place is None:
                note(
                    GUESSED,
                    f"{config.file or root}: {part} is {path!r}, which is not there: parts are read from folders.",
                )
                continue
            inside = _listed(root, place, pictures) if place.is_file() else _in_folder(place, pictures)
            for picture in inside:
                if found.setdefault(picture, part) != part:
                    if {found[picture], part} == {"val", "test"}:
                        continue  # one folder for both, as many files have it: the first, val, stays
                    raise Refused(f"{config.file or root} names {picture} for {found[picture]} and for {part}")
    return found


def _lists(root: Path, pictures: Sequence[Path]) -> dict[str, list[str]]:
    """Lists of pictures in the root, as Darknet and CVAT have them: train.txt, valid.txt, test.txt."""
    found: dict[str, list[str]] = {}
    stems = {picture.stem for picture in pictures}  # a picture may be called so, beside its text
    for file in sorted(root.iterdir()):
        if file.suffix.casefold() == ".txt" and file.is_file() and file.stem not in stems and part_of(file.stem):
            found.setdefault(part_of(file.stem) or "", []).append(file.name)
    if found:
        names = ", ".join(name for of_part in found.values() for name in of_part)
        note(GUESSED, f"the lists {names} of {root} are read as the parts.")
    return found


def _below(root: Path, base: str, written: str) -> Path | None:
    """The file or folder under the root that a path means, None where there is none."""
    plain = written.replace("\\", "/")
    for path in (f"{base}/{plain}", plain, re.sub(r"^(\.\./)+", "", plain)):
        place = Path(os.path.normpath(root / path))
        if place.is_relative_to(root) and place != root and place.exists():
            return place
    return None


def _in_folder(folder: Path, pictures: Sequence[Path]) -> list[Path]:
    return [picture for picture in pictures if picture.is_relative_to(folder)]


def _listed(root: Path, file: Path, pictures: Sequence[Path]) -> list[Path]:
    """The pictures that a list names, by an end of their paths that means one. Refused for one that is none."""
    by_path = {composed(picture.relative_to(root).as_posix()): picture for picture in pictures}
    found = []
    for line in read_text(file).splitlines():
        if not (wanted := composed(line.strip().replace("\\", "/").removeprefix("./"))):
            continue
        ends = [path for path in by_path if f"/{wanted}".endswith(f"/{path}") or f"/{path}".endswith(f"/{wanted}")]
        if len(ends) != 1:
            raise Refused(f"{file} names {line.strip()!r}, which is {len(ends)} pictures under {root}, expected one")
        found.append(by_path[ends[0]])
    return found


def _read(file: Path) -> Config:
    """The keys at the left margin, and the lists and tables that may follow `names`, `train`, `val` and `test`."""
    lines = [SAID.match(line)[0].rstrip() for line in read_text(file).splitlines()]  # type: ignore[index] - always
    names: list[str] = []
    parts: dict[str, list[str]] = {}
    path, keypoints = "", False
    for i, line in enumerate(lines):
        matched = KEY.match(line)
        if matched is None or matched[1]:
            continue
        key, value = matched[2].casefold(), (matched[3] or "").strip()
        inner = []
        for following in lines[i + 1 :]:
            if following and not following.startswith((" ", "\t", "-", "]", "}")):
                break
            inner.append(following.strip())
        block = " ".join([value, *inner]) if value[:1] in ("[", "{") else value
        if key == "names":
            names = _list(file, block, inner)
        elif key == "path":
            path = _plain(value)
        elif key == "kpt_shape":
            keypoints = True
        elif part_of(key) in PARTS and (block or any(inner)):
            parts[part_of(key) or ""] = _list(file, block, inner) if block[:1] in ("", "[") else [_plain(block)]
    return Config(file, names, {part: parts[part] for part in PARTS if part in parts}, path, keypoints)


def _list(file: Path, block: str, inner: Sequence[str]) -> list[str]:
    """The names of a list or of a table of numbers: [a, b], {0: a, 1: b}, or a line each."""
    if block[:1] in ("[", "{"):
        if not re.fullmatch(r"\[.*\]|\{.*\}", block.strip()):
            raise Refused(f"{file}: {block[:60]!r} does not end, expected a closing bracket")
        found = re.findall(r""""[^"]*"|'[^']*'|[^,"'\s][^,"']*""", _bare(block))
        entries = _joined(found) if block[0] == "{" else [_plain(text) for text in found]
    elif block:
        return [_plain(block)]
    else:
        entries = [_plain(line.removeprefix("-")) if line.startswith("-") else line for line in inner if line]
    numbered = [re.fullmatch(r"""["']?(\d+)["']?\s*:\s*(.*)""", entry) for entry in entries]
    if entries and all(numbered):
        by_number = {int(entry[1]): _plain(entry[2]) for entry in numbered if entry}
        if sorted(by_number) != list(range(len(entries))):
            raise Refused(f"{file}: names has the numbers {sorted(by_number)}, expected 0 to {len(entries) - 1}")
        return [by_number[number] for number in range(len(entries))]
    return entries


def _bare(block: str) -> str:
    return block.strip()[1:-1]


def _joined(pieces: Sequence[str]) -> list[str]:
    """'0:' and "'a'" of {0: 'a'} as one entry."""
    found: list[str] = []
    for piece in pieces:
        if found and found[-1].rstrip().endswith(":"):
            found[-1] = f"{found[-1]} {piece}"
        else:
            found.append(piece)
    return found


def _plain(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
