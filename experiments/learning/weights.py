"""The weights of a whole model, in a file and back."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from data.files import atomic
from data.names import Missing, Refused
from models.weights import read_file

# what load_state_dict raises for content of another form
BROKEN = (RuntimeError, ValueError, LookupError, TypeError, AttributeError)


def save_weights(model: nn.Module, file: Path) -> None:
    """Keep a model, for `evaluate`, warm starts and pseudo-labels."""
    with atomic(file) as temporary:
        torch.save(model.state_dict(), temporary)


def load_weights(model: nn.Module, file: Path) -> nn.Module:
    """Put saved weights into a model and return it; Refused names the file where they do not fit or cannot be read."""
    if not file.is_file():
        raise Missing(f"there is no file of weights {file}")
    saved = read_file(file, next(model.parameters()).device)
    try:
        model.load_state_dict(saved)
    except BROKEN as error:
        reason = str(error).splitlines()[0]
        way_out = "use the options it was trained with"
        raise Refused(f"{file} holds no weights that fit this model ({reason}); {way_out}") from None
    return model
