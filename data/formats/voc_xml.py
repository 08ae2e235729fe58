"""One XML file of VOC: read in any encoding, without entities, and whose pixels it counts."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data.formats.folders import require_content
from data.formats.tables import read_text
from data.names import Missing, Refused
from data.notes import GUESSED, note

SIDES = ("xmin", "ymin", "xmax", "ymax")
# What to subtract from SIDES for edges counted from 0.
CORNERS = {"pixels": (1.0, 1.0, 0.0, 0.0), "edges": (0.0, 0.0, 0.0, 0.0)}
DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([^"']*)["']""")
DECLARATION = re.compile(r"^\ufeff?\s*<\?xml.*?\?>", re.DOTALL)


class Annotation(NamedTuple):
    """One XML file."""

    file: Path
    size: tuple[int, int] | None  # (width, height); None where it is absent or 0
    names: list[str]  # class of each object
    corners: list[list[float]]  # SIDES of each object, as written
    called: str = ""  # the picture that it names
    counts: str = ""  # the key of CORNERS that the file's other entries speak for, '' where none does


def read(file: Path) -> Annotation:
    """The objects of one XML file. Refused names a file or object that is not as VOC has it."""
    tree = _parsed(file)
    names, corners = [], []
    inside = len(tree.findall("object//bndbox"))  # also those of parts of an object, which are not read
    if (boxes := sum(str(element.tag).casefold() == "bndbox" for element in tree.iter())) > inside:
        raise Refused(f"{file}: {boxes - inside} bndbox lie in no <object> of <annotation>, expected each in one")
    for number, element in enumerate(tree.findall("object"), start=1):
        name = (element.findtext("name") or "").strip()
        if not name:
            raise Refused(f"{file}: object {number} has no name")
        if element.find("bndbox") is None and (others := [e.tag for e in element if e.tag in ("robndbox", "polygon")]):
            raise Refused(f"{file}: object {number} has a {others[0]} and no bndbox, expected an upright box")
        if (several := len(element.findall("bndbox"))) > 1:
            raise Refused(f"{file}: object {number} has {several} bndbox, expected one: each object has its own")
        written = [(element.findtext(f"bndbox/{side}") or "").strip() for side in SIDES]
        try:
            corners.append([float(text) for text in written])
        except ValueError:
            sides = dict(zip(SIDES, written, strict=True))
            raise Refused(f"{file}: bndbox of object {number} is {sides}, expected four numbers") from None
        names.append(name)
    width, height = ((tree.findtext(f"size/{side}") or "").strip() for side in ("width", "height"))
    known = all(re.fullmatch(r"0*[1-9]\d{0,8}(\.0*)?", side) for side in (width, height))
    size = (int(float(width)), int(float(height))) if known else None
    called = (tree.findtext("filename") or "").strip().replace("\\", "/").rpartition("/")[2]
    return Annotation(file, size, names, corners, called, _counts(tree, corners))


def counting(annotations: Sequence[Annotation], corners: str) -> str:
    """The key of CORNERS that holds for a set: the option, or for 'auto' what the files speak for, which is noted.

    labelImg, CVAT and most other tools write edges counted from 0 and name themselves by a <path>, an unknown
    <database> or decimals; VOC itself counts pixels from 1 and names its database. Refused where files differ, or
    nothing tells it and a box begins at 0.
    """
    if corners != "auto":
        return corners
    marked = [annotation for annotation in annotations if annotation.corners]
    said = Counter(annotation.counts for annotation in marked)
    option = "say corners='edges' (labelImg and most tools) or corners='pixels' (as VOC: first and last pixel, from 1)"
    if len(said) > 1:
        firsts = [next(a.file for a in marked if a.counts == kind) for kind in said]
        listed = ", ".join(f"{said[kind]} like {file.name}" for kind, file in zip(said, firsts, strict=True))
        raise Refused(f"the annotations in {marked[0].file.parent} are of several tools ({listed}); {option}")
    if "" in said:
        require_counted_from_one(annotations)
    chosen = next(iter(said), "") or "pixels"
    if not said.get("pixels") and marked:
        how = "seem to be of labelImg or another tool that writes edges from 0"
        if chosen == "pixels":
            how = "do not say which tool wrote them and are read as VOC counts pixels, from 1"
        note(GUESSED, f"{len(marked)} annotations {how} (corners='{chosen}'); where that is wrong, {option}.")
    return chosen


def require_counted_from_one(annotations: Sequence[Annotation]) -> None:
    for annotation in annotations:
        for number, box in enumerate(annotation.corners, start=1):
            if min(box) == 0:
                zero = f"{annotation.file}: box {number} of {len(annotation.corners)} has {SIDES[box.index(0)]}=0"
                raise Refused(
                    f"{zero}, but VOC counts pixels from 1; say corners='edges' where numbers are edges counted from 0"
                )


def _counts(tree: ElementTree.Element, corners: Sequence[Sequence[float]]) -> str:
    database = (tree.findtext("source/database") or "").strip().casefold()
    if "voc" in database or "voc" in (tree.findtext("source/annotation") or "").casefold():
        return "pixels"
    fractional = sum(side != round(side) for box in corners for side in box if abs(side) < 1e9)
    if database or tree.find("path") is not None or 2 * fractional > 4 * len(corners):
        return "edges"
    return ""


def _parsed(file: Path) -> ElementTree.Element:
    """The root of an XML file. Refused for another kind of file, or one that defines entities."""
    if not file.is_file() and not file.is_symlink():
        raise Missing(f"{file} does not exist; expected one for every picture, without objects where there are none")
    require_content(file)
    text = DECLARATION.sub("", _text(file)).lstrip("\ufeff \r\n\t")
    if re.match(r"<!doctype\s+html|<html", text, re.IGNORECASE):
        raise Refused(f"{file} is a page of the web (HTML), expected an annotation; download the file itself")
    if re.search(r"<!(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise Refused(f"{file} is not readable as XML: it has a DOCTYPE or defines entities, which no annotation does")
    try:
        tree = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise Refused(f"{file} is not readable as XML: {error}") from error
    if tree.tag.casefold() != "annotation":
        raise Refused(f"{file} has the root <{tree.tag[:60]}>, expected <annotation> as VOC has it")
    return tree


def _text(file: Path) -> str:
    """The text of an XML file in the encoding that it declares; where there is no such, as any other text."""
    data = file.read_bytes()
    declared = DECLARED.match(data.removeprefix(b"\xef\xbb\xbf"))
    if declared is None or data.startswith(b"\xef\xbb\xbf"):
        return read_text(file)
    name = declared[1].decode("ascii", "replace").strip()
    try:
        return data.decode(name)
    except UnicodeError as error:
        raise Refused(f"{file} is not readable as XML: it says that it is in {name}, but is not ({error})") from error
    except (LookupError, ValueError):
        note(GUESSED, f"{file.name} says that it is in {name!r}, which is no known encoding: read as any other text.")
        return read_text(file)
