"""One image dataset for all tasks: decoded once into memory-mapped files, shared by every view of it.

A loader yields one `Record` per image; `cached` writes them to `data/cache/` on the first use and maps them later.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from data.cache import whole_folder
from data.files import folder_from
from data.names import Refused
from data.notes import Note, collecting, note

TARGETS = ("class", "class_map", "instance_map", "boxes")
LAYOUT = 4  # version of the files that `_write` makes: raise it with every change of them

COLUMNS = ("name", "group", "part", "patient", "volume", "slice", "spacing")
OF_FILES = ("labelled", "file", "size")  # columns of sets in which images may be without a label
NOT_KNOWN = (math.nan, math.nan, math.nan)


class Record(NamedTuple):
    """What a loader gives for one image."""

    name: str  # unique, as users know it: the file name without folder
    image: ndarray  # (H, W, channels) uint8, channels 1 or 3
    target: ndarray  # "class": () int64 | "class_map", "instance_map": (H, W) uint8 or uint16
    #                  | "boxes": (M, 5) xyxy + class, float32
    group: int = 0  # stratum for splits and the initial set: grade, class; known before labelling
    part: str = "train"  # official part: train, val, test, testA, ...
    patient: str = ""  # images of one patient never fall on both sides of a split made here
    volume: str = ""  # what a slice is of; '' for single pictures
    slice: int = 0  # its number in that, counted from 0
    spacing: tuple[float, ...] = NOT_KNOWN  # millimetres between rows, columns (of `image`) and slices
    labelled: bool = True  # whether `target` is one that somebody gave; else it only fills its place
    file: str = ""  # where it lies below the data root, where a reader says so
    size: tuple[int, int] = (0, 0)  # height and width of that picture before it was made smaller


class Ragged:
    """N arrays of one dtype and different shapes in one memory-mapped file; item i is a view of shape `shapes[i]`."""

    def __init__(self, folder: Path, stem: str):
        self.shapes: Int[ndarray, "n rank"] = np.load(folder / f"{stem}_shapes.npy")
        dtype = np.dtype((folder / f"{stem}_dtype.txt").read_text())
        ends = self.shapes.prod(1).cumsum()
        self._starts = np.concatenate([[0], ends]).astype(np.int64)
        mapped = np.memmap(folder / f"{stem}.bin", dtype, "r") if self._starts[-1] else np.empty(0, dtype)
        self._flat = mapped.view(np.ndarray)  # views of a memmap cost more than small images

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, i: int | np.integer) -> ndarray:
        return self._flat[self._starts[i] : self._starts[i + 1]].reshape(self.shapes[i])

    def __deepcopy__(self, memo: dict) -> Ragged:
        return self


@dataclass(frozen=True)
class Images(Dataset):
    """N images with targets; `rows` says which of the stored images these are, so that subsets share the files."""

    dataset: str
    pixels: Ragged  # i -> (H, W, channels) uint8
    targets: Ragged  # i -> target as in Record
    kind: str  # one of TARGETS
    classes: tuple[str, ...]
    rows: Int[ndarray, " n"]
    _names: ndarray
    _groups: ndarray
    _parts: ndarray
    _patients: ndarray
    _volumes: ndarray
    _slices: ndarray
    _spacings: ndarray
    fingerprint: str  # of the source files and the decoding
    of_files: Mapping[str, ndarray] = field(default_factory=dict)  # OF_FILES; empty where all images are labelled
    notes: tuple[Note, ...] = ()  # what its reader left out, guessed or changed, see `data.load`
    codes: tuple[int, ...] = ()  # the class that each stored class is here, where `ordered` changed that
    features: Any = None  # what a frozen network makes of them, where a run asks, see `experiments.learning.features`

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int | np.integer) -> tuple[Tensor, Tensor]:
        return self.image(i), self.target(i)

    def __deepcopy__(self, memo: dict) -> Images:
        return self  # baal copies its pool; the images are read-only and shared

    def raw(self, i: int | np.integer) -> UInt8[ndarray, "h w channels"]:
        """The stored pixels of image i, without its target."""
        return self.pixels[self.rows[i]]

    def image(self, i: int | np.integer) -> Tensor:
        """Image i as (channels, H, W) float32 in 0..1, never augmented."""
        return torch.from_numpy(np.ascontiguousarray(self.raw(i).transpose(2, 0, 1), dtype=np.float32)).div_(255)

    def target(self, i: int | np.integer) -> Tensor:
        """Target of image i: class () int64, class map (H, W) int64, or boxes (M, 5). Refused where it has no label."""
        if self.of_files and not self.of_files["labelled"][self.rows[i]]:
            raise Refused(f"image {self._names[self.rows[i]]} has no label")
        target = self.targets[self.rows[i]]
        if self.kind == "instance_map":
            target = target > 0
        target = np.array(target, dtype=np.float32 if self.kind == "boxes" else np.int64)
        if self.codes:
            stored = target[:, 4] if self.kind == "boxes" else target
            known = stored < len(self.codes)  # pixels to be ignored are beyond the classes
            stored[known] = np.array(self.codes)[stored[known].astype(np.int64)]
        return torch.from_numpy(target)

    def instances(self, i: int | np.integer) -> Int[ndarray, "h w"]:
        """Instance ids (H, W) of image i, 0 is background. Only where `kind` is 'instance_map'."""
        if self.kind != "instance_map":
            raise Refused(f"dataset {self.dataset!r} has {self.kind} targets and no instances")
        return np.asarray(self.targets[self.rows[i]], dtype=np.int32)

    def subset(self, indices: Sequence[int] | ndarray) -> Images:
        """The images at these positions, sharing the files."""
        return replace(self, rows=self.rows[np.asarray(indices, dtype=np.int64)])

    def part(self, *parts: str) -> Images:
        """The images of these official parts."""
        return self.subset(np.flatnonzero(np.isin(self.parts, parts)))

    def ordered(self, classes: Sequence[str]) -> Images:
        """The same images with their classes matched by name to `classes`, which must hold all of them.

        Refused with both lists where it does not.
        """
        if tuple(classes) == self.classes:
            return self
        places = {name: number for number, name in enumerate(classes)}
        if lacking := [name for name in self.classes if name not in places]:
            raise Refused(
                f"the classes of {self.dataset!r} ({', '.join(self.classes)}) are not those that are expected "
                f"({', '.join(classes)}): {', '.join(map(repr, lacking))} is none of these"
            )
        stored = self.codes or range(len(self.classes))
        return replace(self, classes=tuple(classes), codes=tuple(places[self.classes[code]] for code in stored))

    @property
    def labelled(self) -> Bool[ndarray, " n"]:
        """Which of the images have a label."""
        return self.of_files["labelled"][self.rows] if self.of_files else np.ones(len(self), bool)

    @property
    def shapes(self) -> Int[ndarray, "n 2"]:
        return self.pixels.shapes[self.rows, :2]

    @property
    def channels(self) -> int:
        return int(self.pixels.shapes[self.rows[0], 2])

    @property
    def names(self) -> list[str]:
        return [str(n) for n in self._names[self.rows]]

    @property
    def groups(self) -> Int[ndarray, " n"]:
        return self._groups[self.rows]

    @property
    def parts(self) -> ndarray:
        return self._parts[self.rows]

    @property
    def patients(self) -> ndarray:
        return self._patients[self.rows]

    @property
    def volumes(self) -> ndarray:
        """The volume that each image is a slice of, '' for single pictures."""
        return self._volumes[self.rows]

    @property
    def slices(self) -> Int[ndarray, " n"]:
        """The number of each image in its volume, counted from 0."""
        return self._slices[self.rows]

    @property
    def spacings(self) -> Float[ndarray, "n 3"]:
        """Millimetres between rows, columns and slices of each image, nan where they are not known."""
        return self._spacings[self.rows]


def cached(
    dataset: str,
    fingerprint: str,
    kind: str,
    classes: Sequence[str],
    records: Callable[[], Iterable[Record]],
    total: int | None = None,
    cache_root: Path | None = None,
) -> Images:
    """The dataset from its cache; built from `records()` on the first use, and again where it is damaged.

    `data.cache` says how it is kept whole and how damage is noticed. What is noted while it is built is kept with
    it and noted again at every use.
    """
    cache_root = cache_root or folder_from("ALIQUOT_CACHE", "data/cache")
    name = f"{dataset}-{fingerprint}-v{LAYOUT}"

    def build(building: Path) -> None:
        with collecting() as said:
            _write(building, dataset, records(), total)
        (building / "notes.json").write_text(json.dumps(said))

    folder = whole_folder(cache_root / name, build)
    for kept in json.loads((folder / "notes.json").read_text()):
        note(*kept)
    table = json.loads((folder / "table.json").read_text())
    n = len(table["name"])
    return Images(
        dataset=dataset,
        pixels=Ragged(folder, "pixels"),
        targets=Ragged(folder, "targets"),
        kind=kind,
        classes=tuple(classes),
        rows=np.arange(n),
        _names=np.array(table["name"]),
        _groups=np.array(table["group"], dtype=np.int64),
        _parts=np.array(table["part"]),
        _patients=np.array(table["patient"]),
        _volumes=np.array(table["volume"] or [""] * n),
        _slices=np.array(table["slice"] or [0] * n, dtype=np.int64),
        _spacings=np.array(table["spacing"] or [NOT_KNOWN] * n, dtype=np.float64),
        fingerprint=fingerprint,
        of_files={column: np.array(table[column]) for column in OF_FILES if column in table},
    )


def _write(folder: Path, dataset: str, records: Iterable[Record], total: int | None) -> None:
    table: dict[str, list] = {column: [] for column in (*COLUMNS, *OF_FILES)}
    shapes: dict[str, list] = {"pixels": [], "targets": []}
    with open(folder / "pixels.bin", "wb") as pixels, open(folder / "targets.bin", "wb") as targets:
        dtype = None
        for record in tqdm(records, f"decode {dataset}", total, unit="image", leave=False, dynamic_ncols=True):
            image = np.ascontiguousarray(record.image, dtype=np.uint8)
            target = np.ascontiguousarray(record.target).reshape(record.target.shape)
            dtype = dtype or target.dtype
            if target.dtype != dtype:
                raise Refused(f"{record.name}: target is {target.dtype}, those before it are {dtype}")
            pixels.write(image.tobytes())
            targets.write(target.tobytes())
            shapes["pixels"].append(image.shape)
            shapes["targets"].append(target.shape)
            for column in table:
                table[column].append(getattr(record, column))
    if not table["name"]:
        raise Refused(f"no image was found for dataset {dataset!r}")
    for stem in shapes:
        np.save(folder / f"{stem}_shapes.npy", np.array(shapes[stem], dtype=np.int64).reshape(len(table["name"]), -1))
    (folder / "pixels_dtype.txt").write_text("uint8")
    (folder / "targets_dtype.txt").write_text(str(dtype))
    if not any(table["volume"]):
        table["volume"] = table["slice"] = []
    if not np.isfinite(table["spacing"]).any():
        table["spacing"] = []
    if not any(table["file"]):
        table = {column: table[column] for column in COLUMNS}
    (folder / "table.json").write_text(json.dumps(table))
