"""What people write in cells and names: words for a missing value, spellings of one thing."""

from __future__ import annotations

import re
import unicodedata

# Cyrillic letters that look, small or large, like a Latin one: Cat is written with either
LOOK_ALIKE = str.maketrans("\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445", "abekmhopctyx")
LOOK_ALIKE |= str.maketrans("\u0456\u0458\u0455", "ijs")
MISSING = frozenset({"", "nan", "na", "n/a", "#n/a", "<na>", "nat", "none", "null", "nil", "-", "?", "."})


def is_missing(cell: str) -> bool:
    """Whether a cell says that a value is not known: empty, or a word for it such as nan, NA, None, null."""
    return cell.strip().casefold() in MISSING


def alike(text: str) -> str:
    """What two spellings of one thing have in common: letters without case, single blanks in place of '_' and '-',
    nothing that cannot be seen, no full stop at the end and no quotation marks around it, numbers by their value,
    Cyrillic letters that look like Latin ones as these where none other is left.
    """
    seen = "".join(sign for sign in unicodedata.normalize("NFKC", text) if unicodedata.category(sign) != "Cf")
    plain = " ".join(re.sub(r"(?<=\w)[_-]+(?=\w)", " ", seen).casefold().split()).rstrip(".").strip("'\"") or seen
    if (latin := plain.translate(LOOK_ALIKE)).isascii():
        plain = latin
    if re.fullmatch(r"[+-]?\d+([.,]0*)?", plain):
        return str(int(re.split("[.,]", plain)[0]))
    return plain
