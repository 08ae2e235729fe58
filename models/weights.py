"""Weights from a file."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data.names import Missing, Refused, suggestion


def read_file(file: Path, device: str | torch.device = "cpu") -> Any:
    """What torch.save wrote, its checksums compared, or safetensors; only tensors and plain values are unpickled.

    Raises Refused for a file that is damaged, cut short or foreign.
    """
    try:
        if Path(file).suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file, str(device))
        if zipfile.is_zipfile(file):  # torch reads over a flipped bit
            with zipfile.ZipFile(file) as archive:
                damaged = archive.testzip()
            if damaged:
                raise ValueError(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of foreign pickles
            return torch.load(file, map_location=device, weights_only=True)
    except PermissionError:
        raise
    except Exception:  # torch.load raises whatever its unpickler stumbles over, with advice that is not to be taken
        raise Refused(f"{file} is damaged, or no file that torch can read safely") from None


def read_state(weights: str | Path, words: Sequence[str]) -> dict[str, Tensor]:
    """The state dict in a file of safetensors or one that torch.save wrote, also one that lies there as "state_dict".

    `words` may stand where a file may: they are named where there is no file. Refused for a file without a state dict.
    """
    file = Path(weights)
    if not file.is_file():
        beside = [str(other) for other in file.parent.iterdir()] if file.parent.is_dir() else []
        hint = suggestion(str(weights), [*words, *beside])
        raise Missing(f"there is no file of weights {str(weights)!r}; give {', '.join(words)} or a file.{hint}")
    try:
        content = read_file(file)
    except Refused:
        expected = "a state dict that torch can read safely (torch.save of model.state_dict())"
        raise Refused(f"{str(weights)!r} is not {expected}, or it is damaged") from None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        expected = "names with tensors, as torch.save(model.state_dict(), FILE) writes"
        raise Refused(f"{str(weights)!r} holds no state dict ({expected})")
    return content
