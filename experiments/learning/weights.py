"""The weights of a whole model and the names of its classes, in a file and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from data.files import atomic
from data.names import Missing, Refused
from models.weights import read_file

# what load_state_dict raises for content of another form
BROKEN = (RuntimeError, ValueError, LookupError, TypeError, AttributeError)


def save_weights(model: nn.Module, file: Path, classes: Sequence[str] = ()) -> None:
    """Keep a model, for `evaluate`, warm starts and pseudo-labels."""
    with atomic(file) as temporary:
        torch.save({"state_dict": model.state_dict(), "classes": list(classes)}, temporary)


def load_weights(model: nn.Module, file: Path) -> nn.Module:
    """Put saved weights into a model and return it; Refused names the file where they do not fit or cannot be read."""
    saved = _content(file, next(model.parameters()).device)
    given = saved["state_dict"] if isinstance(saved, dict) and "state_dict" in saved else saved
    try:
        model.load_state_dict(given)
    except BROKEN as error:
        own = isinstance(error, Refused)  # a model that knows better what does not fit
        reason = (not own and _misfit(model, given)) or str(error).splitlines()[0]
        way_out = "use the options it was trained with"
        raise Refused(f"{file} holds no weights that fit this model ({reason}); {way_out}") from None
    return model


def classes_of(file: Path) -> tuple[str, ...]:
    """The classes that the model in a file was trained on, in its order; () where the file does not name them."""
    saved = _content(file, "cpu")
    named = saved.get("classes") if isinstance(saved, dict) else None
    return tuple(named) if isinstance(named, list) and all(isinstance(name, str) for name in named) else ()


def _misfit(model: nn.Module, given: Any) -> str:
    """The first difference between the weights of a model and those in a file, in words; '' where none is found."""
    if not isinstance(given, Mapping):
        return "it is no state dict"
    own = model.state_dict()
    unlike = [name for name in own if name in given and getattr(given[name], "shape", None) != own[name].shape]
    for name in unlike:
        theirs, ours = (" x ".join(map(str, getattr(each[name], "shape", ("?",)))) for each in (given, own))
        return f"its {name} is {theirs or 'a number'}, that of the model {ours or 'a number'}"
    lacking, more = [name for name in own if name not in given], [name for name in given if name not in own]
    return f"it lacks {lacking[0]}" if lacking else f"the model has no {more[0]}" if more else ""


def _content(file: Path, device: str | torch.device) -> Any:
    if not file.is_file():
        raise Missing(f"there is no file of weights {file}")
    return read_file(file, device)
