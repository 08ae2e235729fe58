"""Random folders of own images with boxes: VOC, COCO and YOLO as several tools write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from data.store import Images
from tests.data.trials.damage import of_links
from tests.data.trials.drawing import (
    WORDS,
    Trial,
    chance,
    clutter,
    composed,
    draw_kinds,
    one_of,
    require_alike,
    scene,
    stems,
    write_picture,
)

CLASSES = ["cell", "White Cell", "Zelle ä", "细胞", "A&B", "<x>", "7", "grade-2"]
Boxes = list[tuple[str, tuple[int, int, int, int]]]  # class, edges x1 y1 x2 y2


class Drawn:
    """The pictures of a folder with their boxes, before the annotations are written."""

    def __init__(self, root: Path, rng: np.random.Generator, name: str, folder: str, by_part: bool, damage: bool):
        self.trial = Trial("detect", name, root, {})
        self.rng, self.root = rng, root
        self.classes = rng.permutation(CLASSES)[: rng.integers(1, 4)].tolist()
        n, kinds = int(rng.integers(6, 10)), draw_kinds(rng)
        self.divided = chance(rng, 0.5)
        kinds_of_parts = ["train", "test", "val"][: rng.integers(2, 4)]
        parts = [*kinds_of_parts * 2, *(one_of(rng, kinds_of_parts) for _ in range(n))][:n]
        self.words = {part: one_of(rng, WORDS[part]) for part in WORDS}
        self.pictures: list[tuple[Path, str, tuple[int, int], Boxes]] = []  # file, part, (width, height), boxes
        for stem, part in zip(stems(rng, n), parts, strict=True):
            kind, (height, width) = one_of(rng, kinds), (int(side) for side in rng.integers(16, 32, 2))
            inner = self.words[part] if self.divided and by_part else ""
            file = root / folder / inner / (stem + kind.ending)
            seen = write_picture(rng, kind, file, scene(rng, height, width))
            boxes = self._boxes(width, height)
            called = composed(file.name)
            self.trial.truth[called] = seen._replace(target=boxes, part=part if self.divided else "")
            self.trial.files[called] = [file]
            self.pictures.append((file, part, (width, height), boxes))
        self.trial.told += [str(self.classes), f"divided {self.divided} {self.words}", str(kinds[0].ending)]
        self.trial.told += clutter(rng, root, [root, root / folder])
        if not damage:
            of_links(self.trial, one_of(rng, self.pictures)[0], one_of(rng, [""] * 6 + ["link", "broken", "empty"]))

    def _boxes(self, width: int, height: int) -> Boxes:
        """A box of every class, anywhere, and now and then one that touches the border."""
        found = []
        for name in [*self.classes, *([self.classes[0]] if chance(self.rng, 0.5) else [])]:
            left, top = int(self.rng.integers(1, width - 8)), int(self.rng.integers(1, height - 8))
            right, bottom = (int(low + self.rng.integers(3, 8)) for low in (left, top))
            found.append((name, (left, top, *((width, height) if chance(self.rng, 0.1) else (right, bottom)))))
        return found


def draw_voc(root: Path, rng: np.random.Generator, damage: bool = False) -> Trial:
    """Annotations in any counting and encoding; lists with parts."""
    drawn = Drawn(root, rng, "voc", one_of(rng, ["JPEGImages", "JPEGImages", "images"]), False, damage)
    counts, encoding = (
        one_of(rng, ["voc", "tool", "option"]),
        one_of(rng, ["utf-8", "utf-8", "latin-1", "utf-16", "gb2312"]),
    )
    if counts == "option":
        drawn.trial.options["corners"] = one_of(rng, ["pixels", "edges"])
    pixels = counts == "voc" or drawn.trial.options.get("corners") == "pixels"
    for file, _, (width, height), boxes in drawn.pictures:
        source = {"voc": "<source><database>The VOC2012 Database</database></source>"}.get(
            counts, "<source><database>Unknown</database></source>"
        )
        listed = ""
        for name, (x1, y1, x2, y2) in boxes:
            sides = (x1 + pixels, y1 + pixels, x2, y2)
            edges = "".join(
                f"<{tag}>{side}</{tag}>" for tag, side in zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=True)
            )
            listed += f"<object><name>{escape(name)}</name><bndbox>{edges}</bndbox></object>\n"
        size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        text = f"<annotation>\n<filename>{escape(file.name)}</filename>{source if counts != 'option' else ''}{size}\n{listed}</annotation>"
        xml = root / "Annotations" / f"{file.name[: -len(file.suffix)]}.xml"
        xml.parent.mkdir(exist_ok=True)
        _encoded(xml, text, encoding)
        drawn.trial.files[composed(file.name)].append(xml)
    if drawn.divided:
        lists = root / "ImageSets" / "Main"
        lists.mkdir(parents=True)
        for part in {part for _, part, _, _ in drawn.pictures}:
            lines = [file.name[: -len(file.suffix)] for file, its, _, _ in drawn.pictures if its == part]
            (lists / f"{part}.txt").write_text(one_of(rng, ["\n", "\r\n"]).join([*rng.permutation(lines).tolist(), ""]))
    drawn.trial.told += [counts, encoding]
    return drawn.trial


def draw_coco(root: Path, rng: np.random.Generator, damage: bool = False) -> Trial:
    """One json or one for each part; ids with gaps, entries in any order, names with or without folder."""
    drawn = Drawn(root, rng, "coco", "images", chance(rng, 0.5), damage)
    numbers = rng.choice(10_000, len(drawn.pictures) + len(drawn.classes), replace=False).tolist()
    ids = dict(zip(drawn.classes, sorted(numbers[: len(drawn.classes)]), strict=True))
    as_text, with_folder = chance(rng, 0.2), chance(rng, 0.5)
    tables: dict[str, dict[str, list]] = {}
    for number, (file, part, (width, height), boxes) in zip(numbers[len(ids) :], drawn.pictures, strict=True):
        table = tables.setdefault(part if drawn.divided else "", {"images": [], "annotations": []})
        called = file.relative_to(root / "images").as_posix() if with_folder else file.name
        identity: Any = str(number) if as_text else number
        table["images"].append({"id": identity, "file_name": called, "width": width, "height": height})
        for name, (x1, y1, x2, y2) in boxes:
            entry = {"image_id": identity, "category_id": ids[name], "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0}
            table["annotations"].append({"id": len(table["annotations"]) + 1, "area": (x2 - x1) * (y2 - y1), **entry})
    for part, table in tables.items():
        shuffled: dict[str, list] = {
            key: [entries[k] for k in rng.permutation(len(entries))] for key, entries in table.items()
        }
        shuffled["categories"] = [{"id": number, "name": name} for name, number in ids.items()]
        file = root / "annotations" / f"instances_{part}.json" if part else root / "boxes.json"
        file.parent.mkdir(exist_ok=True)
        text = json.dumps({"info": {}, **shuffled}, ensure_ascii=chance(rng, 0.5))
        file.write_text(text, encoding=one_of(rng, ["utf-8", "utf-8-sig"]))
    drawn.trial.told.append(f"ids as text {as_text}, with folder {with_folder}")
    return drawn.trial


def draw_yolo(root: Path, rng: np.random.Generator, damage: bool = False) -> Trial:
    """A text for each picture in labels/, names in classes.txt."""
    drawn = Drawn(root, rng, "yolo", "images", True, damage)
    digits = int(rng.integers(5, 9))
    for file, _, (width, height), boxes in drawn.pictures:
        lines = []
        for name, (x1, y1, x2, y2) in boxes:
            sides = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
            lines.append(" ".join([str(drawn.classes.index(name)), *(f"{side:.{digits}f}" for side in sides)]))
        text = (root / "labels" / file.relative_to(root / "images")).with_name(f"{file.name[: -len(file.suffix)]}.txt")
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text(one_of(rng, ["\n", "\r\n"]).join([*lines, ""]))
        drawn.trial.files[composed(file.name)].append(text)
    (root / "classes.txt").write_text("\n".join(drawn.classes), encoding="utf-8")
    return drawn.trial


def check(trial: Trial, images: Images, said: list[str]) -> None:
    """Every image with its own boxes and part."""
    names = [composed(name).rpartition("/")[2] for name in images.names]
    assert len(set(names)) == len(names) and set(names) <= trial.truth.keys(), "other images than there are"
    assert trial.truth.keys() - set(names) <= trial.damaged, "images are lost"
    parts = images.parts.tolist()
    assert "train" in parts and "test" in parts
    for i, name in enumerate(names):
        truth = trial.truth[name]
        assert not truth.part or parts[i] == truth.part, (name, parts[i])
        if name in trial.damaged:
            continue
        require_alike(images.raw(i), truth, name, said)
        found = sorted(
            (images.classes[int(box[4])], tuple(round(side, 3) for side in box[:4]))
            for box in images.target(i).tolist()
        )
        drawn = sorted(truth.target)
        assert [one for one, _ in found] == [one for one, _ in drawn], (name, found, drawn)
        edges, expected = (np.array([box for _, box in boxes]).reshape(-1, 4) for boxes in (found, drawn))
        assert np.abs(edges - expected).max(initial=0) < 0.01, (name, found, drawn)


def _encoded(file: Path, text: str, encoding: str) -> None:
    try:
        file.write_bytes(f'<?xml version="1.0" encoding="{encoding}"?>\n{text}'.encode(encoding))
    except UnicodeEncodeError:
        file.write_text(text, encoding="utf-8")
