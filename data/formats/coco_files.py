"""Where COCO json files and their pictures lie, as COCO itself and the usual tools lay them out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from data import files
from data.formats import coco_table
from data.formats.classes import LIST
from data.formats.coco_table import Picture, Table
from data.formats.folders import Finder, is_junk, part_of, subfolders
from data.formats.patients import TABLE
from data.names import Missing, Refused
from data.notes import CHANGED, LEFT_OUT, note

WORD = re.compile(r"(?<![a-z])(training|trainval|train|validation|valid|val|testing|test)(?![a-z])(\d*)")
TREE = """
coco/   (or the data root itself)
    annotations.json
    images/a.jpg ...   (any format that data.formats.endings lists)
or, with official parts (val and test are optional):
    annotations/instances_train2017.json   annotations/instances_val2017.json   annotations/instances_test2017.json
    train2017/a.jpg ...   val2017/b.jpg ...   test2017/c.jpg ...   (or all of them in images/, or in images/train/ ...)
or:
    train/_annotations.coco.json   train/a.jpg ...   valid/...   test/...
"""


def root_of(data_root: Path) -> Path:
    """`data_root`/coco or `data_root` itself; Missing with the tree where it is not there."""
    root = Path(data_root) / "coco"
    return root if root.is_dir() else files.require_folder(Path(data_root), TREE)


def tables_of(root: Path) -> dict[str, Table]:
    """Part -> its table, in the order train, val, test."""
    return {part: coco_table.read(file) for part, file in _find(root).items()}


class Pictures:
    """Finds the pictures that COCO files name; `tell` notes how, and which are in none of them."""

    def __init__(self, root: Path):
        self.root = root
        self._finder = Finder(root)
        self._foreign = 0
        self._listed: dict[Path, Path] = {}

    def find(self, table: Path, picture: Picture) -> Path:
        """The file of an entry. Missing where there is none; Refused for one that is listed twice or lies outside."""
        name = picture.name.replace("\\", "/")
        if PureWindowsPath(picture.name).drive or PurePosixPath(name).is_absolute():  # of another machine
            self._foreign += 1
            name = PurePosixPath(name).name
        elif ".." in PurePosixPath(name).parts:
            raise Refused(f"{table}: {picture.name!r} may lead out of {self.root}; write paths relative to the images")
        if "\0" in name or not name:
            raise Refused(f"{table} lists {picture.name!r}, which is no path")
        places = self._places(table)
        found = next((place / name for place in places if _is_file(place / name)), None)
        try:
            found = found or self._finder.find(name)
        except Missing:
            raise
        except Refused as error:
            raise Refused(f"{table}: {error}") from error
        if found is None:
            sought = ", ".join(str(place) for place in places)
            near = self._finder.suggestion(name)
            raise Missing(f"{table} lists {picture.name!r}, which is in none of {sought}.{near}")
        real = found.resolve()
        if real in self._listed:
            before = self._listed[real].name
            raise Refused(f"{table} lists {found}, which {before} lists already; expected every picture once")
        self._listed[real] = table
        return found

    def tell(self, used: Sequence[Path], tables: Iterable[Path]) -> None:
        if self._foreign:
            note(CHANGED, f"{self._foreign} pictures are listed with paths of another computer: found by their names.")
        self._finder.tell()
        known = [*tables, *(self.root / name for name in (TABLE, LIST))]
        self._finder.unused(used, known).tell()

    def _places(self, table: Path) -> list[Path]:
        """Folders in which the pictures of a json file may lie, the most particular first."""
        part, subset = _part(self.root, table), re.sub(r"^instances[_-]?", "", table.stem).casefold()
        bases = [self.root / "images", self.root, table.parent]
        found = []
        for base in dict.fromkeys(base for base in bases if base.is_dir()):
            inner = [folder for folder in subfolders(base) if folder.name.casefold() != "images"]
            found += [folder for folder in inner if folder.name.casefold() == subset]
            found += [f for f in inner if part and (part_of(f.name) or _word(f.name.casefold())) == part]
            found.append(base)
        return list(dict.fromkeys(found))


def _find(root: Path) -> dict[str, Path]:
    """Part -> json file. One file whose name holds no part is 'train'."""
    inner = [f for f in subfolders(root) if f.name.casefold() in ("annotations", "annotation") or part_of(f.name)]
    places = [root, *inner]
    present = sorted(
        file
        for place in places
        for file in place.iterdir()
        if file.suffix.casefold() == ".json" and not is_junk(file.name) and file.is_file()
    )
    if any(file.name.startswith("instances") for file in present):  # those of COCO lie beside captions and keypoints
        present = [file for file in present if file.name.startswith("instances")]
    if not present:
        raise Missing(f"found no json file in {root}; expected this tree:\n{TREE.strip()}")
    by_part: dict[str, list[Path]] = {}
    for file in present:
        by_part.setdefault(_part(root, file), []).append(file)
    if len(by_part) > 1 and "" in by_part:
        others = [file.relative_to(root).as_posix() for file in by_part.pop("")]
        note(LEFT_OUT, f"{', '.join(others)}: not used, for other json files say by their names which part they are.")
    for part, several in by_part.items():
        if len(several) > 1:
            rule = f"expected one for {part}" if part else "expected one file, or train, val and test in their names"
            raise Refused(f"{root} holds {' and '.join(file.relative_to(root).as_posix() for file in several)}; {rule}")
    if not by_part.keys() & {"", "train"}:
        there = " and ".join(by_part)
        raise Missing(f"{root} has annotations for {there} but none for train; expected this tree:\n{TREE.strip()}")
    chosen = {part or "train": several[0] for part, several in by_part.items()}
    return {part: chosen[part] for part in ("train", "val", "test") if part in chosen}


def _part(root: Path, file: Path) -> str:
    """The part that a json file is of, by a word in its name or else its folder; '' where neither says it."""
    return _word(file.stem.casefold()) or _word(file.parent.relative_to(root).as_posix().casefold())


def _word(text: str) -> str:
    found = WORD.search(text)
    return "" if found is None else "train" if found[1] == "trainval" else part_of(found[1]) or ""


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or of bytes that no system has
        return False
