"""The weights of a whole model, in a file and back."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import nn

from data.files import atomic
from data.names import Missing, Refused

# What reading a file may end in that is cut off, foreign, or from another model.
BROKEN = (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError)


def save_weights(model: nn.Module, file: Path) -> None:
    """Keep a model, for `evaluate`, warm starts and pseudo-labels."""
    with atomic(file) as temporary:
        torch.save(model.state_dict(), temporary)


def load_weights(model: nn.Module, file: Path) -> nn.Module:
    """Put saved weights into a model and return it; Refused names the file where they do not fit or cannot be read."""
    if not file.is_file():
        raise Missing(f"there is no file of weights {file}")
    try:
        saved = torch.load(file, map_location=next(model.parameters()).device, weights_only=True)
    except BROKEN:
        raise Refused(f"{file} is damaged, or no file of weights that this project saved") from None
    try:
        model.load_state_dict(saved)
    except BROKEN as error:
        reason = str(error).splitlines()[0]
        raise Refused(f"{file} holds no weights that fit this model ({reason}); use the options it was trained with") from None
    return model
