"""All that is written of a round, in one pass over what is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from data.names import Refused, require_one_of
from experiments.rounds.exports import coco, geojson, labelstudio, masks, preview, table, voc, yolo
from experiments.rounds.exports.target import TOLERANCE, Chart, Target
from experiments.rounds.suggestion import Seen, Writer

CHANGES_NO_RESULT = True

ALL, DRAWN = ("segment", "classify", "detect"), ("segment", "detect")


class Kind(NamedTuple):
    """One thing that can be written."""

    sentence: str
    tasks: tuple[str, ...]
    opened: Callable[[Target], AbstractContextManager[Writer]]


KINDS = {
    "csv": Kind("suggestions.csv: a row for each image", ALL, table.table),
    "preview": Kind("preview.html: one page with small pictures", ALL, preview.preview),
    "masks": Kind("masks/: PNGs of class numbers", ("segment",), masks.masks),
    "coco": Kind("coco.json: polygons, or boxes with scores", DRAWN, coco.coco),
    "voc": Kind("voc/: an XML with boxes for each image", ("detect",), voc.voc),
    "yolo": Kind("yolo/: a text with boxes or polygons for each image", DRAWN, yolo.yolo),
    "geojson": Kind("geojson/: a file for each image, for QuPath", DRAWN, geojson.geojson),
    "labelstudio": Kind("tasks and labelling configuration of Label Studio", ALL, labelstudio.polygons),
    "labelstudio_brush": Kind("the same with masks as brushes", ("segment",), labelstudio.brushes),
}


@contextmanager
def writing(
    kinds: Sequence[str],
    folder: Path,
    classes: Sequence[str],
    title: str,
    task: str,
    root: Path | None = None,
    chart: Chart | None = None,
    tolerance: float = TOLERANCE,
) -> Iterator[Writer]:
    """A function that takes what is seen one by one and writes it in all `kinds` (names of KINDS) into `folder`.

    `classes` are those of the model, for masks the background first; `root` is the folder of the user's images, from
    which files are named; `chart` says where they lie in a map; polygons of masks
    are simplified to `tolerance` pixels, 0 for every corner. Each file takes its place when the block succeeds, so
    that what is there is whole. Refused for a kind that is not known, or that does not fit the task.
    """
    for kind in kinds:
        require_one_of("export", kind, KINDS)
        if task not in KINDS[kind].tasks:
            fitting = ", ".join(name for name, each in KINDS.items() if task in each.tasks)
            raise Refused(f"export {kind!r} is not for {task}. Known for it: {fitting}")
    if {"labelstudio", "labelstudio_brush"} <= set(kinds):
        raise Refused("labelstudio and labelstudio_brush write the same files; choose one of them")
    target = Target(folder, tuple(classes), title, task, root, chart, tolerance)
    with ExitStack() as stack:
        writers = [stack.enter_context(KINDS[kind].opened(target)) for kind in dict.fromkeys(kinds)]

        def write(seen: Seen) -> None:
            for each in writers:
                each(seen)

        yield write
