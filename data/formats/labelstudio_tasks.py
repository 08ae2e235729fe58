"""What a JSON export of Label Studio says: pictures with regions and choices. JSON and JSON-MIN.

Format: https://labelstud.io/guide/export (positions are percent of the picture as it is shown).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from data import files
from data.formats import brush, coco_table
from data.formats.coco_table import finite_numbers
from data.formats.endings import PILLOW, ending_of
from data.formats.folders import Finder, is_junk
from data.names import Missing, Refused
from data.notes import CHANGED, LEFT_OUT, note

TREE = """
project-1.json        (Export: JSON or JSON-MIN)
images/a.png ...      (the pictures, in any folder; with or without the letters that Label Studio puts before a name)
"""
UPLOADED = re.compile(r"^[0-9a-f]{8}-")
OF_A_TASK = "id annotator annotation_id created_at updated_at lead_time project file_upload".split()
SHAPES = ("rectangle", "polygon", "ellipse", "brush", "keypoint", "region", "bitmask", "vector")  # without a label
CORNERS = 64  # of the polygon that stands for an ellipse


class Region(NamedTuple):
    """One object: corners in percent of width and height, or what a brush painted."""

    label: str
    corners: list[tuple[float, float]]
    where: str
    turned: bool = False  # a rectangle that is not upright
    brush: bytes = b""  # see data.formats.brush


class Task(NamedTuple):
    """One picture and what is said of it."""

    file: Path
    regions: list[Region]
    choices: list[str]
    size: tuple[int, int] | None  # (width, height) that the regions were drawn on


def read(data_root: Path) -> tuple[Path, Path, list[Task]]:
    """The folder, its export and the pictures that are labelled. Those that are not are noted and left out."""
    root = files.require_folder(Path(data_root), TREE)
    present = sorted(f for f in root.iterdir() if f.suffix.casefold() == ".json" and not is_junk(f.name))
    if not present:
        raise Missing(f"found no json file in {root}; expected this tree:\n{TREE.strip()}")
    if len(present) > 1:
        raise Refused(f"{root} holds {' and '.join(file.name for file in present)}; expected one export")
    table = coco_table.load(present[0])
    if not isinstance(table, list) or not table or not all(isinstance(task, dict) for task in table):
        raise Refused(f"{present[0]} is no JSON export of Label Studio: expected a list of tasks")
    finder, tasks, without, others, seen = Finder(root), [], 0, Counter(), {}
    for number, task in enumerate(table, start=1):
        where = f"{present[0]}, task {number}"
        results = _results(task, where)
        if results is None:
            without += 1
            continue
        file = _picture(finder, task, where)
        if file in seen:
            raise Refused(f"{where} is of {file}, and so is task {seen[file]}; expected every picture once")
        seen[file] = number
        tasks.append(task_of(file, results, where, others))
    if without:
        note(LEFT_OUT, f"{present[0].name}: {without} of {len(table)} tasks have no annotation and are not used.")
    if others:
        listed = ", ".join(f"{count} {kind}" for kind, count in others.most_common())
        note(LEFT_OUT, f"{present[0].name}: results that are not used: {listed}.")
    if not tasks:
        raise Refused(f"none of the {len(table)} tasks of {present[0]} has an annotation")
    finder.tell()
    finder.unused([task.file for task in tasks], [present[0]]).tell()
    if turned := sum(region.turned for task in tasks for region in task.regions):
        note(CHANGED, f"{present[0].name}: {turned} rectangles are turned.")
    return root, present[0], tasks


def _results(task: dict, where: str) -> list[dict] | None:
    """The results of a task, in the form of the full export; None where it has no annotation."""
    if "annotations" not in task and "completions" not in task:
        return _of_min(task)
    given = task.get("annotations", task.get("completions"))
    if not isinstance(given, list) or not all(isinstance(entry, dict) for entry in given):
        raise Refused(f"{where} has annotations that are no list")
    kept = [entry for entry in given if not entry.get("was_cancelled")]
    if len(kept) > 1:
        raise Refused(f"{where} has {len(kept)} annotations, expected one; choose one in Label Studio")
    results = kept[0].get("result") if kept else None
    if results is not None and (not isinstance(results, list) or not all(isinstance(r, dict) for r in results)):
        raise Refused(f"{where} has a result that is no list")
    return results


def _of_min(task: dict) -> list[dict] | None:
    """The results of a task of JSON-MIN: lists of regions, and choices as text."""
    found: list[dict] = []
    said = False
    for key, value in task.items():
        if key in OF_A_TASK or (isinstance(value, str) and _seems_picture(value)):
            continue
        if isinstance(value, list) and all(isinstance(region, dict) for region in value):
            said = True
            for region in value:
                kind = next((name for name in region if name.endswith("labels")), "region")
                found.append({"type": kind, "value": region, **region})
        elif isinstance(value, str):
            said = True
            found.append({"type": "choices", "value": {"choices": [value]}})
        elif isinstance(value, dict) and "choices" in value:
            said = True
            found.append({"type": "choices", "value": value})
    return found if said or "annotation_id" in task else None


def _picture(finder: Finder, task: dict, where: str) -> Path:
    """The picture of a task, by its path, its name, or its name without the letters of an upload."""
    told = task.get("data", task)
    if not isinstance(told, Mapping):
        raise Refused(f"{where} has data {str(told)[:60]!r}, expected the path of a picture")
    paths = [v for k, v in told.items() if isinstance(v, str) and k not in OF_A_TASK and _seems_picture(v)]
    named = [told[key] for key in ("image", "img", "picture") if isinstance(told.get(key), str)]
    paths = named[:1] or list(dict.fromkeys(paths))
    if len(paths) != 1:
        raise Refused(f"{where} names {len(paths)} pictures, expected one (data.image)")
    url = urlsplit(paths[0].replace("\\", "/"))
    inner = re.search(r"(?:^|&)d=([^&]*)", url.query)
    path = unquote(inner[1] if inner else url.path).lstrip("/")
    name = PurePosixPath(path).name
    for written in dict.fromkeys((path, name, UPLOADED.sub("", name))):
        if written and ".." not in PurePosixPath(written).parts:
            try:
                if (found := finder.find(written)) is not None:
                    return found
            except Missing:
                raise
            except Refused as error:
                raise Refused(f"{where}: {error}") from error
    raise Missing(f"{where} is of {paths[0]!r}, which is not under {finder.root}.{finder.suggestion(name)}")


def task_of(file: Path, results: list[dict], where: str, others: Counter[str]) -> Task:
    """What the results of one annotation say of a picture; those of other kinds are counted in `others`."""
    regions, choices, sizes = [], [], set()
    for number, result in enumerate(results, start=1):
        kind, value, here = str(result.get("type")), result.get("value"), f"{where}, result {number}"
        if not isinstance(value, dict):
            others[kind] += 1
        elif kind == "choices":
            choices += [str(choice) for choice in value.get("choices") or []]
        elif kind in ("rectanglelabels", "polygonlabels", "ellipselabels", "brushlabels"):
            if turn := result.get("image_rotation"):
                raise Refused(f"{here} was drawn on a picture turned by {turn} degrees, expected it as it is: 0")
            size = finite_numbers([result.get("original_width"), result.get("original_height")], 2)
            whole = (int(size[0]), int(size[1])) if size and min(size) > 0 and max(size) < 1e9 else None
            sizes.add(whole)
            labels = value.get(kind)
            if not isinstance(labels, list) or len(labels) != 1:
                raise Refused(f"{here} has the labels {labels!r}, expected one")
            if kind == "brushlabels":
                regions.append(Region(str(labels[0]).strip(), [], here, False, _brush(value, whole, here)))
            else:
                regions.append(Region(str(labels[0]).strip(), *_corners(kind, value, whole, here)))
        elif kind in SHAPES or kind.endswith("labels"):
            raise Refused(
                f"{here} is {kind}, expected rectangles, polygons, ellipses or brushes with a label, or choices"
            )
        else:
            others[kind] += 1
    known = sizes - {None}
    if len(known) > 1:
        raise Refused(f"{where} was drawn on pictures of several sizes: {sorted(known)}")
    return Task(file, regions, choices, next(iter(known), None))


def _brush(value: Mapping[str, Any], size: tuple[int, int] | None, where: str) -> bytes:
    packed = value.get("rle")
    if value.get("format", "rle") != "rle" or not brush.is_packed(packed) or not packed:
        raise Refused(f"{where} is a brush in the format {value.get('format')!r}, expected rle and a list of bytes")
    if size is None:
        raise Refused(f"{where} is a brush and has no original_width and original_height")
    return bytes(packed)


def _corners(
    kind: str, value: Mapping[str, Any], size: tuple[int, int] | None, where: str
) -> tuple[list[tuple[float, float]], str, bool]:
    """Corners in percent, where they stand, and whether it is a turned rectangle."""
    if kind == "polygonlabels":
        points = value.get("points")
        pairs = [finite_numbers(point, 2) for point in points] if isinstance(points, list) else []
        if len(pairs) < 3 or None in pairs:
            raise Refused(f"{where} has points {str(points)[:60]}, expected at least three [x, y]")
        return [(pair[0], pair[1]) for pair in pairs if pair], where, False
    names = ("x", "y", "width", "height") if kind == "rectanglelabels" else ("x", "y", "radiusX", "radiusY")
    sides = finite_numbers([value.get(name) for name in names], 4)
    turn = finite_numbers([value.get("rotation") or 0], 1)
    if sides is None or turn is None or not all(map(math.isfinite, (*sides, *turn))):
        raise Refused(f"{where} has no numbers {', '.join(names)}")
    x, y, a, b = sides
    if kind == "rectanglelabels":
        corners = [(0.0, 0.0), (a, 0.0), (a, b), (0.0, b)]
    else:
        steps = [2 * math.pi * k / CORNERS for k in range(CORNERS)]
        corners = [(a * math.cos(t), b * math.sin(t)) for t in steps]
    angle = math.radians(turn[0] % 360)
    if angle and size is None:
        raise Refused(f"{where} is turned by {turn[0]:g} degrees and has no original_width and original_height")
    width, height = size or (1, 1)  # a turn is in pixels, around the upper left corner or the centre of an ellipse
    cos, sin = math.cos(angle), math.sin(angle)
    turned = [(x + cos * u - sin * v * height / width, y + sin * u * width / height + cos * v) for u, v in corners]
    return turned, where, kind == "rectanglelabels" and turn[0] % 90 != 0


def _seems_picture(text: str) -> bool:
    path = urlsplit(text)
    name = Path(unquote(path.query if "d=" in path.query else path.path))
    return ending_of(name) in PILLOW or text.startswith(("/data/", "s3://", "gs://"))
