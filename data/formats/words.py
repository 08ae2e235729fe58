"""What people write in cells and names: words for a missing value, spellings of one thing."""

from __future__ import annotations

import re
import unicodedata

MISSING = frozenset({"", "nan", "na", "n/a", "#n/a", "<na>", "nat", "none", "null", "nil", "-", "?", "."})


def is_missing(cell: str) -> bool:
    """Whether a cell says that a value is not known: empty, or a word for it such as nan, NA, None, null."""
    return cell.strip().casefold() in MISSING


def alike(text: str) -> str:
    """What two spellings of one thing have in common: letters without case, single blanks in place of '_' and '-',
    nothing that cannot be seen, no full stop at the end, numbers by their value.
    """
    seen = "".join(sign for sign in unicodedata.normalize("NFKC", text) if unicodedata.category(sign) != "Cf")
    plain = " ".join(re.sub(r"(?<=\w)[_-]+(?=\w)", " ", seen).casefold().split()).rstrip(".") or seen
    if re.fullmatch(r"[+-]?\d+([.,]0*)?", plain):
        return str(int(re.split("[.,]", plain)[0]))
    return plain
