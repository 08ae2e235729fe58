"""voc/Annotations/: the boxes of each image that has a prediction as XML; edges counted from 0, as labelImg does."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager

from data.formats.folders import shown
from data.formats.voc_xml import SIDES
from experiments.rounds.exports.target import Names, Target, inside, relative
from experiments.rounds.exports.whole import whole_folder
from experiments.rounds.suggestion import Seen, Writer

NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what no XML may hold


@contextmanager
def voc(target: Target) -> Iterator[Writer]:
    """Writes voc/Annotations/<path of the image>.xml and voc/classes.txt. Images without a prediction have no file, for
    one without objects says that there is nothing.
    """
    names = Names(target.root)
    with whole_folder(target.folder / "voc") as folder:
        (folder / "Annotations").mkdir()
        listed = "".join(f"{shown(name)}\n" for name in target.classes)  # annotations do not tell their order
        (folder / "classes.txt").write_text(listed, encoding="utf-8", errors="backslashreplace")

        def write(seen: Seen) -> None:
            if seen.prediction is None:
                return
            file = folder / "Annotations" / names.free(seen.suggestion, ".xml")
            file.parent.mkdir(parents=True, exist_ok=True)
            tree = ElementTree.ElementTree(_annotation(seen, target))
            ElementTree.indent(tree)
            tree.write(file, encoding="utf-8", xml_declaration=True)

        yield write


def _annotation(seen: Seen, target: Target) -> ElementTree.Element:
    image, (height, width) = relative(seen.suggestion, target.root), seen.suggestion.size
    root = ElementTree.Element("annotation")
    channels = seen.picture.shape[2]
    _add(root, filename=image.name, path=image.as_posix())  # a path is the sign of edges counted from 0
    _add(_under(root, "source"), database="Unknown")
    _add(_under(root, "size"), width=width, height=height, depth=channels)
    for *corners, c, score in inside(seen.prediction, seen.suggestion.size).tolist() if seen.prediction else []:
        found = _under(root, "object")
        _add(found, name=target.classes[int(c)], difficult=0, confidence=round(score, 6))
        _add(_under(found, "bndbox"), **{side: f"{corner:.10g}" for side, corner in zip(SIDES, corners, strict=True)})
    return root


def _under(element: ElementTree.Element, tag: str) -> ElementTree.Element:
    return ElementTree.SubElement(element, tag)


def _add(element: ElementTree.Element, **texts: object) -> None:
    for tag, text in texts.items():
        _under(element, tag).text = NO_XML.sub("?", str(text))
