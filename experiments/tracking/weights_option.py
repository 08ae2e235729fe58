"""What `weights` and `features` name: a word, a file, or the encoder that a run of pretrain.py left in its folder."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from data.files import folder_from, under_root
from data.names import Missing, Refused, suggestion

WORDS = ("random", "imagenet", "coco")  # what may stand in place of a file
SIMSIAM = "simsiam:"  # begins the name of a run of pretrain.py
ENCODER = "encoder.pt"  # its file there


def runs_folder() -> Path:
    """Where runs are stored: $ALIQUOT_RUNS, relative to the project, else runs/."""
    return folder_from("ALIQUOT_RUNS", "runs")


def weights_of(weights: str, option: str = "weights") -> str | Path:
    """The word itself, or the file. Refused for a run that left no encoder, with those that did."""
    if weights in WORDS:
        return weights
    if not weights.startswith(SIMSIAM):
        return under_root(weights)
    number = weights.removeprefix(SIMSIAM)
    if not (number.isdecimal() and number.isascii()):
        raise Refused(f"{option}={weights!r}: expected the number of a run of pretrain.py, such as {SIMSIAM}12")
    file = runs_folder() / number / ENCODER
    if not file.is_file():
        others = sorted((found.parent.name for found in runs_folder().glob(f"*/{ENCODER}")), key=lambda n: (len(n), n))
        which = f"those that have one: {', '.join(others)}" if others else "no run there has one, see pretrain.py"
        raise Missing(f"{option}={weights!r}: there is no encoder of run {number} in {runs_folder()}; {which}")
    return file


def digest_of_weights(weights: str) -> str:
    """Digest of the content of the file that `weights` names; '' for a word, and where there is none to read."""
    try:
        file = weights_of(weights)
        return "" if isinstance(file, str) else _digest(file, file.stat().st_mtime_ns)
    except (Refused, OSError):  # said where the weights are needed
        return ""


def require_there(weights: str, words: tuple[str, ...]) -> None:
    """Refused where `weights` is none of these words, and there is no such file or run."""
    file = weights_of(weights)
    if weights in words or (isinstance(file, Path) and file.is_file()):
        return
    listed = f"neither {' nor '.join(words)} nor {SIMSIAM}<run>"
    near = suggestion(weights, words)
    raise Missing(f"weights={weights!r} is {listed}, and there is no file {under_root(weights)}.{near}")


@cache
def _digest(file: Path, changed: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:12]
