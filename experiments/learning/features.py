"""What a frozen network makes of all images of a dataset: computed once, kept on the disk, shared by all runs.

The files lie below $ALIQUOT_CACHE beside the decoded images, in a folder that the digests of the network and of the
images, the precision and the view name, as float16: its spacing, 1/2,048 of a number, is finer than that of the
bfloat16 that most processors compute in. The folder is whole or absent, see `data.cache`. What a killed process had
computed, in chunks, is taken up by the next; two processes that want the same wait for one of them.
"""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor
from tqdm import tqdm

from data.cache import whole_folder
from data.files import atomic, folder_from
from data.names import Refused
from data.store import Images
from experiments.learning.batches import WithoutTargets, equal_size_batches, pictures
from experiments.learning.parallel import first_says, group, shared
from experiments.learning.recipe import autocast
from models.frozen import Frozen

CHUNK = 256  # images between two saves
AT_ONCE = {"cuda": 2**23}  # pixels that a network sees at once; a processor is fastest with few
AT_ONCE_ELSEWHERE = 2**19
ROWS = 4096  # whose statistics are taken at once
FLAT = 1e-6  # standard deviation below which a feature tells nothing and is not stretched

Augment = Callable[[Tensor, np.random.Generator], tuple[Tensor, Any]]


@dataclass(frozen=True)
class Features:
    """The features of all stored images of a dataset; `views` more of each are of augmented copies."""

    images: Images | WithoutTargets  # all of the dataset, in the order in which they are stored
    frozen: Frozen
    device: torch.device
    precision: str
    views: int = 0
    augment: tuple[str, Augment] | None = None  # name, function

    def __deepcopy__(self, memo: dict) -> Features:
        return self

    @property
    def identity(self) -> str:
        """What names them: two that are equal hold the same numbers."""
        views = f" and {self.views} views by {self.augment[0]}" if self.views and self.augment else ""
        return f"{self.frozen} in {self.precision}{views}"

    @cached_property
    def dim(self) -> int:
        return self._view(0).shape[1]

    def of(self, rows: Int[ndarray, " b"], view: int = 0) -> Float[Tensor, "b d"]:
        """Features of the stored images with these numbers; view 0 is the image itself."""
        return torch.from_numpy(self._view(view)[rows]).float()

    def statistics(self, rows: Int[ndarray, " n"]) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
        """Mean and standard deviation of each feature over these images; no label is looked at."""
        total = squares = torch.zeros(self.dim, dtype=torch.float64)
        for part in np.array_split(rows, max(1, len(rows) // ROWS)):
            values = self.of(part).double()
            total, squares = total + values.sum(0), squares + values.square().sum(0)
        mean = total / len(rows)
        std = (squares / len(rows) - mean.square()).clamp_min(0).sqrt()
        return mean.float(), torch.where(std < FLAT, 1.0, std).float()

    def _view(self, view: int) -> Float[ndarray, "n d"]:
        maps = self.__dict__.setdefault("_maps", {})
        if view not in maps:
            maps[view] = np.load(self._folder(view) / "features.npy", mmap_mode="r")
        return maps[view]

    def _folder(self, view: int) -> Path:
        """The folder of one view, whole; computed where it is not there."""
        shown = f"-{self.augment[0]}-{view}" if view and self.augment else ""
        network = f"{self.frozen.digest}-{self.precision}"
        name = f"{self.images.dataset}-{self.images.fingerprint}-{network}{shown}"
        folder = folder_from("ALIQUOT_CACHE", "data/cache") / "features" / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        chunks = folder.with_name(f"{name}.unfinished")
        with _only_one(folder.with_name(f"{name}.lock")) if group().rank == 0 else nullcontext():
            if group().size > 1 and first_says(not folder.exists()):
                self._share(chunks, view)
            if group().rank == 0:
                whole_folder(folder, lambda building: self._build(building, chunks, view), "features")
                shutil.rmtree(chunks, ignore_errors=True)
            first_says(None)  # until it is whole the others wait
        return folder

    def _share(self, chunks: Path, view: int) -> None:
        """Each process of a run computes the chunks of its turn, which all of them find on the disk."""
        chunk = self._chunk_in(chunks, view)

        def compute(number: int, start: int) -> None:
            chunk(start)

        starts = range(0, len(self.images), CHUNK)
        deque(tqdm(shared(compute, starts), "features", len(starts), unit="chunk", leave=False), maxlen=0)

    def _build(self, building: Path, chunks: Path, view: int) -> None:
        """Write the features of all images, from the chunks that are there and those that are computed now."""
        n, out = len(self.images), None
        for start, values in self._chunks(chunks, view):
            if out is None:
                shape = (n, values.shape[1])
                out = np.lib.format.open_memmap(building / "features.npy", "w+", np.float16, shape)
            out[start : start + len(values)] = values
        if out is not None:
            out.flush()

    def _chunks(self, folder: Path, view: int) -> Iterator[tuple[int, Float[ndarray, "b d"]]]:
        """The first image of each chunk, and its features."""
        chunk, n = self._chunk_in(folder, view), len(self.images)
        what = f"features of {self.images.dataset} by {self.frozen.name}" + (f", view {view}" if view else "")
        with tqdm(total=n, desc=what, unit="image", leave=False, dynamic_ncols=True) as bar:
            for start in range(0, n, CHUNK):
                yield start, (values := chunk(start))
                bar.update(len(values))

    def _chunk_in(self, folder: Path, view: int) -> Callable[[int], Float[ndarray, "b d"]]:
        """What gives the features of the chunk that begins with an image: as they were saved, or computed and saved."""
        folder.mkdir(exist_ok=True)
        network = cache(lambda: self.frozen.network().to(self.device))

        def chunk(start: int) -> Float[ndarray, "b d"]:
            file, rows = folder / f"{start:09d}.npz", np.arange(start, min(len(self.images), start + CHUNK))
            values = _read(file, len(rows))
            if values is None:
                values = self._computed(network(), rows, view)
                with atomic(file) as temporary, open(temporary, "wb") as opened:
                    np.savez(opened, features=values)
            return values

        return chunk

    def _computed(self, network: torch.nn.Module, rows: Int[ndarray, " b"], view: int) -> Float[ndarray, "b d"]:
        images = WithoutTargets(self.images)
        found: ndarray | None = None
        rng = np.random.default_rng([view, int(rows[0])])
        shapes, at_once = images.shapes[rows], AT_ONCE.get(self.device.type, AT_ONCE_ELSEWHERE)
        side = self.frozen.side or int(np.sqrt(shapes.prod(1).max()))
        for positions in equal_size_batches(shapes, max(1, min(CHUNK, at_once // side**2))):
            batch = pictures(images, rows[positions], self.device)
            if view and self.augment:
                batch = self.augment[1](batch, rng)[0]
            with torch.inference_mode(), autocast(self.device, self.precision):
                values = network(batch.contiguous(memory_format=torch.channels_last)).float().cpu().numpy()
            with np.errstate(over="ignore"):
                halved = values.astype(np.float16)
            if not (whole := np.isfinite(halved).all(1)).all():
                worst = images.names[int(rows[positions[whole.argmin()]])]
                raise Refused(f"features={self.frozen.name} of image {worst!r} are no numbers that float16 holds")
            found = np.empty((len(rows), halved.shape[1]), np.float16) if found is None else found
            found[positions] = halved
        if found is None:
            raise Refused(f"dataset {self.images.dataset!r} has no images")
        return found


def feature_batch(
    images: Images | WithoutTargets, indices: Int[ndarray, " b"], device: str | torch.device
) -> Float[Tensor, "b d 1 1"]:
    """The frozen features of these images in the place of their pixels: one pixel with D channels."""
    return features_of(images).of(images.rows[np.asarray(indices)]).to(device)[:, :, None, None]


def features_of(images: Images | WithoutTargets) -> Features:
    """The frozen features that came with images."""
    if images.features is None:
        raise Refused(f"the images of {images.dataset!r} came without frozen features")
    return images.features


def _read(file: Path, n: int) -> Float[ndarray, "b d"] | None:
    """A chunk that a process before this one saved, or None; the archive holds a checksum."""
    try:
        with np.load(file) as saved:
            values = saved["features"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return values if values.ndim == 2 and len(values) == n else None


def _only_one(file: Path) -> FileLock:
    """The lock of those who compute these features; says so where another process has it."""
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
        lock.release()
    except Timeout:
        print(f"Another process computes {file.stem}: waiting for it.", file=sys.stderr, flush=True)
    return lock
