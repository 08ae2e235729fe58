"""What the plain scripts share: images as files, a loop of training, testing and asking, and what each part costs.

Plain means what scripts do that were written for one study: an image is opened and decoded whenever it is needed,
examples are prepared one at a time, the loss is read at every step, and the computer works in float32 with the memory
layout that torch has by default.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from data.augment.images import AUGMENTATIONS
from experiments.learning.randomness import START, generator, torch_seeded
from experiments.learning.recipe import OPTIMIZERS, Recipe

Values = Mapping[str, Any]
PARTS = ("train", "query", "test")


class Clock:
    """Processor seconds of this process by the part of a run that they were spent in."""

    def __init__(self):
        self.spent = dict.fromkeys(PARTS, 0.0)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        began = time.process_time()
        try:
            yield
        finally:
            self.spent[part] += time.process_time() - began


class Plain(NamedTuple):
    """A plain script: three functions of a network."""

    make_model: Callable[[Values, Files], nn.Module]
    example: Callable[[Files, str, int, Values, np.random.Generator], Any]  # one of training, decoded and augmented
    loss: Callable[[nn.Module, list], Tensor]
    test: Callable[[nn.Module, Files, Values], dict[str, float]]
    query: Callable[[nn.Module, Files, list[int], list[int], Values], list[int]]  # labelled and pool -> picks


class Files:
    """A folder as `write` leaves it: images without compression, what is known of them, and the first labels."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.known = json.loads((folder / "known.json").read_text())

    def picture(self, part: str, i: int) -> np.ndarray:
        """Image i of a part, (H, W, channels), decoded."""
        with Image.open(self.folder / part / f"{i}.bmp") as opened:
            pixels = np.array(opened)
        return pixels[:, :, None] if pixels.ndim == 2 else pixels

    def tensor(self, part: str, i: int) -> Tensor:
        """The same as (1, channels, H, W) in 0..1."""
        return as_tensor(self.picture(part, i))[None]

    def mask(self, part: str, i: int) -> np.ndarray:
        """The ids of the objects of image i."""
        with Image.open(self.folder / part / f"{i}_objects.png") as opened:
            return np.array(opened)

    def target(self, part: str, i: int) -> Any:
        """The class of image i, or its boxes with their classes."""
        return self.known["targets"][part][i]

    def numbers(self, part: str) -> range:
        return range(self.known["sizes"][part])


def write(options: Values, definition: Any, folder: Path) -> None:
    """Write the images of a dataset, divided as our script divides them, for a plain one."""
    from data.splits import initial, make_splits

    splits = make_splits(definition.load(options), 0, generator(options["seed"], START, "split"))
    known: dict[str, Any] = {
        "classes": splits.train.classes,
        "channels": splits.train.channels,
        "targets": {},
        "sizes": {},
    }
    for part, images in (("train", splits.train), ("test", splits.test)):
        (folder / part).mkdir(parents=True)
        for i in range(len(images)):
            Image.fromarray(images.raw(i).squeeze()).save(folder / part / f"{i}.bmp")
            if images.kind == "instance_map":
                Image.fromarray(images.instances(i).astype(np.uint16)).save(folder / part / f"{i}_objects.png")
        if images.kind != "instance_map":
            known["targets"][part] = [images.target(i).tolist() for i in range(len(images))]
        known["sizes"][part] = len(images)
    rng = generator(options["seed"], START, "initial")
    known["initial"] = initial(
        splits.train.groups, options["n_initial"], rng, options["initial"] == "stratified"
    ).tolist()
    (folder / "known.json").write_text(json.dumps(known))


def as_tensor(pixels: np.ndarray) -> Tensor:
    """(H, W, channels) uint8 -> (channels, H, W) in 0..1."""
    return torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32) / 255)


def augmented(
    picture: Tensor, mask: Tensor | None, name: str, rng: np.random.Generator
) -> tuple[Tensor, Tensor | None]:
    """One example, augmented alone."""
    pictures, masks = AUGMENTATIONS[name](picture[None], rng, None if mask is None else mask[None])
    return pictures[0], None if masks is None else masks[0]


def train(plain: Plain, model: nn.Module, files: Files, labelled: list[int], options: Values, cycle: int) -> None:
    """As many steps as ours takes, over shuffled epochs of the labelled images."""
    recipe, rng = Recipe.of(options, len(labelled)), generator(options["seed"], cycle, "order")
    optimizer = OPTIMIZERS[recipe.optimizer]([p for p in model.parameters() if p.requires_grad], recipe)
    model.train()
    waiting: list[int] = []
    for step in range(recipe.steps):
        while len(waiting) < recipe.batch_size:
            waiting += rng.permutation(labelled).tolist()
        chosen, waiting = waiting[: recipe.batch_size], waiting[recipe.batch_size :]
        batch = [plain.example(files, "train", i, options, rng) for i in chosen]
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate(step)
        optimizer.zero_grad()
        loss = plain.loss(model, batch)
        loss.backward()
        loss.item()  # read at every step
        if recipe.clip:
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()
    model.eval()


def simulate(plain: Plain, options: Values, folder: Path) -> dict[str, Any]:
    """A whole run: rows of metrics, picks, and processor seconds by part."""
    files, clock = Files(folder), Clock()
    labelled = list(files.known["initial"])
    curve, picks = [], []
    for cycle in range(options["n_cycles"] + 1):
        with torch_seeded(options["seed"], cycle, "weights"):  # the same initial weights as ours
            model = plain.make_model(options, files)
        with clock("train"):
            train(plain, model, files, labelled, options, cycle)
        with clock("test"):
            curve.append({"n_labelled": len(labelled), **plain.test(model, files, options)})
        if cycle < options["n_cycles"]:
            with clock("query"):
                pool = sorted(set(files.numbers("train")) - set(labelled))
                picks.append(plain.query(model, files, labelled, pool, options))
            labelled += picks[-1]
    return {"parts": clock.spent, "curve": curve, "picks": sum(picks, [])}


def dropout_on(model: nn.Module) -> None:
    """Dropout samples, all else stays in evaluation mode."""
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.train()
