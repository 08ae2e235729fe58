"""How a network is trained: the options of a training, its optimisers and its schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from experiments.learning.devices import precision_of


@dataclass(frozen=True)
class Recipe:
    """How to train; every field but `steps` is the option of its name. Lengths are counted in optimiser steps."""

    steps: int
    batch_size: int
    optimizer: str
    lr: float
    momentum: float
    weight_decay: float
    schedule: str
    lr_step_at: float
    warmup: int
    clip: float
    val_every: int
    patience: int
    save_every: float
    workers: int
    precision: str

    @classmethod
    def of(cls, options: Mapping[str, Any], n_labelled: int) -> Recipe:
        """The recipe for this many labelled images; epochs are turned into steps."""
        steps = options["steps"] or max(1, options["epochs"] * options["repeats"] * n_labelled // options["batch_size"])
        shared = {name: options[name] for name in cls.__dataclass_fields__}
        return cls(**shared | {"steps": steps, "precision": precision_of(options)})

    def learning_rate(self, step: int) -> float:
        """The rate of a step: linear warm-up, then the schedule."""
        return self.lr * SCHEDULES[self.schedule](step, self) * min(1, (step + 1) / (self.warmup + 1))


OPTIMIZERS: dict[str, Callable[[Any, Recipe], torch.optim.Optimizer]] = {
    "sgd": lambda p, r: torch.optim.SGD(p, r.lr, r.momentum, weight_decay=r.weight_decay, nesterov=r.momentum > 0),
    "sgd_plain": lambda p, r: torch.optim.SGD(p, r.lr, r.momentum, weight_decay=r.weight_decay),
    "adamw": lambda p, r: torch.optim.AdamW(p, r.lr, weight_decay=r.weight_decay),
}
SCHEDULES: dict[str, Callable[[int, Recipe], float]] = {  # step, recipe -> factor of the rate
    "none": lambda step, r: 1.0,
    "step": lambda step, r: 0.1 if step >= round(r.lr_step_at * r.steps) else 1.0,
    "cosine": lambda step, r: 0.5 * (1 + math.cos(math.pi * (step / r.steps))),
}
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def autocast(device: torch.device, precision: str) -> Any:
    """Mixed precision for a block: float32 does nothing."""
    dtype = PRECISIONS[precision]
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)
