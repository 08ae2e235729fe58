"""One trainer for all tasks: `fit` runs optimiser steps over batches that are a pure function of the step."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from data.files import atomic
from data.names import NotFinite, Refused
from data.threads import ordered_map
from experiments.learning import parallel
from experiments.learning.batches import Batch, TrainingBatches
from experiments.learning.dividing import divided, sum_gradients
from experiments.learning.randomness import torch_seeded
from experiments.learning.recipe import OPTIMIZERS, Recipe, autocast
from experiments.learning.single_pixels import single_pixels_in_float32
from experiments.learning.weights import BROKEN
from models.weights import read_file

READ_EVERY = 20  # steps between readings of the loss: each waits for the device
PARTS = ("model", "optimizer", "scaler")  # what has a state dict
KEPT = ("step", "best", "best_model", "stale", "losses", "seconds", "waited")


class Training:
    """The moving parts of one training, which a mid-training save holds."""

    def __init__(self, model: nn.Module, recipe: Recipe):
        self.model, self.recipe = model, recipe
        self.optimizer = OPTIMIZERS[recipe.optimizer](trained_by(model), recipe)
        half = recipe.precision == "float16"
        self.scaler = torch.amp.GradScaler(next(model.parameters()).device.type, enabled=half)
        self.step, self.best, self.stale = 0, float("-inf"), 0
        self.best_model: dict[str, Tensor] | None = None
        self.losses: list[float] = []
        self.unread: list[Tensor] = []  # losses of the last steps, still on the device
        self.seconds, self.waited = 0.0, 0.0  # of all processes that worked on it

    @property
    def remedy(self) -> str:
        """What to try where numbers are not finite."""
        return f"lower lr={self.recipe.lr}, set clip=1, or use precision=float32"

    def require_finite(self, cycle: int) -> None:
        """NotFinite where the weights are none: no loss has seen what the last step did."""
        if not all(bool(weights.isfinite().all()) for weights in self.model.parameters()):
            raise NotFinite(f"the weights are not finite after step {self.step - 1} of cycle {cycle}: {self.remedy}")

    def read(self, batches: TrainingBatches) -> None:
        """Fetch the losses of the last steps from the device; NotFinite names the first that is none."""
        values = torch.stack(self.unread).tolist() if self.unread else []
        for step, value in enumerate(values, len(self.losses)):
            if not math.isfinite(value):
                images = ", ".join(batches.names[int(i)] for i in batches.members(step))
                place = f"at step {step} of cycle {batches.cycle}, images {images}"
                raise NotFinite(f"the loss is {value} {place}: {self.remedy}")
        self.losses += values
        self.unread.clear()

    def content(self) -> dict[str, Any]:
        """All that goes on in another process."""
        return {name: getattr(self, name).state_dict() for name in PARTS} | {name: getattr(self, name) for name in KEPT}

    def take(self, content: dict[str, Any]) -> None:
        """Go on from what a training held."""
        for name in PARTS:
            getattr(self, name).load_state_dict(content[name])
        self.__dict__.update({name: content[name] for name in KEPT})

    def save(self, file: Path, cycle: int) -> None:
        with atomic(file) as temporary:
            torch.save({"cycle": cycle, **self.content()}, temporary)

    @classmethod
    def resumed(cls, model: nn.Module, recipe: Recipe, file: Path | None, cycle: int) -> Training:
        """The saved training of this cycle, or a new one; a file that cannot be used is dropped with a sentence.

        The file only saves time: without it the cycle is trained again, to the same result.
        """
        if file is None or not file.exists():
            return cls(model, recipe)
        untouched = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        try:
            saved = read_file(file)  # load_state_dict moves it to the device
            training = cls(model, recipe)
            if saved["cycle"] == cycle:
                training.take(saved)
                if not isinstance(training.step, int) or len(training.losses) > training.step:
                    raise Refused("steps and losses disagree")
            return training
        except BROKEN:
            dropped = f"{file} cannot be used and is dropped"
            warnings.warn(f"{dropped}; cycle {cycle} is trained from its first step", stacklevel=3)
            file.unlink(missing_ok=True)
            model.load_state_dict(untouched)
            return cls(model, recipe)


def trained_by(model: nn.Module) -> list[nn.Parameter] | list[dict[str, Any]]:
    """What an optimiser gets: the weights, those of `model.constant_rate` in a group that no schedule touches."""
    weights = [p for p in model.parameters() if p.requires_grad]
    constant = {id(p) for part in getattr(model, "constant_rate", ()) for p in part.parameters()}
    if not constant:
        return weights
    scheduled, kept = ([p for p in weights if (id(p) in constant) == which] for which in (False, True))
    return [{"params": scheduled}, {"params": kept, "constant": True}]


def fit(
    model: nn.Module,
    loss: Callable[[nn.Module, Batch], Tensor],
    batches: TrainingBatches,
    *,
    before_step: Callable[[nn.Module], None] | None = None,
    validate: Callable[[nn.Module], float] | None = None,
    watch: Callable[[Training], None] | None = None,
    save_to: Path | None = None,
) -> dict[str, float]:
    """Train the model in place; returns the loss of the last tenth of the steps, seconds and the share spent waiting.

    `before_step` sees the model before each step: a mean teacher follows what the step before has changed. With
    `validate` (higher is better) the weights of the best validation are kept. `watch` sees the training after every
    `recipe.val_every` steps and the last, before anything of them is saved. With `save_to` unfinished training is saved
    there every `recipe.save_every` seconds and taken up again; of several processes the first does so, and all go on
    from what it has. Raises NotFinite at a loss that is not finite, naming the step and the images, and for weights
    that are none at the end.
    """
    recipe = batches.recipe
    save_to = save_to if parallel.group().rank == 0 else None
    training = Training.resumed(model, recipe, save_to, batches.cycle)
    if parallel.group().size > 1:
        training.take(parallel.first_says(training.content()))
    counted = saved_at = time.perf_counter()
    steps = range(training.step, recipe.steps)
    ahead = ordered_map(batches.__getitem__, steps, recipe.workers)
    model.train()
    bar = tqdm(steps, "train", recipe.steps, initial=training.step, unit="step", leave=False, dynamic_ncols=True)
    for step in bar:
        if recipe.patience and training.stale >= recipe.patience:
            break
        before = time.perf_counter()
        batch = next(ahead)
        training.waited += time.perf_counter() - before
        if before_step is not None:
            before_step(model)
        _take_step(training, loss, batches.ready(step, batch), batches)
        training.step = step + 1
        last = training.step == recipe.steps
        if last or len(training.unread) >= READ_EVERY:
            training.read(batches)
        if validate is not None and (last or training.step % recipe.val_every == 0):
            training.read(batches)
            _keep_best(training, validate)
            model.train()
        if watch is not None and (last or training.step % recipe.val_every == 0):
            training.read(batches)
            watch(training)
            model.train()
        training.seconds += time.perf_counter() - counted
        counted = time.perf_counter()
        if save_to is not None and counted - saved_at > recipe.save_every:
            training.read(batches)
            training.save(save_to, batches.cycle)
            saved_at = time.perf_counter()
    ahead.close()  # type: ignore[attr-defined]
    training.read(batches)
    if training.best_model is not None:
        model.load_state_dict(training.best_model)
    training.require_finite(batches.cycle)
    parallel.require_alike(model, f"the weights after the training of cycle {batches.cycle}")
    if save_to is not None:
        training.step = recipe.steps  # over, early or not: what follows in this cycle may be killed too
        training.save(save_to, batches.cycle)
    model.eval()
    tail = training.losses[-max(1, len(training.losses) // 10) :]
    share = training.waited / max(training.seconds, 1e-9)
    return {"train_loss": float(np.mean(tail)), "train_seconds": training.seconds, "loader_share": share}


def _take_step(
    training: Training, loss: Callable[[nn.Module, Batch], Tensor], batch: Batch, batches: TrainingBatches
) -> None:
    """One step of the optimiser; every random mask of it is seeded by its address."""
    model, recipe, device = training.model, training.recipe, next(training.model.parameters()).device
    for group in training.optimizer.param_groups:
        group["lr"] = recipe.lr if group.get("constant") else recipe.learning_rate(training.step)
    with torch_seeded(batches.seed, batches.cycle, "dropout", training.step, device=device):
        exact = single_pixels_in_float32(model, device, recipe.precision)
        with autocast(device, recipe.precision), exact, divided(model):
            value = loss(model, batch)
        training.optimizer.zero_grad(set_to_none=True)
        training.scaler.scale(value).backward()
    sum_gradients(model)
    if recipe.clip:
        training.scaler.unscale_(training.optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
    training.scaler.step(training.optimizer)
    training.scaler.update()
    training.unread.append(value.detach().float())


def _keep_best(training: Training, validate: Callable[[nn.Module], Any]) -> None:
    training.model.eval()
    value = validate(training.model)
    training.stale += 1
    if value > training.best:
        training.best, training.stale = value, 0
        training.best_model = {name: tensor.detach().clone() for name, tensor in training.model.state_dict().items()}
