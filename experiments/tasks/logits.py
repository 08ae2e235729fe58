"""What classification and segmentation share: networks whose output is logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from experiments.learning.devices import device_of, layout_of, precision_of
from experiments.learning.recipe import autocast
from experiments.learning.teacher import network_of
from heuristics.core.evidence import from_logits


class LogitEvidence:
    """The evidence of a network that gives logits, in the precision and the memory layout of the options.

    Heuristics get float32; metrics ask for float64, which keeps certain predictions apart.
    """

    def __init__(self, options: Mapping[str, Any]):
        self.device, self.precision = device_of(options["device"]), precision_of(options)
        self.layout = layout_of(options)
        self.tested = {"": "probs"} | ({"mc_": "mc_mean"} if options["eval_samples"] else {})  # prefix -> evidence

    def __call__(
        self,
        model: nn.Module,
        batch: Tensor,
        wanted: frozenset[str],
        mc_samples: int,
        masks_seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> dict[str, Any]:
        batch = batch.contiguous(memory_format=self.layout)
        with autocast(self.device, self.precision):
            return from_logits(network_of(model), batch, wanted, mc_samples, masks_seed, dtype)
