"""Labels in a folder of ours, as `data.unlabelled` says: each is written whole or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from xml.sax.saxutils import escape

import numpy as np
from numpy import ndarray
from PIL import Image

from data.files import atomic
from data.formats.unlabelled import stem
from data.names import Refused
from data.unlabelled import BOXES, MASKS, TABLE

COLUMNS = ("file", "label")


def inside(name: str) -> str:
    """The name of an image, a relative path, as a server gives it. Refused where it leads elsewhere."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise Refused(f"{name!r} is no path below the folder of images")
    return path.as_posix()


def write_mask(folder: Path, name: str, class_map: ndarray) -> bool:
    """A class map (h, w) as a PNG of class indices. True where this is news."""
    written = io.BytesIO()
    Image.fromarray(class_map.astype(np.uint8)).save(written, format="PNG")
    return _write(folder / MASKS / f"{stem(Path(name))}.png", written.getvalue())


def write_boxes(folder: Path, name: str, boxes: ndarray, classes: Sequence[str], size: tuple[int, int]) -> bool:
    """Boxes (m, 5) as VOC, corners as edges of pixels; no object: nothing there. True where this is news."""
    height, width = size
    objects = "".join(_object(box, classes) for box in boxes)
    text = (
        f"<annotation><filename>{escape(PurePosixPath(name).name)}</filename>"
        f"<path>{escape(name)}</path>"  # the sign of edges counted from 0, see data.formats.voc_xml
        f"<size><width>{width}</width><height>{height}</height></size>{objects}\n</annotation>\n"
    )
    return _write(folder / BOXES / f"{name}.xml", text.encode())


def write_classes(folder: Path, labels: Mapping[str, str]) -> set[str]:
    """Add classes of images to labels.csv, in which other rows stay as they are. The files of which this is news."""
    file = folder / TABLE
    present: dict[str, str] = {}
    if file.exists():
        with file.open(newline="", encoding="utf-8") as opened:
            present = {row[0]: row[1] for row in list(csv.reader(opened))[1:] if len(row) >= 2}
    news = {name for name, label in labels.items() if present.get(name) != label}
    if news:
        written = io.StringIO()
        csv.writer(written, lineterminator="\n").writerows([COLUMNS, *sorted({**present, **labels}.items())])
        _write(file, written.getvalue().encode())
    return news


def _object(box: ndarray, classes: Sequence[str]) -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), box[:4].tolist(), strict=True)
    corners = "".join(f"<{side}>{value:.10g}</{side}>" for side, value in sides)
    return f"\n  <object><name>{escape(classes[int(box[4])])}</name><bndbox>{corners}</bndbox></object>"


def _write(file: Path, content: bytes) -> bool:
    if file.is_file() and file.read_bytes() == content:
        return False
    with atomic(file) as temporary:
        temporary.write_bytes(content)
    return True
