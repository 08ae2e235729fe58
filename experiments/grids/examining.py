"""Checking every line of a grid before anything starts."""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import os
import re
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from data.files import ROOT
from data.names import Refused
from experiments.grids.jobs import Job
from experiments.tracking.processes import ending_with

Line = tuple[str, ...]


def examine(script: str, command: str, lines: Sequence[Line], elsewhere: bool = False) -> list[Job]:
    """Check every line as the script does and find its finished run; Refused with all mistakes, one sentence each.

    Runs that go on `elsewhere`, on nodes of a cluster, are not measured by the GPUs that this machine has.
    The script is imported once for all lines (seconds), so this belongs into a process of its own.
    """
    from experiments.tracking.checkpoints import run_key
    from experiments.tracking.weights_option import runs_folder

    made = importlib.import_module(f"experiments.{script}").SCRIPT
    mistakes: dict[str, Line] = {}
    options: dict[Line, dict[str, Any]] = {}
    for words in lines:
        try:
            options[words], _ = made.suited(made.values(words))
            gpu = elsewhere and re.fullmatch(r"auto|cuda(:\d+)?", str(options[words]["device"]))
            made.check(options[words] | ({"device": "cpu"} if gpu else {}))
        except (Refused, OSError) as error:
            mistakes.setdefault(str(error), words)
    if mistakes:
        raise Refused("\n".join(f"{sentence} ({' '.join(words)})" for sentence, words in mistakes.items()))
    name = f"{script}-{command}"
    keys = {words: run_key(name, options[words]) for words in lines}
    _refuse_equal(keys, "are one and the same run: leave one of them out")
    copies = {words: run_key(name, {**options[words], "run": 0}) for words in lines}
    alike = "differ in `run` alone, and not in seed, data or first labels: they are one run"
    _refuse_equal(copies, f"{alike}; leave `seed` to follow `run`")
    start = (sys.executable, str(ROOT / "experiments" / f"{script}.py"), *([] if command == "main" else [command]))
    runs = runs_folder()
    return [
        Job(
            key,
            words,
            (*start, *(["with", *words] if words else [])),
            runs,
            _is_finished(made, command, options[words]),
            options[words].get("devices", 1),
        )
        for words, key in keys.items()
    ]


def examined(script: str, command: str, lines: Sequence[Line], elsewhere: bool = False) -> list[Job]:
    """`examine` in a process of its own, so that this one stays small."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, _begin, (os.getpid(),)) as pool:
        return pool.submit(examine, script, command, lines, elsewhere).result()


def _begin(grid: int) -> None:
    """End with the grid, however it ends; a killed one would leave its pool waiting for ever."""
    if ask := ending_with(grid):
        ask()
    logging.disable(logging.CRITICAL)  # what Sacred would log, the runs log again


def _refuse_equal(keys: Mapping[Line, str], sentence: str) -> None:
    first: dict[str, Line] = {}
    for words, key in keys.items():
        if first.setdefault(key, words) != words:
            raise Refused(f"`{' '.join(first[key])}` and `{' '.join(words)}` {sentence}")


def _is_finished(script: Any, command: str, options: dict[str, Any]) -> bool:
    """Whether this run was completed on the data that are there now; what else is wrong the run itself will say."""
    checkpoint = script.checkpoint_of(command, options)
    try:
        state = checkpoint.load() if options["resume"] != "fresh" else None
        if state is None or not checkpoint.is_completed(state) or checkpoint.lost(state):
            return False
        return state.data == script.data_of(options)
    except (Refused, OSError):
        return False
