"""Random folders of own images and masks: how masks are stored, called and divided, and what their numbers mean."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from numpy import ndarray
from PIL import Image

from data.store import Images
from tests.data.formats.writing import palette, png_of_bits, save
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

COLOURS = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]], np.uint8)
CODES = ["#" + "".join(f"{part:02x}" for part in colour) for colour in COLOURS.tolist()]
Write = Callable[[Path, ndarray], object]


def _indexed(file: Path, mask: ndarray, order: ndarray) -> None:
    """A palette mask whose entry k has the colour order[k]."""
    place = np.argsort(order)
    save(file, palette(place[mask], COLOURS[order].ravel().tolist()))


def _tiff(file: Path, values: ndarray, **options) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(file, values, **options)


NUMBERED: dict[str, tuple[str, Write]] = {  # read by number, without an option
    "L.png": (".png", lambda f, m: save(f, m)),
    "L.PNG": (".PNG", lambda f, m: save(f, m)),
    "RGB.png": (".png", lambda f, m: save(f, np.repeat(m[..., None], 3, 2))),
    "RGBA.png": (".png", lambda f, m: save(f, np.dstack([m, m, m, m * 0 + 255]))),
    "LA.png": (".png", lambda f, m: save(f, Image.fromarray(m).convert("LA"))),
    "I;16.png": (".png", lambda f, m: save(f, Image.fromarray(m.astype(np.uint16)))),
    "4 bits.png": (".png", lambda f, m: png_of_bits(f, m, 4)),
    "P.png": (".png", lambda f, m: _indexed(f, m, np.arange(len(COLOURS)))),
    "P.gif": (".gif", lambda f, m: _indexed(f, m, np.arange(len(COLOURS)))),
    "L.bmp": (".bmp", lambda f, m: save(f, m)),
    "lzw.tif": (".tif", lambda f, m: save(f, m, compression="tiff_lzw")),
    "int32.tif": (".tif", lambda f, m: _tiff(f, m.astype(np.int32))),
    "float.tif": (".tiff", lambda f, m: _tiff(f, m.astype(np.float32))),
    "lossless.webp": (".webp", lambda f, m: save(f, np.repeat(m[..., None], 3, 2), lossless=True)),
}


def draw(root: Path, rng: np.random.Generator, damage: bool = False) -> Trial:
    """A folder for `segment with folder`; with `damage`, one that is read without doubt, to be damaged."""
    n, classes = int(rng.integers(4, 9)), int(rng.integers(2, 5))
    names, kinds = stems(rng, n), draw_kinds(rng)
    shapes = [(16, 24)] * n if chance(rng, 0.5) else rng.integers(12, 30, (n, 2)).tolist()
    masks = [_blobs(rng, classes, *shape) for shape in shapes]
    masks[0].flat[:classes] = np.arange(classes)  # every class occurs
    trial = Trial("segment", "folder", root, {})
    ending, write = _meaning(rng, trial, masks, classes, damage)
    parts = _parts(rng, n)
    words = {part: (one_of(rng, WORDS[part]), one_of(rng, WORDS[part])) for part in set(parts) - {""}}
    affix = one_of(rng, ["", "", "", "_mask", "-seg"]) if not damage else ""
    if affix:
        trial.options["mask_pattern"] = "{}" + affix
    other_form = one_of(rng, ["NFC", "NFD"])
    for name, grey_shape, mask, part in zip(names, shapes, masks, parts, strict=True):
        kind = one_of(rng, kinds)
        image_part, mask_part = words.get(part, ("", ""))
        image = root / "images" / image_part / (name + kind.ending)
        mask_file = root / "masks" / mask_part / (unicodedata.normalize(other_form, name) + affix + ending)
        seen = write_picture(rng, kind, image, scene(rng, *grey_shape))
        write(mask_file, mask)
        called = composed(image.relative_to(root / "images").as_posix())
        trial.truth[called] = seen._replace(target=mask, part=part)
        trial.files[called] = [image, mask_file]
    trial.told += [
        f"{classes} classes",
        f"masks {ending}{affix}",
        f"parts {words}",
        f"images {[k.ending for k in kinds]}",
    ]
    trial.told += clutter(rng, root, [root, root / "images", root / "masks"])
    if not damage:
        _links_and_faults(rng, trial)
    return trial


def check(trial: Trial, images: Images, said: list[str]) -> None:
    """Every image with its own mask, its part, and nothing else."""
    names = [composed(name) for name in images.names if trial.truth]
    assert len(set(names)) == len(names) and set(names) <= trial.truth.keys(), "other images than there are"
    assert trial.truth.keys() - set(names) <= trial.damaged, "images are lost"
    parts = images.parts.tolist()
    assert "train" in parts and "test" in parts
    pairs: set[tuple[int, int]] = set()  # (number that was drawn, number that was read) of every pixel
    for i, name in enumerate(names):
        truth = trial.truth[name]
        assert not truth.part or parts[i] == truth.part, (name, parts[i])
        target = images.instances(i) if images.kind == "instance_map" else images.target(i).numpy()
        if name in trial.damaged:
            assert target.shape == images.raw(i).shape[:2]
            continue
        require_alike(images.raw(i), truth, name, said)
        if "palettes" not in trial.told:
            assert np.array_equal(target, truth.target), f"mask of {name}"
        pairs |= set(zip(truth.target.ravel().tolist(), target.ravel().tolist(), strict=True))
    if "palettes" in trial.told:  # which colour is class 1 is nobody's to know: but each is one class, black is 0
        assert len(pairs) == len(images.classes) == len({number for _, number in pairs}) and (0, 0) in pairs


def _blobs(rng: np.random.Generator, classes: int, height: int, width: int) -> ndarray:
    """Rectangles of the classes; the top row holds no class that is not below."""
    mask = np.zeros((height, width), np.uint8)
    for number in rng.permutation(np.arange(1, classes)):
        top, left = rng.integers(0, height - 5), rng.integers(0, width - 5)
        mask[top : top + rng.integers(2, 6), left : left + rng.integers(2, 6)] = number
    return mask


def _meaning(
    rng: np.random.Generator, trial: Trial, masks: list[ndarray], classes: int, damage: bool
) -> tuple[str, Write]:
    """How masks are stored, with the option that says so."""
    how = one_of(rng, ["numbers"] * 4 + ["white", "values", "ignore", "palettes", "colours", "objects"] * (not damage))
    trial.told.append(how)
    if how == "white":
        for mask in masks:
            mask[mask > 0] = 1
        bit = one_of(rng, ["L", "1", "1.tif"])
        if bit == "L":
            return ".png", lambda f, m: save(f, m * 255)
        packed = {} if bit == "1" else {"compression": "group4"}
        return "." + bit.replace("1.", "").replace("1", "png"), lambda f, m: save(f, Image.fromarray(m > 0), **packed)
    if how == "values":
        values = np.sort(rng.choice(256, classes, replace=False)).astype(np.uint8)
        if chance(rng, 0.8):
            trial.options["values"] = values.tolist()
        elif set(values.tolist()) in ({0, 255}, set(range(classes))):  # read as such
            values[-1] = 77
        return ".png", lambda f, m: save(f, values[m])
    if how == "ignore":
        trial.options["ignore"] = 255
        for mask in masks[1:]:
            mask[-2:] = 255
        return ".png", lambda f, m: save(f, m)
    if how == "palettes":
        return ".png", lambda f, m: _indexed(f, m, rng.permutation(classes))
    if how == "colours":
        if chance(rng, 0.7):
            trial.options["colours"] = CODES[: max(classes, 2)]
        return one_of(rng, [".png", ".bmp", ".tif"]), lambda f, m: save(f, COLOURS[m])
    if how == "objects":
        trial.options["instances"] = True
        shift = int(rng.integers(0, 300))
        for k, mask in enumerate(masks):
            masks[k] = np.where(mask > 0, mask.astype(np.uint16) + shift, 0).astype(np.uint16)
        return ".png", lambda f, m: save(f, Image.fromarray(m))
    return NUMBERED[one_of(rng, list(NUMBERED))]


def _parts(rng: np.random.Generator, n: int) -> list[str]:
    """The part of each image, or '' of all: then the reader divides."""
    if chance(rng, 0.5):
        return [""] * n
    kinds = ["train", "test", *(["val"] if chance(rng, 0.5) else [])]
    return kinds + [one_of(rng, kinds) for _ in range(n - len(kinds))]


def _links_and_faults(rng: np.random.Generator, trial: Trial) -> None:
    """What happens to real folders: links instead of files, a file that is missing, twice, or of another size."""
    name = one_of(rng, list(trial.files))
    image, mask = trial.files[name]
    how = one_of(rng, [""] * 9 + ["link"] * 3 + "broken,no mask,no image,twice,turned,swapped,empty".split(","))
    trial.told.append(f"{how} {name}")
    if how in ("link", "broken", "empty"):
        of_links(trial, image, how)
    elif how in ("no mask", "no image"):
        (mask if how == "no mask" else image).unlink()
    elif how == "twice":
        save(mask.with_suffix(".bmp" if mask.suffix != ".bmp" else ".png"), np.zeros((9, 9), np.uint8))
    elif how == "turned":
        save(mask, np.zeros(trial.truth[name].image.shape[1::-1], np.uint8), **({"format": "PNG"}))
    elif how == "swapped":
        images, masks = trial.root / "images", trial.root / "masks"
        images.rename(trial.root / "x")
        masks.rename(images)
        (trial.root / "x").rename(masks)
    if how == "swapped" and "instances" in trial.options:  # any picture has numbers: nobody can tell
        trial.truth.clear()
    elif how not in ("", "link", "broken", "empty"):
        trial.told.append("MUST BE REFUSED")
