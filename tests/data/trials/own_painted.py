"""Random volumes with masks, and outlines that tools paint: polygons of YOLO, brushes of Label Studio."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy import ndarray

from data.store import Images
from tests.data.formats.test_brush import brush
from tests.data.formats.writing import dicom, nifti
from tests.data.trials.damage import of_bytes
from tests.data.trials.drawing import Trial, Truth, chance, clutter, composed, one_of, require_alike, scene, stems
from tests.data.trials.own_boxes import Drawn
from tests.data.trials.own_masks import _parts


def draw_volumes(root: Path, rng: np.random.Generator, damage: bool = False) -> Trial:
    """Volumes of NIfTI (or frames of DICOM) with masks of NIfTI, each on its own grid."""
    trial, ending = Trial("segment", "folder", root, {}), one_of(rng, [".nii", ".nii.gz", ".NII.gz"])
    deep, frames = not damage and chance(rng, 0.3), chance(rng, 0.2)
    for stem, part in zip(stems(rng, int(rng.integers(4, 7))), _parts(rng, 6), strict=False):
        depth, (height, width) = int(rng.integers(1, 5)), rng.integers(12, 24, 2).tolist()
        slices = [scene(rng, height, width) for _ in range(depth)]
        masks = [np.zeros((height, width), np.uint8) for _ in range(depth)]
        for mask in masks:
            top, left = rng.integers(0, 8, 2)
            mask[top : top + 4, left : left + 3] = 1
        spacing = tuple((rng.uniform(0.3, 5, 3) * rng.choice([-1, 1], 3)).round(3).tolist())
        image = root / "images" / part / f"{stem}{'.dcm' if frames else ending}"
        mask_file = root / "masks" / part / f"{stem}{ending}"
        stack = np.stack(slices).astype(np.int16) * 7 - 300 if deep else np.stack(slices)
        if frames:
            dicom(image, stack if depth > 1 else stack[0], PatientID=stem[-60:].encode("ascii", "replace").decode())
        else:
            nifti(image, stack.transpose(2, 1, 0), spacing)
        nifti(mask_file, np.stack(masks).transpose(2, 1, 0), spacing)
        called = composed(image.relative_to(root / "images").as_posix())
        for number, (grey, mask) in enumerate(zip(slices, masks, strict=True), start=1):
            name = called if frames and depth == 1 else f"{called}#{number}"
            trial.truth[name] = Truth(grey[..., None], mask, part, exact=not deep)
            trial.files[name] = [image, mask_file]
    trial.told += [f"volumes {ending}, deep {deep}, frames {frames}", *clutter(rng, root, [root, root / "images"])]
    return trial


def of_volume(trial: Trial, rng: np.random.Generator) -> Callable[[], None]:
    """Damage the bytes of one volume or of its mask; all its slices may be lost or changed."""
    name = one_of(rng, sorted(trial.files))
    file = one_of(rng, trial.files[name])
    before = file.read_bytes()
    file.write_bytes(one_of(rng, [of_bytes(before, rng), of_bytes(before, rng), b"", before * 2, b"<!DOCTYPE html>"]))
    trial.damaged = frozenset(other for other, files in trial.files.items() if file in files)
    trial.told.append(f"damaged {file.relative_to(trial.root)}")

    def mend() -> None:
        file.write_bytes(before)
        trial.damaged = frozenset()
        trial.told.pop()

    return mend


def check_volumes(trial: Trial, images: Images, said: list[str]) -> None:
    """Every slice with its own mask, number and part; no volume on both sides of a division made here."""
    names = [composed(name) for name in images.names]
    assert len(set(names)) == len(names) and set(names) - trial.damaged <= trial.truth.keys(), "other images"
    assert trial.truth.keys() - set(names) <= trial.damaged, "slices are lost"
    for i, name in enumerate(names):
        if name in trial.damaged or name not in trial.truth:
            continue
        truth = trial.truth[name]
        require_alike(images.raw(i), truth, name, said)
        assert np.array_equal(images.target(i).numpy(), truth.target), f"mask of {name}"
        assert not truth.part or images.parts[i] == truth.part, name
        volume, _, number = name.rpartition("#")
        assert (composed(images.volumes[i]), images.slices[i]) == ((volume, int(number) - 1) if volume else ("", 0)), (
            name
        )
    if not any(truth.part for truth in trial.truth.values()):
        sides = [set(images.part(part).volumes.tolist()) - {""} for part in ("train", "test")]
        assert not sides[0] & sides[1], "a volume is divided"


def draw_polygons(root: Path, rng: np.random.Generator, damage: bool = False) -> Trial:
    """YOLO texts whose lines are polygons, and the class maps that they mean."""
    drawn = Drawn(root, rng, "yolo", "images", True, damage)
    for file, _, (width, height), boxes in drawn.pictures:
        lines = []
        for name, (x1, y1, x2, y2) in boxes:
            corners = [
                x1 / width,
                y1 / height,
                x2 / width,
                y1 / height,
                x2 / width,
                y2 / height,
                x1 / width,
                y2 / height,
            ]
            lines.append(" ".join([str(drawn.classes.index(name)), *(f"{corner:.8f}" for corner in corners)]))
        text = (root / "labels" / file.relative_to(root / "images")).with_name(f"{file.name[: -len(file.suffix)]}.txt")
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text("\n".join(lines))
        drawn.trial.files[composed(file.name)].append(text)
    (root / "classes.txt").write_text("\n".join(drawn.classes), encoding="utf-8")
    return _painted(drawn)


def draw_brushes(root: Path, rng: np.random.Generator, damage: bool = False) -> Trial:
    """An export of Label Studio with brush masks."""
    drawn = Drawn(root, rng, "labelstudio", "images", False, damage)
    tasks = []
    for number, (file, _, (width, height), boxes) in enumerate(drawn.pictures):
        results = []
        for name, (x1, y1, x2, y2) in boxes:
            mask = np.zeros((height, width), int)
            mask[y1:y2, x1:x2] = 255
            value = {"format": "rle", "rle": brush(mask), "brushlabels": [name]}
            size = {"original_width": width, "original_height": height, "image_rotation": 0}
            results.append({"type": "brushlabels", "value": value, **size})
        image = f"/data/upload/1/0a1b2c3d-{quote(file.name)}"
        tasks.append({"id": number, "data": {"image": image}, "annotations": [{"result": results}]})
    (root / "export.json").write_text(json.dumps(tasks))
    for name, truth in drawn.trial.truth.items():
        drawn.trial.truth[name] = truth._replace(part="")  # an export tells no parts
    return _painted(drawn)


def check_painted(trial: Trial, images: Images, said: list[str]) -> None:
    """Every image with the classes of its own pixels."""
    names = [composed(name).rpartition("/")[2] for name in images.names]
    assert len(set(names)) == len(names) and set(names) <= trial.truth.keys(), "other images than there are"
    assert trial.truth.keys() - set(names) <= trial.damaged, "images are lost"
    for i, name in enumerate(names):
        truth = trial.truth[name]
        assert not truth.part or images.parts[i] == truth.part, name
        if name not in trial.damaged:
            require_alike(images.raw(i), truth, name, said)
            assert np.array_equal(np.array(images.classes)[images.target(i).numpy()], truth.target), name


def _painted(drawn: Drawn) -> Trial:
    """The trial with the name of every pixel's class in place of boxes: the smaller object is on top."""
    drawn.trial.task = "segment"
    for file, _, (width, height), boxes in drawn.pictures:
        name = composed(file.name)
        target: ndarray = np.full((height, width), "background", dtype="U40")
        for label, (x1, y1, x2, y2) in sorted(
            boxes, key=lambda box: -(box[1][2] - box[1][0]) * (box[1][3] - box[1][1])
        ):
            target[y1:y2, x1:x2] = label
        drawn.trial.truth[name] = drawn.trial.truth[name]._replace(target=target)
    return drawn.trial
