"""Learning from images without labels, for networks that give logits: of whole images, or of their pixels.

A task without it becomes one with it: its networks in a pair, its loss with a term for unlabelled images, of which each
comes in two views, and a report of how right the pseudo-labels are. Labelled and unlabelled images pass through a
network in batches of their own: batch normalisation takes the statistics of each, and its running ones follow both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn

from data.augment.strong import appearance, strong
from data.store import Images
from experiments.learning.agreement_losses import confident_agreement, consistency, cross_supervision, ramp
from experiments.learning.batches import Batch, Companion, Mixed, WithoutTargets, equal_size_batches, pictures
from experiments.learning.devices import device_of, layout_of
from experiments.learning.parallel import shared
from experiments.learning.randomness import START, generator
from experiments.learning.teacher import MeanTeacher, Twins, learners_of
from experiments.measures.pseudo import of_classes, of_maps
from experiments.tasks.task import Task

Values = Mapping[str, Any]
Views = tuple[Float[Tensor, "b channels h w"], Float[Tensor, "b channels h w"]]
BY_STEPS = ("fixmatch", "mean_teacher", "cps")  # what joins the steps of a training
REPORTED = 500  # images of the pool on which pseudo-labels are counted


def with_unlabelled(task: Task, options: Values, train: Images) -> Task:
    """The task as `unlabelled` wants it; itself where no unlabelled image joins a step."""
    arm = options["unlabelled"]
    if arm not in BY_STEPS:
        return task
    term = {"fixmatch": _of_fixmatch, "mean_teacher": _of_mean_teacher, "cps": _of_cps}[arm]
    layout = layout_of(options)

    def make_model() -> nn.Module:
        network = task.make_model()
        return Twins(network, task.make_model()) if arm == "cps" else MeanTeacher(network)

    def loss(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        mixed = batch if isinstance(batch, Mixed) else Mixed(batch, None)
        total = torch.stack([task.loss(network, mixed.labelled) for network in learners_of(model)]).sum()
        if mixed.unlabelled is None:
            return total
        plain, changed = (view.contiguous(memory_format=layout) for view in mixed.unlabelled)
        return total + options["pseudo_weight"] * term(model, plain, changed, options)

    def report(model: nn.Module, labelled: Int[ndarray, " l"], cycle: int) -> dict[str, float]:
        return reported(task, model, options, train, labelled, cycle)

    return replace(task, make_model=make_model, loss=loss, before_step=_before_step(options), report=report)


def companion_of(
    options: Values,
    train: Images,
    labelled: Int[ndarray, " l"],
    draw: Callable[[int, np.random.Generator], Any],
    augment: Callable[..., tuple[Tensor, Any]],
) -> Companion | None:
    """What joins the steps of a cycle: images of the pool, of which `draw` makes a part (H, W, channels) of one size.

    None where nothing joins: without an arm, and, which is said, without an image that is not labelled.
    """
    if options["unlabelled"] not in BY_STEPS or not len(pool := pool_of(options, train, labelled)):
        return None
    device = device_of(options["device"])

    def prepare(parts: list, rng: np.random.Generator) -> Views:
        raw = torch.from_numpy(np.stack(parts)).to(device, non_blocking=True)
        return views(options["unlabelled"], augment(raw.permute(0, 3, 1, 2).float() / 255, rng)[0], rng)

    return Companion(draw, prepare, pool, options["mu"])


def pool_of(options: Values, train: Images, labelled: Int[ndarray, " l"]) -> Int[ndarray, " n"]:
    """Dataset indices of the images that are not labelled; says so where there are none."""
    pool = np.setdiff1d(np.arange(len(train)), labelled)
    if not len(pool):
        print(f"All {len(train)} images are labelled: nothing joins training by unlabelled={options['unlabelled']}.")
    return pool


def views(arm: str, images: Float[Tensor, "b channels h w"], rng: np.random.Generator) -> Views:
    """Of augmented images the view that is labelled, and the one that is learnt: the same geometry but for fixmatch."""
    if arm == "cps":
        return images, images
    return images, strong(images, rng) if arm == "fixmatch" else appearance(images, rng)


def reported(
    task: Task, model: nn.Module, options: Values, train: Images, labelled: Int[ndarray, " l"], cycle: int
) -> dict[str, float]:
    """How right what the trained model says of the pool is, on at most REPORTED images; columns of the cycle's row."""
    pool = np.setdiff1d(np.arange(len(train)), labelled)
    if not len(pool):
        return {}
    rng, images = generator(options["seed"], cycle, "unlabelled"), WithoutTargets(train)
    shown = np.sort(rng.permutation(pool)[:REPORTED])

    def of_batch(number: int, positions: Int[ndarray, " b"]) -> tuple[Tensor, Tensor]:
        batch = pictures(images, shown[positions], device_of(options["device"]))
        with torch.no_grad():
            confidence, classes = task.evidence(model, batch, frozenset({"probs"}), 0, START)["probs"].max(1)
        return classes.cpu(), confidence.cpu()

    def said() -> Iterator[tuple[Int[ndarray, " b"], Tensor, Tensor]]:
        batches = list(equal_size_batches(images.shapes[shown], options["eval_batch_size"]))
        for positions, (classes, confidence) in zip(batches, shared(of_batch, batches), strict=True):
            yield shown[positions], classes, confidence

    if train.kind != "class":
        maps = (pair for rows, classes, _ in said() for pair in zip(rows.tolist(), classes.numpy(), strict=True))
        return of_maps(maps, train)
    least = options["pseudo_threshold"] if options["unlabelled"] == "fixmatch" else 0.0
    found = [(rows, classes.numpy(), (confidence >= least).numpy()) for rows, classes, confidence in said()]
    rows, classes, certain = (np.concatenate(part) for part in zip(*found, strict=True))
    return of_classes(rows, classes, certain, train)


def _before_step(options: Values) -> Callable[[nn.Module], None]:
    def follow(model: nn.Module) -> None:
        if isinstance(model, MeanTeacher):
            model.follow(options["ema_decay"])
        elif isinstance(model, Twins):
            model.steps += 1

    return follow


def _of_fixmatch(model: nn.Module, plain: Tensor, changed: Tensor, options: Values) -> Float[Tensor, ""]:
    """The student labels the weak view as it would in a test, and learns it on the strong one."""
    (student,) = learners_of(model)
    student.eval()
    with torch.no_grad():
        labelling = student(plain).float()
    student.train()
    return confident_agreement(labelling, student(changed).float(), options["pseudo_threshold"])


def _of_mean_teacher(model: nn.Module, plain: Tensor, changed: Tensor, options: Values) -> Float[Tensor, ""]:
    with torch.no_grad():
        taught = model.teacher(plain).float()  # type: ignore[operator]
    rising = ramp(int(model.steps) - 1, options["ramp_up"])  # type: ignore[arg-type]
    return rising * consistency(taught, model.student(changed).float())  # type: ignore[operator]


def _of_cps(model: nn.Module, plain: Tensor, changed: Tensor, options: Values) -> Float[Tensor, ""]:
    first, second = (network(plain).float() for network in learners_of(model))
    rising = ramp(int(model.steps) - 1, options["ramp_up"])  # type: ignore[arg-type]
    return rising * cross_supervision(first, second)
