"""Your own images and masks: a folder images/ and a folder masks/ whose files have equal stems."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np

from data import notes, phases, splits
from data.formats import (
    columns,
    folders,
    mask_pairs,
    mask_values,
    nifti,
    open_masks,
    palettes,
    patients,
    pictures,
    reading,
    tables,
    volumes,
    words,
)
from data.formats.labelled import TestShare
from data.formats.mask_pairs import Found, Pair
from data.formats.mask_values import MOST_CLASSES
from data.formats.masks import IGNORED, Mask, decode_mask, require_equal_size
from data.formats.pictures import (
    ANY,
    Bands,
    Exif,
    Frames,
    Levels,
    Options,
    Reader,
    Scaling,
    Source,
)
from data.formats.unlabelled import ours
from data.limits import Between, Numbers
from data.names import Refused
from data.sources import source_fingerprint
from data.store import Images, Record, cached
from data.unlabelled import MASKS, Unlabelled

TEST_FRACTION, TEST_SEED = 0.2, 2026  # fixed: every run and every experiment has the same test part
CLASS_NAMES = "classes.txt"
MODULES = (phases, splits, columns, folders, mask_pairs, mask_values, palettes, patients, tables, volumes, words)


def mask_folder(
    data_root: Path,
    num_classes: Annotated[int, Between(0, MOST_CLASSES)] = 0,
    scale: float = 1.0,
    cache_root: Path | None = None,
    instances: bool = False,
    values: Annotated[list | None, Numbers(-ANY, ANY)] = None,
    colours: list | None = None,
    ignore: Annotated[int, Between(-1, 2**16 - 1)] = -1,
    class_names: Sequence[str] = (),
    mask_pattern: str = "",
    patient_pattern: str = "",
    test_fraction: TestShare = TEST_FRACTION,
    exif: Exif = "apply",
    frames: Frames = "one",
    window: Levels = None,
    scaling: Scaling = "set",
    bands: Bands = None,
    unlabelled: Unlabelled | None = None,
) -> Images:
    """The images under `data_root`/images in natural order with the masks under `data_root`/masks.

    Masks are 'class_map', or with `instances` 'instance_map' (their values number objects). Images become grey or, if
    any of them is coloured, all RGB; what `exif`, `frames`, `window`, `scaling` and `bands` do is said in
    `data.formats.pictures.Options`. Names are relative to images/, with '#3' for the third picture of a file.

    `num_classes` counts the background; 0 finds out: then the masks must hold all the values 0, 1, ... up to the
    largest. Masks of 0 and white alone are read as 0 and 1, which is noted. Class k is `values`[k] or the colour
    `colours`[k] ('#rrggbb') where these are given; pixels of the value `ignore` are 255 in class maps and count
    nowhere. Classes are called as `class_names` or the lines of classes.txt say ('gland' or '1: gland').
    `mask_pattern` is told in `mask_pairs._keys`, `patient_pattern` and patients.csv in `patients`; without either,
    DICOM files say their patient, and the slices of a volume are of one (`volumes.whose`). Without subfolders train/
    and test/, `test_fraction` of the images, by whole patients, is the test part: the same for all runs. `scale` in
    (0, 1] shrinks images and masks; a class that is lost from every mask by that is not counted where it is the last.
    With `unlabelled` (data.unlabelled) images without a mask are kept, and no test part is divided off; the number
    of classes must be told. Missing or Refused names the file that is wrong.
    """
    scale = reading.require_scale(scale)
    options = Options(exif, frames, window, scaling, bands).checked()
    _require_together(num_classes, instances, values, colours, ignore)
    root = Path(data_root)
    pairs = mask_pairs.find(root, mask_pattern, unlabelled is not None)
    names = _class_names(root, class_names)
    n_classes = num_classes or len(values or colours or [])
    if unlabelled is not None:
        n_classes = 2 if instances else n_classes or _told(root, names)
        num_classes = 0 if instances or values or colours else n_classes
    mine = ours(unlabelled, MASKS, ".png") if unlabelled is not None else {}
    ignored = None if ignore < 0 else ignore

    def records() -> Iterator[Record]:
        reader = reading.survey([pair.image for pair in pairs], options)
        entries = _with_patients(_found(root, pairs, reader, unlabelled is not None), root, patient_pattern)
        found = entries if unlabelled is not None else _divided(entries, root, test_fraction)
        masks = [entry.mask for entry in found if entry.mask]
        seen = mask_values.look_at((mask.file, _mask(mask, exif)) for mask in masks)
        told = num_classes, values or [], colours or [], ignored, instances
        to_target = mask_values.meaning(seen, *told) if masks or unlabelled is None else None
        if unlabelled is not None or to_target is None:
            sought = open_masks.Sought(mine, to_target, n_classes, instances, scale, exif)
            yield from open_masks.records(found, root, reader, sought, cache_root)
            return
        for entry, source in zip(found, masks, strict=True):
            image, mask = reader.read(entry.image), _mask(source, exif)
            require_equal_size(entry.image.file, image, source.file, mask.values)
            target = reading.shrink_mask(to_target(source.file, mask), scale)
            small, name = reading.shrink(image, scale), entry.image.named(entry.file)
            place = entry.place.resized(image.shape, small.shape)
            yield Record(name, small, target, 0, entry.part, entry.patient, *place)

    said = [file for file in root.iterdir() if file.name.casefold() == patients.TABLE]
    sources = [*(file for pair in pairs for file in (pair.image, pair.mask) if file), *said]
    decoding = (num_classes, instances, values, colours, ignore, mask_pattern, patient_pattern, test_fraction, options)
    if unlabelled is not None:
        decoding = (*decoding, n_classes, source_fingerprint(mine.values(), *mine))
    digest = reading.fingerprint(root, sources, [__file__, *(str(m.__file__) for m in MODULES)], scale, *decoding)
    kind = "instance_map" if instances else "class_map"
    images = cached("folder", digest, kind, (), records, len(pairs), cache_root)
    if instances:
        return replace(images, classes=_named(names, 2, ("background", "object")))
    n_classes = n_classes or 1 + max(_largest(images.targets[i], ignored) for i in images.rows.tolist())
    numbered = ("background", *(f"class {c}" for c in range(1, n_classes)))
    return replace(images, classes=_named(names, n_classes, numbered))


def _require_together(
    num_classes: int, instances: bool, values: list | None, colours: list | None, ignore: int
) -> None:
    """Refused for options that contradict each other."""
    if num_classes == 1:
        raise Refused(f"num_classes=1 must be from 2 (background and one class) to {MOST_CLASSES}, or 0 to find out")
    chosen = {"instances": instances, "values": values is not None, "colours": colours is not None}
    told = [name for name, given in {**chosen, "num_classes": bool(num_classes)}.items() if given]
    if len(told) > 1:
        raise Refused(f"{' and '.join(told)} both say what the values of masks mean; use one of them")
    if ignore >= 0 and (instances or colours is not None):
        raise Refused(f"ignore={ignore} is a value of class numbers: it cannot be combined with {told[0]}")
    if values is not None and (len(set(values)) < 2 or len(set(values)) < len(values) or ignore in values):
        raise Refused(f"values={values} must be at least two different values, the background's first, without ignore")
    if colours is not None:
        palettes.codes_of(colours)


def _found(root: Path, pairs: Sequence[Pair], reader: Reader, unlabelled: bool) -> list[Found]:
    """Every picture with its mask. Refused where a file holds another number of pictures than its mask."""
    folder = mask_pairs.folder_of(root, "images", unlabelled)
    by_file: dict[Path, list[Source]] = {}
    for source in reader.sources:
        by_file.setdefault(source.file, []).append(source)
    found = []
    for pair in pairs:
        images = by_file[pair.image]
        masks = pictures.sources_of(pair.mask, reader.options) if pair.mask else [None] * len(images)
        if len(images) != len(masks):
            raise Refused(f"mask {pair.mask} holds {len(masks)} pictures, expected {len(images)} like {pair.image}")
        if pair.mask and masks[0] and images[0].known.format == masks[0].known.format == "NIfTI":
            _require_one_place(pair.image, pair.mask)
        name = pair.image.relative_to(folder).as_posix()
        found += [Found(name, pair.part, *both) for both in zip(images, masks, strict=True)]
    return found


def _with_patients(found: list[Found], root: Path, patient_pattern: str) -> list[Found]:
    """With patients, as the user or the files say, and places."""
    files = [entry.file for entry in found]
    each = list(dict.fromkeys(files))  # a table names a file once, whatever number of slices it has
    of_file = dict(zip(each, patients.patients_of(each, root, patient_pattern), strict=True))
    told = (
        [of_file[file] for file in files] if any(of_file.values()) else [entry.image.known.patient for entry in found]
    )
    places = volumes.places_of([entry.image for entry in found], files, told)
    of = volumes.whose(told, places)
    return [e._replace(patient=who, place=place) for e, who, place in zip(found, of, places, strict=True)]


def _divided(found: list[Found], root: Path, test_fraction: float) -> list[Found]:
    """With parts: official, or a fixed share of whole patients for test."""
    of = [entry.patient for entry in found]
    if found[0].part:
        if test_fraction != TEST_FRACTION:
            raise Refused(f"test_fraction={test_fraction:g} has nothing to divide: {root / 'images'} has its own parts")
        patients.note_shared(of, [entry.part for entry in found])
        return found
    if len(found) < 2:
        raise Refused(
            f"{root / 'images'} holds one picture, expected at least 2: one to learn from and one to test with"
        )
    held: set[int] = set()
    for count in range(max(1, round(test_fraction * len(found))), len(found)):  # a whole patient may be more
        if not held:
            rng = np.random.default_rng(TEST_SEED)
            held = set(splits.divide(len(found), count, rng, of if any(of) else None)[1].tolist())
    if len(held) in (0, len(found)):
        raise Refused(f"{len(found)} pictures of {len(set(of))} patients cannot be divided: expected at least two")
    if any(of):
        many = f"{len(held)} of {len(found)} pictures, {len({of[i] for i in held})} of {len(set(of))} patients"
        notes.note(notes.GUESSED, f"the test part is {many}: whole patients, none on both sides")
    return [entry._replace(part="test" if i in held else "train") for i, entry in enumerate(found)]


def _mask(source: Source, exif: str) -> Mask:
    return decode_mask(source.file, source.frame, exif)


def _require_one_place(image_file: Path, mask_file: Path) -> None:
    """Refused where a volume and its mask do not lie alike in the body: one would be mirrored, turned or moved."""
    image, mask = nifti.affine(image_file), nifti.affine(mask_file)
    side = np.abs(image[:3, :3]).max()
    if np.abs(image - mask).max() > 0.1 * side:
        raise Refused(
            f"mask {mask_file} lies otherwise in the body than {image_file} (their affines differ): "
            "bring it to the grid of the image"
        )


def _class_names(root: Path, chosen: Sequence[str]) -> list[str]:
    """The names that the option or classes.txt gives, in the order of their numbers, if they have such; or []."""
    names, source = [str(name).strip() for name in chosen], "class_names"
    if not names and (root / CLASS_NAMES).is_file():
        source = str(root / CLASS_NAMES)
        names = [line.strip() for line in tables.read_text(root / CLASS_NAMES).splitlines() if line.strip()]
    numbered = [re.fullmatch(r"(\d+)\s*[:;,=\s]\s*(.+)", name) for name in names]
    by_number = {int(found[1]): found[2] for found in numbered if found}
    if names and len(by_number) == len(names):
        if sorted(by_number) not in (list(range(len(names))), list(range(1, len(names) + 1))):
            raise Refused(f"{source} numbers the classes {', '.join(map(str, by_number))}, expected 0, 1, 2, ...")
        names = [] if 0 in by_number else ["background"]
        names += [by_number[number] for number in sorted(by_number)]
    if len(set(names)) < len(names) or not all(names):
        raise Refused(f"{source} has the names {', '.join(names)}, expected each class once")
    return names


def _told(root: Path, names: Sequence[str]) -> int:
    """How many classes the user names, with the background. Refused where nothing says it."""
    if not names:
        raise Refused(
            f"the masks of {root} are not all there, so that they cannot tell the classes: say classes=gland, say, or "
            "classes=gland,vessel (1, 2, ... in masks; the background is 0), or write a class a line in classes.txt"
        )
    return len(names) + (names[0].casefold() != "background")


def _named(names: list[str], n_classes: int, numbered: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the classes; where there is one less than classes, they are those of the foreground."""
    if not names or len(names) == n_classes:
        return tuple(names) or numbered
    if len(names) == n_classes - 1:
        return ("background", *names)
    raise Refused(f"{len(names)} names of classes ({', '.join(names)}) for {n_classes} classes, background included")


def _largest(target: np.ndarray, ignored: int | None) -> int:
    counted = target if ignored is None else target[target != IGNORED]
    return int(counted.max(initial=0))
