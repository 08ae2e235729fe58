"""What the strategies picked: the classes of the picks, cycle by cycle, and the images themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure
from numpy import ndarray

from analysis.records import Source, read
from analysis.runs import load_picks
from data.files import folder_of
from data.loading import load as load_images
from data.names import Refused
from data.store import Images
from experiments.pictures.canvas import GREY, INK, PHOTO_DPI

CELL, CAPTION, LETTERS = 1.15, 0.2, 22  # inches, inches, letters of a file name


@dataclass(frozen=True)
class Balance:
    """Which classes the strategies picked."""

    counts: Mapping[str, Float[ndarray, "cycles c"]]  # by strategy, summed over its runs
    pool: Float[ndarray, " c"]  # of all images to train with
    classes: list[str]


def picks_and_images(source: Source, frame: pd.DataFrame) -> tuple[pd.DataFrame, Images]:
    """What the runs of a frame (one task, one dataset) picked, by the frame's names of the strategies; and the dataset.

    Raises FileNotFoundError where the dataset does not lie here, and ValueError where it is not the one that the runs
    picked from, or where the record of a run's picks is not whole.
    """
    names = dict(zip(frame["run_id"], frame["heuristic"], strict=True))
    records = read(source)
    picks = load_picks(records, ids=list(names))
    picks = picks.assign(heuristic=[names[run_id] for run_id in picks["run_id"]])
    record = next(record for record in records.records if record.run_id in names)
    images = dataset_of(record.task, record.config, picks)
    for run_id in names:
        labels, recorded = (
            frame.loc[frame["run_id"] == run_id, "n_spent"].max(),
            int((picks["run_id"] == run_id).sum()),
        )
        if labels != recorded:
            raise Refused(f"run {run_id} has {labels} labels, but a record of {recorded} picks")
    return picks, images


def class_balance(source: Source, frame: pd.DataFrame) -> Balance | None:
    """The classes of what the runs of a frame picked; None for one class or no pick. Raises as `picks_and_images`."""
    picks, images = picks_and_images(source, frame)
    weighed = class_weights(images)
    if weighed is None or max(picks["cycle"], default=-1) < 0:
        return None
    weights, classes = weighed
    return Balance(balance(picks, weights), weights[images.parts == "train"].sum(axis=0), classes)


def dataset_of(task: str, options: Mapping[str, Any], picks: pd.DataFrame) -> Images:
    """The whole dataset that runs with these options picked from; `picks` is `analysis.runs.load_picks`.

    Raises FileNotFoundError where it does not lie here, and ValueError where the names of its images are not those of
    the picks.
    """
    try:
        sizes = {"image_size": options["image_size"] or None} if task == "classify" else {"scale": options["scale"]}
        chosen = {**sizes, **options.get("dataset_options", {})}
    except KeyError as error:
        raise Refused(
            f"the runs were made before the option {error} was there, so that their dataset cannot be read again"
        ) from None
    images = load_images(task, options["dataset"], folder_of(options["data_root"]), **chosen)
    names = np.array(images.names)
    index = picks["index"].to_numpy()
    if len(index) and (index.max() >= len(names) or (names[index] != picks["file"].to_numpy(str)).any()):
        raise Refused(
            f"the dataset {options['dataset']!r} that lies here is not the one that the runs picked from: "
            "its names differ"
        )
    return images


def class_weights(images: Images) -> tuple[Float[ndarray, "n c"], list[str]] | None:
    """How much of each class an image holds, 1 of its own or its number of boxes of each; and the names of the classes.

    Segmented images count for their group (grade, kind) where the dataset names more than one. None where there is one
    class only.
    """
    if images.kind == "class":
        return np.eye(len(images.classes))[images.groups], list(images.classes)
    if images.kind == "boxes":
        labels = [images.target(i).numpy()[:, 4].astype(int) for i in range(len(images))]
        counts = np.array([np.bincount(found, minlength=len(images.classes)) for found in labels], dtype=np.float64)
        return (counts, list(images.classes)) if len(images.classes) > 1 else None
    groups = np.unique(images.groups)
    shares = (images.groups[:, None] == groups).astype(np.float64)
    return (shares, [f"group {g}" for g in groups]) if len(groups) > 1 else None


def balance(picks: pd.DataFrame, weights: Float[ndarray, "n c"]) -> dict[str, Float[ndarray, "cycles c"]]:
    """Sum of the weights of what each strategy picked in each cycle, over its runs, without the initial set."""
    chosen = picks[picks["cycle"] >= 0]
    cycles = range(max(chosen["cycle"], default=-1) + 1)
    return {
        str(name): np.array([weights[rows.loc[rows["cycle"] == cycle, "index"]].sum(axis=0) for cycle in cycles])
        for name, rows in chosen.groupby("heuristic")
    }


def draw_picked(images: Images, picks: pd.DataFrame, title: str, run: int = 0, cycle: int = 0, n: int = 8) -> Figure:
    """The first `n` images that each strategy picked in one cycle of one run, a row per strategy, with their names.

    Raises ValueError where that run picked nothing in that cycle.
    """
    chosen = picks[(picks["run"] == run) & (picks["cycle"] == cycle)]
    if chosen.empty:
        raise Refused(f"no strategy picked anything in cycle {cycle} of run {run}")
    groups = {str(name): rows.head(n) for name, rows in chosen.groupby("heuristic")}
    gap, left, head, name_height = 0.1, 0.2, 0.5, 0.24
    row_height = name_height + CELL + CAPTION
    width, height = left * 2 + n * CELL + (n - 1) * gap, head + row_height * len(groups) + 0.05
    figure = Figure(figsize=(width, height), dpi=PHOTO_DPI, facecolor="white")
    figure.text(
        left / width,
        1 - 0.15 / height,
        f"{title} · run {run}, cycle {cycle}",
        va="top",
        fontsize=11,
        color=INK,
        parse_math=False,
    )
    for r, (name, rows) in enumerate(groups.items()):
        top = head + r * row_height
        look = {"va": "top", "color": INK, "fontweight": "bold", "parse_math": False}
        figure.text(left / width, 1 - top / height, name, fontsize=9.5, **look)
        for c, (index, file) in enumerate(zip(rows["index"], rows["file"], strict=True)):
            x = left + c * (CELL + gap)
            axes = figure.add_axes((x / width, 1 - (top + name_height + CELL) / height, CELL / width, CELL / height))
            axes.set_axis_off()
            axes.imshow(images.raw(int(index)).squeeze(), cmap="gray", vmin=0, vmax=255)
            caption = str(file) if len(str(file)) <= LETTERS else f"…{str(file)[-LETTERS + 1 :]}"
            y = 1 - (top + name_height + CELL + 0.03) / height
            figure.text(x / width, y, caption, va="top", fontsize=5.5, color=GREY, parse_math=False)
    return figure
