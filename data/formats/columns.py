"""Which column of a table has which meaning: the names that people give, in any case."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path

from data.formats.folders import part_of
from data.formats.words import is_missing
from data.names import Refused

NUMBERS = ("id", "no", "nr", "num", "number", "code", "key", "uid", "uuid", "identifier", "index")
YES_OR_NO = frozenset("0 1 0.0 1.0 true false yes no y n t f x ja nein".split())


def _numbered(nouns: str) -> str:
    """'patient patient_id patientid patient_no ...' for 'patient'."""
    endings = ["", *NUMBERS, *(f"_{number}" for number in NUMBERS)]
    return " ".join(noun + ending for noun in nouns.split() for ending in endings)


# meaning -> the names of a column that has it, and names that have it only where none of the first is there
NAMES: dict[str, tuple[str, str]] = {
    "file": (
        "file filename file_name filepath file_path path image_path image_file image_filename image_name img_path "
        "img_name img_file datei dateiname pfad",
        "image img picture name image_id img_id bild",
    ),
    "label": (
        "label labels class class_name classname category diagnosis target ground_truth gt klasse diagnose",
        "dx class_id label_id class_label y grade",
    ),
    "patient": (
        f"{_numbered('patient patients pat pt subject subjects subj participant person proband probanden patienten')} "
        "id_patient id_subject anon_patient_id patient_anon_id pseudonym pid mrn patient_name patientname",
        _numbered("case individual animal mouse"),
    ),
    "part": (
        "part split splits set partition subset data_split dataset_split usage phase",
        "fold folds fold_id cv_fold kfold k_fold",
    ),
    "cost": ("cost costs price", "kosten preis"),
}
FIELDS = {"file": "the file", "label": "the label", "patient": "the patient", "part": "the part", "cost": "the cost"}


def plain(name: str) -> str:
    """A column's name without case, blanks and signs: 'Patient-ID ' and 'patientId' as patient_id."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", unicodedata.normalize("NFKC", name).strip("\ufeff \t\"'#"))
    return re.sub(r"[^\w]+|_+", "_", words).strip("_").casefold()


def column_of(file: Path, header: Sequence[str], rows: Sequence[Sequence[str]], meaning: str) -> int | None:
    """The place of the column with a meaning, None where there is none. Refused where two could have it and differ."""
    names_of = [plain(name) for name in header]
    for names in NAMES[meaning]:
        found = [i for i, name in enumerate(names_of) if name in names.split()]
        if len(found) > 1 and meaning == "file":
            exist = [i for i in found if (file.parent / rows[0][i]).is_file()]
            found = exist if len(exist) == 1 else found
        if len(found) > 1 and len({names_of[i] for i in found}) == len(found) and meaning in ("patient", "label"):
            found = found[:1] if all(_same_division(rows, found[0], i) for i in found[1:]) else found
        if len(found) > 1:
            listed = " and ".join(repr(header[i]) for i in found)
            raise Refused(
                f"{file}: columns {listed} could both be {FIELDS.get(meaning, meaning)}; "
                f"call the right one {meaning!r} and rename or remove the other"
            )
        if found:
            return found[0]
    return None


def require_no_parts(file: Path, header: Sequence[str], rows: Sequence[Sequence[str]], places: Collection[int]) -> None:
    """Refused for a column that is not read and divides the images: by words for parts, or yes and no under one."""
    for place, name in enumerate(header):
        cells = {row[place] for row in rows if not is_missing(row[place])}
        parts = {part_of(cell) for cell in cells}
        divides = None not in parts and {"train"} < parts
        said = part_of(re.sub(r"^(is|in|for|use)_", "", plain(name)))
        if place not in places and cells and (divides or (said and {c.casefold() for c in cells} <= YES_OR_NO)):
            raise Refused(
                f"{file}: column {name!r} ({', '.join(sorted(cells)[:4])}) seems to tell the parts, but is not read; "
                "call it 'part', with the words train, val and test, or remove it"
            )


def _same_division(rows: Sequence[Sequence[str]], one: int, other: int) -> bool:
    """Whether two columns divide the rows into the same groups."""
    pairs = {(row[one], row[other]) for row in rows}
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
