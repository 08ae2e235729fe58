"""Tables as people save them: any usual encoding and separator, columns by their usual names in any case.

What is not as documented (a comma between the cells, UTF-8, the names `file`, `label`, `patient`, `part`) but clear is
read and noted; what could be read in two ways is refused with the line or the columns.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from data.formats.columns import FIELDS, NAMES, column_of, plain, require_no_parts
from data.names import Missing, Refused, suggestion
from data.notes import GUESSED, LEFT_OUT, note

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
# What no text in cp1252 or Latin-1 has: letters with accents in turn or two at the start of a word, rare signs
FOREIGN = re.compile(
    rb"[\xa0-\xff]{3,}|(?<![A-Za-z])[\xc0-\xff]{2,}|[\xa2-\xaa\xac-\xbe][\xc0-\xff]"
    rb"|[\x81-\x84\x86-\x8b\x8d\x8f\x90\x98\x9b\x9d]"
)
LONGEST_CELL = 2**31 - 1  # characters; csv's own limit of 131,072 stops at polygons and pictures in a cell


class Row(NamedTuple):
    """One row of a table: `line` counts lines of the file from 1, `cells` holds the stripped text of each meaning."""

    line: int
    cells: dict[str, str]


class Table(NamedTuple):
    """The rows of a file; `columns` says which column was read as which meaning, as it is written in the header."""

    file: Path
    columns: dict[str, str]
    rows: list[Row]


def read_text(file: Path) -> str:
    """The text of a file in UTF-8, UTF-16 or UTF-32, with or without a byte order mark, else in cp1252 (Latin-1).

    What is not UTF-8 is noted. Refused for a file that is not there, holds no text, or is of another encoding, in which
    other letters would be read.
    """
    try:
        data = file.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise Missing(f"{file} does not exist, expected a text file") from error
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}") from error
    encoding = _encoding(data)
    try:
        text = data.decode(encoding, "replace" if encoding == "cp1252" else "strict")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Refused(f"{file} seems to be text in {encoding}, but is not in line {line}: {error.reason}") from error
    if strange := re.search(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]", text):
        line = text.count("\n", 0, strange.start()) + 1
        raise Refused(
            f"{file} is no text in UTF-8, UTF-16 or cp1252: line {line} holds the byte {ord(strange[0])}; "
            "expected a csv, not a workbook or another program's file"
        )
    if encoding == "cp1252" and (foreign := FOREIGN.search(data)):
        held = ascii(foreign[0].decode("latin-1"))
        raise Refused(
            f"{file} is neither in UTF-8 nor in cp1252 but in another encoding (Shift-JIS, GBK, cp1251, ...: it holds "
            f"{held}); save it as UTF-8"
        )
    _require_no_utf7(file, text)
    if encoding == "cp1252":
        foreign = re.search(r"\w*[^\x00-\x7f]+\w*", text)
        shown = f", for instance {foreign[0]!r}" if foreign else ""
        advice = "save it as UTF-8 where that looks wrong"
        note(GUESSED, f"{file.name} is not in UTF-8: read as {encoding}{shown}; {advice}.")
    elif encoding not in ("utf-8", "utf-8-sig"):
        note(GUESSED, f"{file.name} is read as {encoding}.")
    return text


@contextmanager
def opened(file: Path) -> Iterator[io.StringIO]:
    """The text of a csv file of any encoding, for csv.reader; see `read_text`. Refused for what csv cannot read."""
    with _long_cells(), io.StringIO(read_text(file), newline="") as lines:
        try:
            yield lines
        except csv.Error as error:
            raise Refused(f"{file} is no csv: {error}") from error


def read_table(file: Path, needed: Sequence[str], usual: Sequence[str] = ()) -> Table:
    """The rows of a csv file by the meaning of their columns (keys of NAMES): those `needed`, and those `usual`.

    Columns are found by their usual names in any case. Notes tell the encoding and the separator where they are not
    UTF-8 and a comma, a column whose name is not as documented, every column that is ignored, and rows without text.
    Refused for a missing column, two columns that could be the same, and a row that is not as long as the header.
    """
    text = read_text(file)
    separator, header, records = _records(file, text, [*needed, *usual])
    if separator != ",":
        note(GUESSED, f"{file.name} is read with {SEPARATORS[separator]} between its cells.")
    rows = _rectangle(file, header, records, separator)
    places = {}
    for meaning in [*needed, *usual]:
        found = column_of(file, header, [cells for _, cells in rows], meaning)
        if found is not None and found not in places.values():
            places[meaning] = found
    for meaning in needed:
        if meaning not in places:
            listed = ", ".join(header)
            raise Refused(f"{file} has no column {meaning!r}, only {listed}.{suggestion(meaning, header)}")
    for meaning, place in places.items():
        if plain(header[place]) != meaning:
            note(GUESSED, f"{file.name}: column {header[place]!r} is read as {FIELDS.get(meaning, meaning)}.")
    others = [name for place, name in enumerate(header) if place not in places.values()]
    if "part" in usual and "part" not in places:
        require_no_parts(file, header, [cells for _, cells in rows], places.values())
    ignored = [repr(name) if name else "one without a name" for name in others]
    if ignored:
        note(LEFT_OUT, f"{file.name}: columns that are not used: {', '.join(ignored)}.")
    meant = [Row(line, {meaning: cells[place] for meaning, place in places.items()}) for line, cells in rows]
    for row in meant:
        _require_one_line(file, row)
    return Table(file, {meaning: header[place] for meaning, place in places.items()}, meant)


def _encoding(data: bytes) -> str:
    marks = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32"}
    marks |= {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    for mark, encoding in marks.items():
        if data.startswith(mark):
            return encoding
    even, odd = data[:4096:2].count(0), data[1:4096:2].count(0)
    half = max(len(data[:4096]) // 2, 1)
    if max(even, odd) > 0.4 * half and min(even, odd) < 0.1 * half:  # mostly Latin letters of two bytes
        return "utf-16-le" if odd > even else "utf-16-be"
    text = data.decode("utf-8", "replace")
    good = sum(letter > "\x7f" for letter in text) - (bad := text.count("\ufffd"))
    if 0 < bad <= good:
        return "utf-8"  # with broken letters, which is said; in another encoding there would be hardly a good one
    return "cp1252" if bad else "utf-8"


def _require_no_utf7(file: Path, text: str) -> None:
    """Refused where every plus sign begins letters as UTF-7 writes them."""
    shifted = re.findall(r"\+[A-Za-z0-9/+]*-?", text) if text.isascii() else []
    try:
        letters = [piece.encode().decode("utf-7") for piece in shifted]
    except UnicodeDecodeError:
        return
    if any(letter.isalpha() and not letter.isascii() for word in letters for letter in word):
        raise Refused(f"{file} seems to be in UTF-7 ({shifted[0]!r} would be {letters[0]!r}); save it as UTF-8")


@contextmanager
def _long_cells() -> Iterator[None]:
    before = csv.field_size_limit(LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _records(file: Path, text: str, meanings: Sequence[str]) -> tuple[str, list[str], list[tuple[int, list[str]]]]:
    """Separator, header and records (line, cells) of a table: with the separator that gives the most known columns."""
    first, skipped = text.lstrip("\ufeff"), 0
    if told := re.match(r"sep=(.)\r?\n", first):  # a line that Excel writes for itself
        first, skipped = first[told.end() :], 1
    known = {name for meaning in meanings for names in NAMES[meaning] for name in names.split()}
    best: tuple[int, int, str] | None = None
    for separator in SEPARATORS:
        header = next((cells for _, cells in _parsed(file, first, separator, header_only=True)), [])
        score = (sum(plain(name) in known for name in header), len(header), separator)
        if told and told[1] == separator:
            score = (len(known), len(header), separator)
        best = score if best is None or score[:2] > best[:2] else best
    records = [] if best is None else list(_parsed(file, first, best[2]))
    if best is None or not records:
        raise Refused(f"{file} is empty, expected a header such as {','.join(meanings)} and a row for each image")
    header = [cell.strip().strip("\ufeff") for cell in records[0][1]]
    return best[2], header, [(line + skipped, cells) for line, cells in records[1:]]


def _parsed(file: Path, text: str, separator: str, header_only: bool = False) -> Iterator[tuple[int, list[str]]]:
    """(last line, cells) of every record that is not a blank line."""
    with _long_cells(), io.StringIO(text, newline="") as lines:
        reader = csv.reader(lines, delimiter=separator, skipinitialspace=separator != "\t", strict=True)
        try:
            for cells in reader:
                if any(cell.strip() for cell in cells) or len(cells) > 1:
                    yield reader.line_num, [cell.strip() for cell in cells]
                    if header_only:
                        return
        except csv.Error as error:
            if not header_only:
                raise Refused(f"{file}, line {reader.line_num}: {error}; is a quotation mark missing?") from error


def _rectangle(
    file: Path, header: list[str], records: list[tuple[int, list[str]]], separator: str
) -> list[tuple[int, list[str]]]:
    """The records without those that hold no text, each with as many cells as the header. Refused for another one."""
    while header and not header[-1]:
        header.pop()
    rows, blank = [], 0
    for line, cells in records:
        if not any(cells):
            blank += 1
            continue
        while len(cells) > len(header) and not cells[-1]:
            cells.pop()
        if len(cells) != len(header):
            raise Refused(
                f"{file}, line {line} has {len(cells)} cells, but the header has {len(header)} "
                f"({separator.join(header)}); put a cell that holds the separator {separator!r} in quotation marks"
            )
        rows.append((line, cells))
    if blank:
        note(LEFT_OUT, f"{file.name}: {blank} rows without any text are not used.")
    if not rows:
        raise Refused(f"{file} has a header ({separator.join(header)}) but no row")
    return rows


def _require_one_line(file: Path, row: Row) -> None:
    for meaning, cell in row.cells.items():
        if meaning != "file" and re.search(r"[\r\n]", cell):
            raise Refused(
                f"{file}: the {meaning} that ends in line {row.line} goes over several lines ({cell[:60]!r}); "
                "is a quotation mark missing?"
            )
