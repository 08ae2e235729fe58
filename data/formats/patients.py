"""Whose images these are, for all three tasks: a table patients.csv beside the images, or a pattern on their names."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from data.formats.endings import stem_of
from data.formats.tables import read_table
from data.formats.words import alike, is_missing
from data.names import Refused, suggestion
from data.notes import CHANGED, LEFT_OUT, WARNING, note

TABLE = "patients.csv"  # columns file, patient


def patients_of(names: Sequence[str], root: Path, pattern: str = "") -> list[str]:
    """The patient of every image in `names`, '' where it is not known: then the image is a patient of its own.

    `names` are paths of images, written with /, relative to `root` or as the dataset calls them. `root`/patients.csv
    gives them by the columns `file` and `patient` (or their usual other names, see data.formats.tables): a file is
    found by its path, else by an end of it (images/a.png is a.png), its file name or its stem, where only one image has
    it. Else `pattern` is a regular
    expression with one group, or one called `patient`: searched in the file name, or in the whole path where it holds
    a '/'. With neither, no patient is known.

    Images without a patient, rows without an image, and spellings that are taken as one patient are noted. Refused for
    both a table and a pattern, an unusable pattern or a name that it does not match, a file with two patients.
    """
    table = _table(root)
    if pattern and table is not None:
        raise Refused(f"{table} and patient_pattern={pattern!r} both tell the patients; use one of them")
    if pattern:
        return as_patients(_by_pattern(names, pattern), f"patient_pattern={pattern!r}")
    return [""] * len(names) if table is None else as_patients(*_by_table(names, table))


def as_patients(cells: Sequence[str], source: str, people: bool = False) -> list[str]:
    """Patients from the cells of a column, '' for what is missing; spellings of one (P1 and p1, 1 and 01) become one.

    `people`: the cells may be people's names, which are kept nowhere: a digest of each takes its place. The number of
    images without a patient, and what was taken as one, is noted; `source` names the table or the pattern.
    """
    spelt: dict[str, Counter[str]] = defaultdict(Counter)
    for cell in cells:
        if not is_missing(cell):
            spelt[alike(cell)][cell.strip()] += 1
    unlike = [list(words) for words in spelt.values() if len(words) > 1]
    if unlike and not people:
        listed = "; ".join(" and ".join(map(repr, words)) for words in unlike[:3])
        note(CHANGED, f"{source}: {len(unlike)} patients are written in several ways and taken as one each ({listed}).")
    lacking = sum(is_missing(cell) for cell in cells)
    if lacking:
        note(WARNING, f"{source}: {lacking} of {len(cells)} images have no patient and count as one of their own each.")
    called = {key: _digest(key) if people else words.most_common(1)[0][0] for key, words in spelt.items()}
    return ["" if is_missing(cell) else called[alike(cell)] for cell in cells]


def is_persons_name(column: str) -> bool:
    """Whether a column's name says that it holds people's names."""
    return "name" in column.casefold()


def note_shared(patients: Sequence[str], parts: Sequence[str]) -> None:
    """Note how many patients have images both in a part to learn from and in one to test with (part 'test...')."""
    sides: dict[str, set[str]] = defaultdict(set)
    for patient, part in zip(patients, parts, strict=True):
        if patient:
            sides["test" if part.startswith("test") else part].add(patient)
    for part in sorted(sides.keys() - {"test"}):
        if both := sides[part] & sides["test"]:
            total = len(set().union(*sides.values()))
            note(
                WARNING,
                f"{len(both)} of {total} patients have images both in {part} and in test "
                f"(for instance {min(both)!r}): what is measured on test is too good.",
            )


def _table(root: Path) -> Path | None:
    found = sorted(file for file in root.iterdir() if file.name.casefold() == TABLE and file.is_file())
    if len(found) > 1:
        raise Refused(f"{found[0]} and {found[1].name} both tell the patients; keep one of them")
    return found[0] if found else None


def _by_pattern(names: Sequence[str], pattern: str) -> list[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise Refused(f"patient_pattern={pattern!r} is no regular expression: {error}") from error
    group: int | str = "patient" if "patient" in compiled.groupindex else 1
    if group == 1 and compiled.groups != 1:
        raise Refused(
            f"patient_pattern={pattern!r} has {compiled.groups} groups, "
            r"expected one in parentheses that is the patient, for instance ([A-Za-z]+\d+)_ for P07_left.png"
        )
    found = []
    for name in names:
        matched = compiled.search(name if "/" in pattern else PurePosixPath(name).name)
        if not matched or not matched[group]:
            raise Refused(
                f"patient_pattern={pattern!r} finds no patient in {name!r}; "
                f"expected one in each of the {len(names)} names"
            )
        found.append(matched[group])
    return found


def _by_table(names: Sequence[str], file: Path) -> tuple[list[str], str, bool]:
    table = read_table(file, ["file", "patient"])
    index = _index(names)
    cells: dict[int, str] = {}
    unknown: list[str] = []
    for line, row in table.rows:
        i = _found(index, _key(row["file"]))
        if i is None:
            unknown.append(row["file"])
        elif i in cells and alike(cells[i]) != alike(row["patient"]):
            raise Refused(
                f"{file}, line {line}: {row['file']!r} is of patient {row['patient']!r}, before it was of {cells[i]!r}"
            )
        else:
            cells[i] = row["patient"]
    if not cells:
        raise Refused(
            f"{file} names none of the {len(names)} images; its first file is {unknown[0]!r}, expected one like "
            f"{names[0]!r}.{suggestion(unknown[0], names)}"
        )
    if unknown:
        note(LEFT_OUT, f"{file.name}: {len(unknown)} rows name no image that is read, the first {unknown[0]!r}.")
    return [cells.get(i, "") for i in range(len(names))], file.name, is_persons_name(table.columns["patient"])


def _index(names: Sequence[str]) -> dict[str, int]:
    """Image by path, file name and stem, as far as each means one image."""
    found: dict[str, int] = {}
    for short in (lambda p: p, lambda p: p.rpartition("/")[2], lambda p: stem_of(PurePosixPath(p))):
        keys = [short(_key(name)) for name in names]
        counts = Counter(keys)
        for i, key in enumerate(keys):
            if counts[key] == 1:
                found.setdefault(key, i)
    return found


def _found(index: Mapping[str, int], path: str) -> int | None:
    """The image of a path, or of what is left of it without the first of its folders; None where there is none."""
    places = path.split("/")
    return next((i for k in range(len(places)) if (i := index.get("/".join(places[k:]))) is not None), None)


def _key(name: str) -> str:
    """A path in one spelling: slashes, no ./ before it, composed letters."""
    plain = unicodedata.normalize("NFC", name).replace("\\", "/")
    return str(PurePosixPath(plain))


def _digest(text: str) -> str:
    return f"person-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
