"""Strided convolutions over a single pixel learn in float32 where all else learns in bfloat16 on a processor.

The gradient of their weights comes with parts that nobody wrote, at times NaN (torch 2.12, oneDNN: 549 of 600 times
with NaN in freed memory; never with larger maps or without a stride). Deep networks have such maps with small images.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn


@contextmanager
def single_pixels_in_float32(model: nn.Module, device: torch.device, precision: str) -> Iterator[None]:
    """Inside of it those convolutions of the model leave mixed precision; nothing changes for other devices."""
    affected = (device.type, precision) == ("cpu", "bfloat16")
    strided = [m for m in model.modules() if affected and isinstance(m, nn.Conv2d) and max(m.stride) > 1]
    for convolution in strided:
        convolution.forward = partial(_forward, convolution)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        for convolution in strided:
            del convolution.forward  # the method of its class is there again


def _forward(convolution: nn.Conv2d, maps: Tensor) -> Tensor:
    if min(maps.shape[-2:]) > 1:
        return type(convolution).forward(convolution, maps)
    with torch.autocast("cpu", enabled=False):
        return type(convolution).forward(convolution, maps.float())
