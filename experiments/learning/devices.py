"""Where a run computes, and how precisely."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from data.names import Refused


def device_of(name: str) -> torch.device:
    """The device of that name; Refused where this machine has none such."""
    if name == "auto":
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise Refused(f"unknown device {name!r}: use auto, cpu, cuda, cuda:0 or mps") from None
    no_cuda = not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()
    missing = {"cpu": bool(device.index), "cuda": no_cuda, "mps": not torch.backends.mps.is_available()}
    if missing.get(device.type, True):
        there = f"CUDA devices: {torch.cuda.device_count()}"
        raise Refused(f"device={name} was asked for, but this machine has none such ({there}); use device=cpu")
    return device


def device_in_turn(name: str, rank: int) -> torch.device:
    """The device of a process of a run: the GPU of its number, or the one that is named for all."""
    device = device_of(name)
    return torch.device("cuda", rank) if device.type == "cuda" and device.index is None else device


def require_devices(options: Mapping[str, Any]) -> None:
    """Refused where a run cannot be divided among so many devices."""
    n, device = options["devices"], device_of(options["device"])
    if n == 1:
        return
    if device.type == "mps":
        raise Refused(f"devices={n} with device=mps: a Mac has one of those; use devices=1, or device=cpu")
    if device.type == "cuda" and device.index is None and n > (there := torch.cuda.device_count()):
        few = f"this process sees {there} GPU{'s' * (there != 1)}"
        raise Refused(f"devices={n}, but {few}: use devices={there}, or device=cuda:0 to share one")
    batch, steps = options["batch_size"], options.get("train") != "head"
    if steps and isinstance(batch, int) and batch % n:
        equal = "each gets as many images of a batch"
        raise Refused(f"devices={n} with batch_size={batch}: {equal}, use batch_size={max(1, round(batch / n)) * n}")
    if batch == n and "projector_dim" in options and not options["sync_batchnorm"]:  # vectors, not maps, have a norm
        one = "batch norm of shares needs two images in each"
        raise Refused(f"devices={n} with batch_size={n}, sync_batchnorm=False: {one}, use batch_size={2 * n}")


def layout_of(options: Mapping[str, Any]) -> torch.memory_format:
    """The memory layout that convolutions see."""
    return torch.channels_last if options["channels_last"] else torch.contiguous_format


def precision_of(options: Mapping[str, Any]) -> str:
    """The precision that is computed in: the option, or for auto bfloat16 where that is fast, else float32."""
    if options["precision"] != "auto":
        return options["precision"]
    device = device_of(options["device"])
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= (8, 0)  # from Ampere on; emulated before
    else:
        has_bfloat16 = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)
        fast = device.type == "cpu" and torch.backends.mkldnn.is_available() and has_bfloat16()
    return "bfloat16" if fast else "float32"
