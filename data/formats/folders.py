"""Folders as people lay them out: parts by usual words in any case, pictures in subfolders, and what else is there.

Nothing that is seen is passed over without a note.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from data.formats import endings
from data.names import Missing, Refused, suggestion
from data.notes import CHANGED, GUESSED, LEFT_OUT, note

PARTS = ("train", "val", "test")
WORDS = {
    **dict.fromkeys(("train", "training", "trainset", "tr", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "valset", "dev", "development"), "val"),
    **dict.fromkeys(("test", "testing", "tests", "testset", "te", "tst", "holdout"), "test"),
}
JUNK = frozenset("__macosx __pycache__ thumbs.db desktop.ini ehthumbs.db @eadir $recycle.bin lost+found".split())
POINTERS = (b"version https://git-lfs", b"/annex/objects/", b"../.git/annex/", b".git/annex/objects/")
LONGEST, LONGEST_NAME = 4000, 255  # bytes of a path and of a name in it that systems can have
SMALL = 1024  # bytes; a pointer to content elsewhere is shorter, a picture hardly ever


def part_of(word: str) -> str | None:
    """'train', 'val' or 'test' for a usual word for it in any case (Training, valid, Test_set), else None."""
    plain = unicodedata.normalize("NFKC", word).strip().casefold()
    plain = re.sub(r"[\s_-]+(set|data|split|images|imgs|part)$", "", plain)
    return WORDS.get(plain)


def part_folders(root: Path) -> dict[str, Path]:
    """The subfolders of `root` that are parts by their names: part -> folder. Refused where two are the same part."""
    found: dict[str, Path] = {}
    for folder in subfolders(root):
        part = part_of(folder.name)
        if part is not None and part in found:
            raise Refused(f"{found[part]} and {folder.name} could both be the {part} part; merge or rename one of them")
        if part is not None:
            found[part] = folder
    return {part: found[part] for part in PARTS if part in found}


def parts_of_places(root: Path, files: Sequence[Path]) -> list[str]:
    """The part of every picture by the folders in which it lies, noted; all train where these say of none another.

    Refused where only some lie in such folders, or none in train.
    """
    places = [[part_of(place) for place in file.relative_to(root).parts[:-1]] for file in files]
    said = [next((part for part in reversed(place) if part), "") for place in places]
    if set(said) <= {"", "train"} or len(set(said)) == 1:
        return ["train"] * len(files)
    if "train" not in said or "" in said:
        other = next(file for file, part in zip(files, said, strict=True) if part not in ("", "train"))
        lacking = f"{said.count('')} of {len(files)} pictures in none" if "" in said else "none in train"
        raise Refused(f"{other} lies in a folder that is called like a part, but {lacking}; say the part of each")
    counts = ", ".join(f"{said.count(part)} {part}" for part in PARTS if part in said)
    note(GUESSED, f"the parts are the folders in which pictures lie ({counts}).")
    return said


def is_junk(name: str) -> bool:
    """Whether a name is hidden, or one that an operating system leaves behind."""
    return name.startswith((".", "~$")) or name.casefold() in JUNK


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder that are no junk, in natural order."""
    found = [inner for inner in folder.iterdir() if inner.is_dir() and not is_junk(inner.name)]
    return sorted((_readable(inner) for inner in found), key=lambda inner: endings.natural(inner.name))


def require_content(file: Path) -> Path:
    """The file, or Missing where it is a link or a pointer (git-annex, Git LFS) to content that is not there."""
    if not file.exists():
        if file.is_symlink():
            raise Missing(
                f"{file} is a link to {os.readlink(file)}, which is not there: get its content "
                "(for instance `git annex get`, `dvc pull`), or remove the link"
            )
        raise Missing(f"{file} does not exist")
    endings.require_file(file)
    if file.stat().st_size < SMALL:
        try:
            start = file.read_bytes()[:256]
        except OSError as error:
            raise Refused(f"{file} cannot be read: {error.strerror}") from error
        if any(pointer in start for pointer in POINTERS):
            raise Missing(
                f"{file} is no picture but a pointer to its content, which is not there: get it "
                "(`git annex get`, `git lfs pull`), or remove the file"
            )
    return file


class Unused:
    """What was seen under a root and is not used, by reason; `tell` notes it with counts and endings."""

    def __init__(self, root: Path):
        self.root = root
        self._files: dict[str, list[Path]] = defaultdict(list)

    def add(self, reason: str, file: Path) -> None:
        self._files[reason].append(file)

    def tell(self) -> None:
        for reason, files in self._files.items():
            by_ending = Counter(endings.ending_of(file) or "no ending" for file in files)
            counts = ", ".join(f"{n} {ending}" for ending, n in by_ending.most_common(8))
            first = shown(min(files).relative_to(self.root).as_posix())
            note(LEFT_OUT, f"{len(files)} files are not used: {reason} ({counts}; the first is {first}).")


def pictures_below(folder: Path, unused: Unused) -> list[Path]:
    """The pictures in a folder and all folders below it, in natural order; what else lies there is added to `unused`.

    Missing for a link or pointer without content; Refused for a picture in a format that is not read, a name that is
    not in UTF-8.
    """
    found = []
    for file in walk(folder):
        if is_junk(file.name):
            unused.add("hidden or left by an operating system", file)
        elif file.is_symlink() and not file.exists():
            require_content(file)
        elif endings.is_picture(file):
            found.append(require_content(_readable(file)))
        else:
            unused.add("no pictures", file)
    return sorted(found, key=lambda file: endings.natural(file.relative_to(folder).as_posix()))


def walk(folder: Path) -> Iterator[Path]:
    """All files below a folder, each folder once, also through links; folders of junk as such, not what is in them."""
    seen = set()
    for here, inner, names in os.walk(folder, onerror=_refuse, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            inner.clear()
            continue
        seen.add(real)
        yield from (Path(here) / name for name in inner if is_junk(name))
        inner[:] = sorted(name for name in inner if not is_junk(name))
        yield from (Path(here) / name for name in sorted(names))


class Finder:
    """Finds the files that a table names under a root: as written, with backslashes, letters composed or not, without
    the ending, or below a folder that the table does not name, as long as one file is meant.
    """

    def __init__(self, root: Path):
        self.root = root
        self._changed: Counter[str] = Counter()
        self._others: list[Path] = []
        self._index: dict[str, list[Path]] | None = None

    def find(self, written: str) -> Path | None:
        """The file under the root, None where there is none. Refused for a path outside, or one that means several."""
        relative = self._inside(written)
        if (exact := self.root / relative).is_file():
            return exact
        if exact.is_symlink():
            require_content(exact)
        if "\\" in written and not PureWindowsPath(written).drive:
            relative = self._inside(written.replace("\\", "/"))
            if (exact := self.root / relative).is_file():
                self._changed["backslashes for folders"] += 1
                return exact
        return self._similar(relative)

    def tell(self) -> None:
        """Note how many files were found under another name than the table's, and how."""
        for how, count in self._changed.items():
            note(CHANGED, f"{count} files are named in the table with {how}.")

    def unused(self, used: Iterable[Path], tables: Iterable[Path]) -> Unused:
        """What lies below the root and is neither one of the pictures `used`, nor one of the `tables`."""
        known, found = {os.path.realpath(file) for file in used}, Unused(self.root)
        for file in sorted({file for files in self._all().values() for file in files}):
            if os.path.realpath(file) not in known:
                found.add("pictures that no used row of the table names", file)
        for file in self._others:
            if file not in tables:
                found.add("hidden or left by an operating system" if is_junk(file.name) else "no pictures", file)
        return found

    def suggestion(self, written: str) -> str:
        """The nearest path that there is, as a question; '' where none is near."""
        known = {file.relative_to(self.root).as_posix() for files in self._all().values() for file in files}
        return suggestion(written, known)

    def _inside(self, written: str) -> str:
        """The path relative to the root. Refused where it leads out of it."""
        if "\0" in written:
            raise Refused(f"{written!r} is no path: it holds a zero byte")
        if len(written.encode()) > LONGEST or max(map(len, written.encode().split(b"/"))) > LONGEST_NAME:
            raise Refused(f"{written[:40]!r}... is too long for the path of a file")
        path, advice = Path(written), f"only files under {self.root} are read; write paths relative to the table"
        if PureWindowsPath(written).drive and not (self.root / path).exists():
            raise Refused(f"{written!r} is a path of another computer; {advice}")
        relative = os.path.normpath(path)
        if path.is_absolute() or relative.split(os.sep)[0] == "..":
            real = Path(os.path.realpath(self.root / path))
            root = Path(os.path.realpath(self.root))
            if not real.is_relative_to(root):
                raise Refused(f"{written!r} lies outside; {advice}")
            relative = str(real.relative_to(root))
        return relative

    def _similar(self, relative: str) -> Path | None:
        """The one picture whose path, file name or stem is the same in composed letters; None where there is none."""
        wanted = composed(PurePosixPath(relative).as_posix())
        how = {wanted: "letters composed in another way"}
        how[f"stem {wanted}"] = "no ending"
        if "/" not in wanted:
            how[f"name {wanted}"] = "no folder"
            how[f"stem name {wanted}"] = "no folder and no ending"
        for key, words in how.items():
            meant = self._all().get(key, [])
            if len(meant) > 1:
                listed = " and ".join(str(file.relative_to(self.root)) for file in meant[:3])
                raise Refused(f"{relative!r} could be any of {len(meant)} files under {self.root}: {listed}")
            if meant:
                self._changed[words] += 1
                return require_content(_readable(meant[0]))
        return None

    def _all(self) -> dict[str, list[Path]]:
        if self._index is None:
            self._index = defaultdict(list)
            for file in walk(self.root):
                if is_junk(file.name) or not _seems_picture(file):
                    self._others.append(file)
                    continue
                path = composed(file.relative_to(self.root).as_posix())
                stem = path[: len(path) - len(endings.ending_of(file))]
                for key in (path, f"stem {stem}", f"name {file.name}", f"stem name {PurePosixPath(stem).name}"):
                    self._index[composed(key)].append(file)
        return self._index


def composed(text: str) -> str:
    """Text with composed letters (NFC), as most systems write file names."""
    return unicodedata.normalize("NFC", text)


def shown(name: str) -> str:
    """A name as it can be printed: bytes that are not UTF-8 become question marks, line breaks a sign."""
    return name.encode("utf-8", "replace").decode().replace("\n", "\\n").replace("\r", "\\r")


def _refuse(error: OSError) -> None:
    raise Refused(f"{error.filename} cannot be read: {error.strerror}") from error


def _seems_picture(file: Path) -> bool:
    try:
        return endings.is_picture(file)
    except (Refused, OSError):
        return False


def _readable(file: Path) -> Path:
    """The file, or Refused where its name is not in UTF-8 and could be written to no table of results."""
    try:
        file.name.encode()
    except UnicodeEncodeError:
        raise Refused(
            f"the name of {shown(str(file))} is not in UTF-8; rename it, for instance with convmv -f latin1 -t utf8"
        ) from None
    return file
