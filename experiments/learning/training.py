"""One trainer for all tasks: `fit` runs optimiser steps over batches that are a pure function of the step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from experiments.learning.randomness import generator, torch_seeded
from experiments.tracking.checkpoints import atomic

Batch = tuple[Any, Any]


@dataclass(frozen=True)
class Recipe:
    """How to train; lengths in optimiser steps."""

    steps: int
    batch_size: int
    optimizer: str = "sgd"  # sgd | adamw
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: str = "step"  # none | step | cosine
    lr_step_at: float = 0.667  # share of the steps, rounded to whole ones, after which the rate drops to a tenth
    warmup: int = 0  # steps of linear warm-up
    clip: float = 0.0  # largest norm of the gradient, 0 for none
    val_every: int = 0  # steps between validations, 0 for none
    patience: int = 0  # validations without a better value before training stops, 0 for never
    save_every: float = 60.0  # seconds between saves of unfinished training
    workers: int = 0  # processes that prepare batches; the result does not depend on it


OPTIMIZERS: dict[str, Callable[[Any, Recipe], torch.optim.Optimizer]] = {
    "sgd": lambda p, r: torch.optim.SGD(p, r.lr, r.momentum, weight_decay=r.weight_decay, nesterov=r.momentum > 0),
    "adamw": lambda p, r: torch.optim.AdamW(p, r.lr, weight_decay=r.weight_decay),
}
SCHEDULES: dict[str, Callable[[int, Recipe], float]] = {  # step -> share of the rate
    "none": lambda step, r: 1.0,
    "step": lambda step, r: 0.1 if step >= round(r.lr_step_at * r.steps) else 1.0,
    "cosine": lambda step, r: 0.5 * (1 + math.cos(math.pi * (step / r.steps))),
}
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class TrainingBatches(Dataset):
    """Batch `step` of a training: a pure function of (seed, cycle, step), so that a resumed training sees the same batches.

    Every epoch is one shuffled pass over `indices`; a batch may span two epochs, so that none is ever cut short. `draw(i, rng)` gives
    example i, `collate` makes a batch of several, `prepare(batch, rng)` moves it to the device and augments it there. `names` are those
    of all images, for messages; `report` joins the row of the cycle.
    """

    def __init__(
        self,
        draw: Callable[[int, np.random.Generator], Any],
        indices: np.ndarray,
        recipe: Recipe,
        seed: int,
        cycle: int,
        collate: Callable[[list], Batch],
        prepare: Callable[[Batch, np.random.Generator], Batch],
        names: Sequence[str],
        report: Mapping[str, float] | None = None,
    ):
        self.report = dict(report or {})
        self.draw, self.collate, self.prepare, self.names = draw, collate, prepare, names
        self.indices, self.recipe, self.seed, self.cycle = indices, recipe, seed, cycle

    def __len__(self) -> int:
        return self.recipe.steps

    def __getitem__(self, step: int) -> Batch:
        rng = generator(self.seed, self.cycle, "augment", step)
        return self.collate([self.draw(int(i), rng) for i in self.members(step)])

    def members(self, step: int) -> np.ndarray:
        """Dataset indices of the batch."""
        n = len(self.indices)
        positions = np.arange(step * self.recipe.batch_size, (step + 1) * self.recipe.batch_size)
        epochs = {e: generator(self.seed, self.cycle, "order", int(e)).permutation(n) for e in np.unique(positions // n)}
        return self.indices[[epochs[p // n][p % n] for p in positions]]


class Training:
    """The moving parts of one training, which a mid-training save holds."""

    def __init__(self, model: nn.Module, recipe: Recipe, precision: str):
        self.model, self.recipe = model, recipe
        self.optimizer = OPTIMIZERS[recipe.optimizer]([p for p in model.parameters() if p.requires_grad], recipe)
        self.scaler = torch.amp.GradScaler(next(model.parameters()).device.type, enabled=precision == "float16")
        self.step, self.best, self.stale = 0, float("-inf"), 0
        self.best_model: dict[str, Tensor] | None = None
        self.losses: list[float] = []
        self.seconds, self.waited = 0.0, 0.0  # of all processes that worked on it

    def save(self, file: Path, cycle: int) -> None:
        parts = {name: getattr(self, name) for name in ("step", "best", "best_model", "stale", "losses", "seconds", "waited")}
        states = {name: getattr(self, name).state_dict() for name in ("model", "optimizer", "scaler")}
        with atomic(file) as temporary:
            torch.save({"cycle": cycle, **states, **parts}, temporary)

    def load(self, file: Path, cycle: int) -> None:
        """Take up a saved training of this cycle; one of another cycle is over and ignored."""
        if not file.exists():
            return
        saved = torch.load(file, map_location="cpu", weights_only=True)  # load_state_dict moves what belongs on the device
        if saved.pop("cycle") != cycle:
            return
        for name in ("model", "optimizer", "scaler"):
            getattr(self, name).load_state_dict(saved.pop(name))
        self.__dict__.update(saved)


def fit(
    model: nn.Module,
    loss: Callable[[nn.Module, Batch], Tensor],
    batches: TrainingBatches,
    *,
    precision: str = "float32",
    validate: Callable[[nn.Module], float] | None = None,
    save_to: Path | None = None,
) -> dict[str, float]:
    """Train the model in place; returns the loss of the last tenth of the steps, seconds and the share spent waiting for batches.

    With `validate` (higher is better) the weights of the best validation are kept. With `save_to` unfinished training is saved there
    every `recipe.save_every` seconds and taken up again.
    Raises FloatingPointError at a loss that is not finite, naming the step and the images.
    """
    recipe, seed, cycle = batches.recipe, batches.seed, batches.cycle
    device = next(model.parameters()).device
    training = Training(model, recipe, precision)
    if save_to is not None:
        training.load(save_to, cycle)
    counted = saved_at = time.perf_counter()
    steps = range(training.step, recipe.steps)
    context = "fork" if recipe.workers else None  # batches hold functions that cannot be sent to a fresh process
    loader = iter(DataLoader(batches, batch_size=None, sampler=steps, num_workers=recipe.workers, multiprocessing_context=context))  # type: ignore[arg-type]
    model.train()
    for step in tqdm(steps, "train", recipe.steps, initial=training.step, unit="step", leave=False, dynamic_ncols=True):
        if recipe.patience and training.stale >= recipe.patience:
            break
        before = time.perf_counter()
        batch = next(loader)
        training.waited += time.perf_counter() - before
        batch = batches.prepare(batch, generator(seed, cycle, "augment", step, 1))
        for group in training.optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step)
        with torch_seeded(seed, cycle, "dropout", step, device=device):
            with autocast(device, precision):
                value = loss(model, batch)
            if not torch.isfinite(value):
                where = f"step {step} of cycle {cycle}, images {', '.join(batches.names[int(i)] for i in batches.members(step))}"
                remedy = f"lower lr={recipe.lr}, set clip=1, or use precision=float32"
                raise FloatingPointError(f"the loss is {value.item()} at {where}: {remedy}")
            training.optimizer.zero_grad(set_to_none=True)
            training.scaler.scale(value).backward()
        if recipe.clip:
            training.scaler.unscale_(training.optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        training.scaler.step(training.optimizer)
        training.scaler.update()
        training.losses.append(float(value.detach()))
        training.step = step + 1
        if validate is not None and recipe.val_every and (training.step % recipe.val_every == 0 or training.step == recipe.steps):
            _keep_best(training, validate)
            model.train()
        training.seconds += time.perf_counter() - counted
        counted = time.perf_counter()
        if save_to is not None and counted - saved_at > recipe.save_every:
            training.save(save_to, cycle)
            saved_at = time.perf_counter()
    if training.best_model is not None:
        model.load_state_dict(training.best_model)
    if save_to is not None:
        training.step = recipe.steps  # over, early or not: what follows in this cycle may be killed too
        training.save(save_to, cycle)
    model.eval()
    last = training.losses[-max(1, len(training.losses) // 10) :]
    share = training.waited / max(training.seconds, 1e-9)
    return {"train_loss": float(np.mean(last)), "train_seconds": training.seconds, "loader_share": share}


def learning_rate(recipe: Recipe, step: int) -> float:
    """The rate of a step: linear warm-up, then the schedule."""
    return recipe.lr * SCHEDULES[recipe.schedule](step, recipe) * min(1, (step + 1) / (recipe.warmup + 1))


def _keep_best(training: Training, validate: Callable[[nn.Module], float]) -> None:
    training.model.eval()
    value = validate(training.model)
    training.stale += 1
    if value > training.best:
        training.best, training.stale = value, 0
        training.best_model = {name: tensor.detach().clone() for name, tensor in training.model.state_dict().items()}


def autocast(device: torch.device, precision: str) -> Any:
    """Mixed precision for a block: float32 does nothing."""
    dtype = PRECISIONS[precision]
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)
