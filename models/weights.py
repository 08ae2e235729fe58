"""Weights from a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from data.names import Missing, Refused, suggestion


def read_state(weights: str | Path, words: Sequence[str]) -> dict[str, Tensor]:
    """The state dict in a file that torch.save wrote, also one that lies there as "state_dict"; only tensors are
    unpickled.

    `words` may stand where a file may: they are named in the FileNotFoundError. Raises ValueError for a file that holds
    no state dict.
    """
    file = Path(weights)
    if not file.is_file():
        beside = [str(other) for other in file.parent.iterdir()] if file.parent.is_dir() else []
        hint = suggestion(str(weights), [*words, *beside])
        raise Missing(f"there is no file of weights {str(weights)!r}; give {', '.join(words)} or a file.{hint}")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever its unpickler stumbles over
        raise Refused(
            f"{str(weights)!r} is not a state dict that torch can read safely (torch.save of model.state_dict())"
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise Refused(
            f"{str(weights)!r} holds no state dict (names with tensors, as torch.save(model.state_dict(), FILE) writes)"
        )
    return content
