"""The places at which runs of a grid go on at the same time, and the GPUs that the runs at each of them see."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import takewhile

from data.names import Refused
from experiments.grids.jobs import Job

VISIBLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
PLAIN = r"\d+|(?:GPU|MIG)-[0-9A-Za-z/-]+"
NAMED = r"^GPU (\d+):.*UUID: ([^)\s]+)"
RANGE = r"(\d+)\s*(?:\.\.|-|:)\s*(\d+)"


def named(text: str) -> list[str]:
    """The GPUs of `--devices 0,1,1`, numbers from 0 or uuids of `nvidia-smi -L`; Refused with what may be meant."""
    pieces = [piece.strip() for piece in text.split(",")]
    for piece in pieces:
        if not re.fullmatch(PLAIN, piece):
            meant = ",".join(found for other in pieces for found in _meant(other)) or "0,1"
            expected = "GPUs by number (from 0) or uuid, with commas between them"
            raise Refused(f"--devices {text}: {piece!r} names no GPU; expected {expected}, such as --devices {meant}")
    return [str(int(piece)) if piece.isdecimal() else piece for piece in pieces]


def slots_of(jobs: Sequence[Job], devices: Sequence[str], at_once: int | None) -> list[Mapping[str, str]]:
    """The environment of the runs at each place: one per GPU that is named, `at_once` (or 1) where none is.

    A run with devices=2 takes two of the GPUs in their order. Refused where they cannot be dealt out so.
    """
    if not devices:
        return [{}] * (at_once or 1)
    each = devices_of(jobs)
    groups = [devices[first : first + each] for first in range(0, len(devices), each)]
    if len(groups[-1]) < each:
        less = len(devices) - len(groups[-1])
        fitting = f"name {f'{less}, or ' if less else ''}{less + each}"
        raise Refused(f"--devices names {len(devices)} GPUs, and each run takes devices={each} of them: {fitting}")
    for group in groups:
        if twice := [name for name, count in Counter(map(_number, group)).items() if count > 1]:
            own = f"one run would get GPU {twice[0]} twice, and devices={each} needs {each} different ones"
            raise Refused(f"--devices {','.join(devices)}: {own}")
    _require_ours(devices)
    _require_there(devices)
    if at_once and at_once != len(groups):
        used = min(at_once, len(groups))
        more = "" if at_once < len(groups) else "; a GPU that is named twice takes two runs"
        print(f"--jobs {at_once} and {len(groups)} places: {used} runs at a time{more}.", file=sys.stderr)
        groups = groups[:used]
    order = {} if ORDER in os.environ else {ORDER: "PCI_BUS_ID"}  # else CUDA counts the fastest first, nvidia-smi not
    return [{VISIBLE: ",".join(group), **order} for group in groups]


def devices_of(jobs: Sequence[Job]) -> int:
    """How many GPUs each of the jobs takes; Refused where they differ."""
    found = sorted({job.devices for job in jobs}) or [1]
    if len(found) > 1:
        raise Refused(f"runs with devices={','.join(map(str, found))} take different numbers of GPUs: make two grids")
    return found[0]


def _meant(piece: str) -> list[str]:
    """What a word that names no GPU may stand for."""
    if re.fullmatch(PLAIN, piece):
        return [piece]
    if whole := re.fullmatch(RANGE, piece):
        return [str(number) for number in range(int(whole[1]), min(int(whole[2]), int(whole[1]) + 63) + 1)]
    return re.findall(r"\d+", piece)[-1:]


def _require_ours(devices: Sequence[str]) -> None:
    """Refused for a GPU beside those that this process was given, by Slurm maybe: it may be another's."""
    if VISIBLE not in os.environ:
        return
    names = [name.strip() for name in os.environ[VISIBLE].split(",")]
    given = list(takewhile(lambda name: re.fullmatch(PLAIN, name), names))  # CUDA reads to the first that is no GPU
    if not given:
        none = f"{VISIBLE}={os.environ[VISIBLE]!r} gives this process no GPU; unset it"
        raise Refused(f"--devices {','.join(devices)}: {none}")
    numbers = {_number(name) for name in given}
    if others := [name for name in devices if _number(name) not in numbers]:
        only = f"{VISIBLE}={','.join(given)} gives this process no other: use --devices {','.join(given)}"
        raise Refused(f"--devices {','.join(devices)}: GPU {others[0]} is not ours; {only}")


def _number(name: str) -> str:
    """The number of a GPU that is named by the beginning of its uuid; the name itself where nothing tells."""
    found = [number for number, uuid in re.findall(NAMED, _listed(), re.MULTILINE) if uuid.startswith(name)]
    return found[0] if len(found) == 1 else name


def _require_there(devices: Sequence[str]) -> None:
    """Refused for a GPU that this machine lacks; where nothing tells which there are, one sentence says so."""
    listed = _listed()
    numbers, uuids = re.findall(r"^GPU (\d+):", listed, re.MULTILINE), re.findall(r"UUID: ([^)\s]+)", listed)
    if not numbers:
        nobody = "nvidia-smi lists no GPU here, so that runs with device=auto compute on the processor"
        print(f"warning: --devices {','.join(devices)}: {nobody}", file=sys.stderr)
        return
    for name in devices:
        if name not in numbers and not any(uuid.startswith(name) for uuid in uuids):
            raise Refused(f"--devices {','.join(devices)}: there is no GPU {name} here, but {', '.join(numbers)}")


@cache
def _listed() -> str:
    """The GPUs of this machine as nvidia-smi lists them; '' where it is not there."""
    if not shutil.which("nvidia-smi"):
        return ""
    return subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
