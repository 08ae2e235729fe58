"""Division into train, validation and test: stratified by group, by whole patients, equal for equal generators."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, Integer
from numpy import ndarray

from data.formats.tables import opened
from data.names import Missing, Refused, suggestion
from data.store import Images

COLUMNS = ("index", "name", "group", "patient", "part")
ATTEMPTS = 500  # random orders of the patients in search of a division by whole patients


@dataclass(frozen=True)
class Splits:
    """The pool to learn from, the images to validate with (or None), and those that only report."""

    train: Images
    val: Images | None
    test: Images


def divide(
    groups: int | Sequence[int] | Integer[ndarray, " n"],
    held: int | float,
    rng: np.random.Generator,
    patients: Sequence[str] | ndarray | None = None,
) -> tuple[Int[ndarray, " kept"], Int[ndarray, " held"]]:
    """Draw a part that holds every group in proportion. Returns rising indices (kept, held).

    `groups` are the strata of n images, or n itself for one stratum; `held` is a count (int) or a fraction in [0, 1)
    (float). Each group gives its proportional share, rounded by largest remainders, ties by `rng`, so that the shares
    sum to the count. With `patients`, those with the same name stay together ('' is a patient of its own), and the
    count and shares are met as nearly as whole patients allow.
    """
    strata = np.zeros(groups, np.int64) if isinstance(groups, int) else np.asarray(groups)
    n = len(strata)
    if isinstance(held, float) and not 0 <= held < 1:
        raise Refused(f"held={held!r} must be a fraction from 0 to below 1, or a whole number of images")
    count = round(held * n) if isinstance(held, float) else held
    if not 0 <= count <= n:
        raise Refused(f"{count} images cannot be held out of {n}; expected 0 to {n}")
    member = np.unique(strata, return_inverse=True)[1]
    shares = _shares(np.bincount(member), count, rng)
    if patients is None:
        drawn = [rng.permutation(np.flatnonzero(member == g))[:share] for g, share in enumerate(shares)]
        chosen = np.isin(np.arange(n), np.concatenate(drawn)) if drawn else np.zeros(0, bool)
    else:
        chosen = _whole_patients(member, np.asarray(patients), shares, rng)
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def initial(
    groups: Sequence[int] | Integer[ndarray, " n"], n_initial: int, rng: np.random.Generator, stratified: bool
) -> Int[ndarray, " q"]:
    """Rising indices of the first labelled set: uniform, or (stratified) of every group equally many while it has them.

    What does not divide equally goes to groups that `rng` chooses; a group that is used up leaves its share to the
    others.
    """
    strata = np.asarray(groups)
    if not 1 <= n_initial <= len(strata):
        raise Refused(f"n_initial={n_initial} must be from 1 to the {len(strata)} images of the pool")
    if not stratified:
        return np.sort(rng.permutation(len(strata))[:n_initial])
    turns = np.empty(len(strata), np.int64)  # which image of its group it is: all firsts come before all seconds
    for group in np.unique(strata):
        of_group = rng.permutation(np.flatnonzero(strata == group))
        turns[of_group] = np.arange(len(of_group))
    shuffled = rng.permutation(len(strata))
    return np.sort(shuffled[np.argsort(turns[shuffled], kind="stable")[:n_initial]])


def make_splits(images: Images, n_val: int, rng: np.random.Generator) -> Splits:
    """Official parts where there are any: 'test...' to test, 'val' to validate; else `n_val` of 'train' are held out.

    The held-out images are drawn by `divide`: stratified by group, by whole patients where the dataset names them; a
    UserWarning says so when that gives another number than `n_val`. With n_val = 0 nothing is validated with, and an
    official 'val' part is left unused. Official parts are taken as they are, even where they share patients.
    """
    test = images.part(*_test_parts(images))
    train = images.part("train")
    for part, found in (("train", train), ("test", test)):
        if not len(found):
            raise Refused(
                f"dataset {images.dataset!r} has no {part} images, only {', '.join(sorted(set(images.parts)))}"
            )
    if n_val == 0:
        return Splits(train, None, test)
    if "val" in images.parts:
        return Splits(train, images.part("val"), test)
    if not 0 < n_val < len(train):
        raise Refused(
            f"n_val={n_val} must be from 0 to {len(train) - 1}: "
            f"{images.dataset!r} has {len(train)} images to train with"
        )
    named = bool((train.patients != "").any())
    kept, held = divide(train.groups, n_val, rng, train.patients if named else None)
    if not len(held) or not len(kept):
        raise Refused(
            f"n_val={n_val} of the {len(train)} images of {images.dataset!r} "
            "cannot be held out without dividing a patient"
        )
    if len(held) != n_val:
        warnings.warn(
            f"validation has {len(held)} images, not n_val={n_val}: images of one patient stay together.", stacklevel=2
        )
    return Splits(train.subset(kept), train.subset(held), test)


def write_splits(splits: Splits, folder: Path) -> list[Path]:
    """Write train.csv, val.csv (maybe without rows) and test.csv, and one file per test part where there are several.

    `index` is the position in the dataset as loaded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables: dict[str, Images | None] = {"train": splits.train, "val": splits.val, "test": splits.test}
    tables |= {part: splits.test.part(part) for part in _test_parts(splits.test) if part != "test"}
    for stem, images in tables.items():
        with (folder / f"{stem}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            if images is not None:
                writer.writerows(
                    zip(images.rows, images.names, images.groups, images.patients, images.parts, strict=True)
                )
    return [folder / f"{stem}.csv" for stem in tables]


def read_splits(images: Images, folder: Path) -> Splits:
    """The division that train.csv, val.csv (optional) and test.csv under `folder` describe; `name` tells which image.

    ValueError names a file without that column, an unknown name, a name that occurs twice, or a part without images.
    """
    index_of = {name: i for i, name in enumerate(images.names)}
    seen: dict[str, Path] = {}
    parts: dict[str, Images | None] = {}
    for stem in ("train", "val", "test"):
        indices = []
        file = folder / f"{stem}.csv"
        for name in _names(file, optional=stem == "val"):
            if name not in index_of:
                raise Refused(
                    f"{file} names {name!r}, which dataset {images.dataset!r} "
                    f"does not have.{suggestion(name, index_of)}"
                )
            if name in seen:
                again = "twice" if seen[name] == file else f"as {seen[name].name} does"
                raise Refused(f"{file} names {name!r} {again}, expected every image once")
            seen[name] = file
            indices.append(index_of[name])
        if not indices and stem != "val":
            raise Refused(f"{file} names no image, expected at least one")
        parts[stem] = images.subset(indices) if indices else None
    train, test = parts["train"], parts["test"]
    if train is None or test is None:
        raise Refused(f"{folder} gives no images to train or to test with")
    return Splits(train, parts["val"], test)


def _shares(sizes: Int[ndarray, " g"], count: int, rng: np.random.Generator) -> Int[ndarray, " g"]:
    """Largest-remainder shares of `count` in proportion to `sizes`, in whole numbers throughout."""
    n = max(int(sizes.sum()), 1)
    shares, remainders = np.divmod(sizes * count, n)
    order = rng.permutation(len(sizes))
    order = order[np.argsort(-remainders[order], kind="stable")]
    shares[order[: count - int(shares.sum())]] += 1
    return shares


def _whole_patients(
    member: Int[ndarray, " n"], patients: ndarray, shares: Int[ndarray, " g"], rng: np.random.Generator
) -> ndarray:
    """Mask (n,) of the images of patients who together come nearest to the shares: in count first, then by group.

    Patients are met in random order and taken if that comes nearer in group sizes and, with twice the weight, in count.
    The first order that meets the count, with groups one image off on average, is kept, or else the best of all.
    """
    alone = np.array([f"{i}" if patient == "" else f"={patient}" for i, patient in enumerate(patients)])
    owner = np.unique(alone, return_inverse=True)[1]
    counts = np.zeros((owner.max(initial=-1) + 1, len(shares)), np.int64)
    np.add.at(counts, (owner, member), 1)
    best, taken = (np.inf, np.inf), np.zeros(len(counts), bool)
    for _ in range(ATTEMPTS):
        lacking, chosen = shares.copy(), np.zeros(len(counts), bool)
        for patient in rng.permutation(len(counts)):
            without = lacking - counts[patient]
            if np.abs(without).sum() + 2 * abs(without.sum()) < np.abs(lacking).sum() + 2 * abs(lacking.sum()):
                lacking, chosen[patient] = without, True
        distance = (abs(int(lacking.sum())), int(np.abs(lacking).sum()))
        if distance < best:
            best, taken = distance, chosen
        if best[0] == 0 and best[1] <= len(shares):
            break
    return taken[owner]


def _test_parts(images: Images) -> list[str]:
    return sorted({str(part) for part in images.parts if str(part).startswith("test")})


def _names(file: Path, optional: bool) -> list[str]:
    if not file.is_file():
        if optional:
            return []
        raise Missing(f"{file} does not exist, expected a CSV with a column 'name'")
    with opened(file) as lines:
        reader = csv.DictReader(lines)
        if "name" not in (reader.fieldnames or []):
            raise Refused(
                f"{file} has no column 'name'; its columns are {', '.join(reader.fieldnames or []) or 'none'}"
            )
        return [(row["name"] or "").strip() for row in reader]


def table(splits: Splits) -> str:
    """Images of each split, by group and by official part."""
    rows = {"train": splits.train, "val": splits.val, "test": splits.test}
    rows |= {part: splits.test.part(part) for part in _test_parts(splits.test) if part != "test"}
    groups = sorted({int(g) for images in rows.values() if images is not None for g in images.groups})
    lines = [f"{'split':<8}{'images':>8}{'patients':>10}" + "".join(f"{f'group {g}':>10}" for g in groups)]
    for name, images in rows.items():
        of_group = [0 if images is None else int((images.groups == g).sum()) for g in groups]
        patients = 0 if images is None else len(set(images.patients.tolist()) - {""})
        lines.append(
            f"{name:<8}{0 if images is None else len(images):>8}{patients or '-':>10}"
            + "".join(f"{n:>10}" for n in of_group)
        )
    return "\n".join(lines)
